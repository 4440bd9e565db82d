"""The texts of a welcome sequence's mails (``languages``), filled in with what a run's payload says, and their check.

English is there for each mail; where a customer's language is not, it is English that they get.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.template import engines

from exceptions_queue.welcome.sequences import WelcomeSequence
from integrations.connectors.objects import Mail
from onboarding.models import ImplementationOwner
from onboarding.payload.schema import get
from onboarding.steps import kickoff
from onboarding.steps.base import Content
from onboarding.steps.texts import languages, mail
from onboarding.steps.texts.languages import FALLBACK, FOLDER, LANGUAGE, SUBJECT


@dataclass(frozen=True)
class Written:
    """A mail as it would be sent. ``html``: empty where there is no such template."""

    language: str
    subject: str
    text: str
    html: str

    def to(self, content: Content) -> Mail:
        return Mail(
            to=get(content, "customer.primary_contact.email"),
            to_name=get(content, "customer.primary_contact.name"),
            subject=self.subject,
            text=self.text,
            html=self.html,
        )


def write(
    template: str,
    content: Content,
    owner: ImplementationOwner | None,
    booking_link: str = "",
    *,
    language: str = "",
) -> Written:
    """``language``: instead of the customer's, where the mail has it. Raises whatever a template of the company's own raises."""
    if not language or not languages.exists(language, f"{template}.txt"):
        language = languages.language_of(content, template) or FALLBACK
    told = kickoff.welcome_context(content, owner, booking_link)
    subject, text = languages.subject_and_text(language, template, told)
    html = languages.filled(language, f"{template}.html", told) if _has_html(language, template) else ""
    return Written(language, subject, text, html)


def _has_html(language: str, template: str) -> bool:
    """Only beside the text that is sent: a company's own text and the built-in HTML would say different things."""
    text, html = (f"{FOLDER}/{language}/{template}.{kind}" for kind in ("txt", "html"))
    same = languages.exists(language, f"{template}.html")
    return same and languages.directory_of(text) == languages.directory_of(html)


# --- Start-up -----------------------------------------------------------------------------------------------------------


def known_languages() -> list[str]:
    """Those that some mail is written in, English first."""
    found = {path.parent.name for path in _files()}
    return [FALLBACK, *sorted(found - {FALLBACK})]


def problems(sequences: list[WelcomeSequence]) -> list[str]:
    """What is wrong with the texts, each with file and line, and which mails have none."""
    files = _files()
    english = {path.name for path in files if path.parent.name == FALLBACK}
    found = [
        f"The sequence {sequence.name}: mail {spec.key}: there is no template {FOLDER}/{FALLBACK}/{spec.text}.txt"
        for sequence in sequences
        for spec in sequence.mails
        if f"{spec.text}.txt" not in english
    ]
    for path in files:
        found += _problems_of(path)
    return list(dict.fromkeys(found))


def unused(sequences: list[WelcomeSequence]) -> list[str]:
    """Templates that no mail uses: perhaps their name is misspelt."""
    named = {kickoff.TRANSLATED, *(spec.text for sequence in sequences for spec in sequence.mails)}
    return [f"{path} belongs to no mail of a welcome sequence" for path in _files() if path.stem not in named]


def _problems_of(path: Path) -> list[str]:
    language = path.parent.name
    if not LANGUAGE.fullmatch(language):
        return [f"{path}: the folder's name must be a language in lower case, such as de or pt-br"]
    found = mail.problems(f"{FOLDER}/{language}/{path.name}", kickoff.sample_contexts())
    if path.suffix == ".html":
        beside = path.with_suffix(".txt")
        if not found and not beside.is_file():
            found.append(f"{path}: there is no {beside.name} beside it: a mail needs its text, too")
    elif not found:
        found += [f"{path}, line 1: {wrong}" for wrong in _wrong_subject(language, path.name)][:1]
    return found


def _wrong_subject(language: str, file: str) -> Iterator[str]:
    for told in kickoff.sample_contexts():
        first = languages.filled(language, file, told).partition("\n")[0]
        if not first.startswith(SUBJECT):
            yield f"the first line must be the subject, such as “{SUBJECT} Your first steps”"
        elif not first.removeprefix(SUBJECT).strip():
            yield "the subject is empty"


def _files() -> list[Path]:
    """The template that counts of each name: a company's own stands before the built-in one."""
    found: dict[tuple[str, str], Path] = {}
    for folder in engines["django"].engine.dirs:  # type: ignore[attr-defined]
        for path in sorted((Path(folder) / FOLDER).glob("*/*.*")):
            if path.suffix in (".txt", ".html"):
                found.setdefault((path.parent.name, path.name), path)
    return [found[key] for key in sorted(found)]
