"""Mails in the customer's language: a template a mail and language, whose first line is the subject.

``onboarding/welcome/<language>/<name>.txt``, and ``<name>.html`` beside it for programs that show HTML.
"""

import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.template import Context, Template, TemplateDoesNotExist, TemplateSyntaxError
from django.template.loader import get_template

from onboarding.payload.schema import get

FOLDER = "onboarding/welcome"
FALLBACK = "en"
SUBJECT = "Subject:"
BUILT_IN = settings.BASE_DIR / "templates"
LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8})*")
"""A language tag (BCP 47) in lower case, such as ``pt-br``."""


def wanted_languages(content: dict[str, Any]) -> list[str]:
    """``de-AT`` is ``de-at``, else ``de``. What is no language tag is none."""
    tag = str(get(content, "customer.language") or "").strip().replace("_", "-").lower()
    if not LANGUAGE.fullmatch(tag):
        return []
    parts = tag.split("-")
    return ["-".join(parts[:count]) for count in range(len(parts), 0, -1)]


def language_of(content: dict[str, Any], name: str, *, original: str = "") -> str:
    """The customer's language where the mail has it, without its region else; empty where it has neither.

    ``original``: the template that is translated; a built-in translation is none of a company's own.
    """
    found = (each for each in wanted_languages(content) if exists(each, f"{name}.txt"))
    if original and (directory := directory_of(original)) != BUILT_IN:
        found = (each for each in found if directory_of(f"{FOLDER}/{each}/{name}.txt") == directory)
    return next(found, "")


def exists(language: str, file: str) -> bool:
    try:
        get_template(f"{FOLDER}/{language}/{file}")
    except TemplateDoesNotExist:
        return False
    except TemplateSyntaxError:
        pass  # the start-up check says so
    return True


def directory_of(name: str) -> Path:
    """The directory of templates in which the one that counts lies: a company's own, or the built-in one.

    Raises as ``get_template`` does.
    """
    template: Template = get_template(name).template  # type: ignore[attr-defined]
    return Path(template.origin.name).parents[name.count("/")]


def subject_and_text(language: str, name: str, told: dict[str, Any]) -> tuple[str, str]:
    """Nothing that a payload says begins another line: the first one is the subject."""
    lines = {name: " ".join(value.split()) if isinstance(value, str) else value for name, value in told.items()}
    first, _, text = filled(language, f"{name}.txt", lines).partition("\n")
    return first.removeprefix(SUBJECT).strip(), text.strip() + "\n"


def filled(language: str, file: str, told: dict[str, Any]) -> str:
    """Values are escaped in HTML alone."""
    template: Template = get_template(f"{FOLDER}/{language}/{file}").template  # type: ignore[attr-defined]
    # Not marked as safe: whoever shows it inside a page escapes it once more.
    return "".join([template.render(Context(told, autoescape=file.endswith(".html")))])
