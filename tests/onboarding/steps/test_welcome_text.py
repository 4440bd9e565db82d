"""The welcome's text is a company's own file: what is wrong with it is an error at start-up, with file and line."""

from pathlib import Path
from typing import Any

import pytest

from integrations.connectors.objects import Mail
from onboarding import checks
from onboarding.steps.base import Facts
from onboarding.steps.registry import HANDLERS


def wrong_with(folder: Path, settings: Any, text: str) -> list[str]:
    path = folder / "onboarding" / "welcome.txt"
    path.parent.mkdir()
    path.write_text(text)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [folder, *settings.TEMPLATES[0]["DIRS"]]}]
    return [str(message.msg).replace(f"{path}", "welcome.txt") for message in checks.the_welcome_mail_can_be_written()]


def test_the_built_in_text_is_sound() -> None:
    assert checks.the_welcome_mail_can_be_written() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello\n{{ custmer }}", "welcome.txt, line 2: {{ custmer }} is not known; did you mean “customer”?"),
        ("{{ owner.nane }}", "welcome.txt, line 1: {{ owner.nane }} is not known; did you mean “name”?"),
        ("{% if ownr and kickoff %}x{% endif %}", "line 1: {{ ownr }} is not known; did you mean “owner”?"),
        ("a\n{% if kickoff %}\n{% for x in stakeholders %}{{ x }}{% endfor %}{% endif %}", "line 3: {{ stakeholders }} is not"),
        ('{{ milestone|default:nothing }}', "{{ nothing }} is not known"),
        ("a\nb\n{% if customer %}", "line 3: Unclosed tag on line 3"),
        ("a\n{{ customer|shout }}", "line 2: Invalid filter: 'shout'"),
        ("{{ kickoff|date:'j'|add:customer|divisibleby:customer }}", "line 1: "),
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_sent_is_refused_with_file_and_line(
    tmp_path: Path, settings: Any, text: str, expected: str
) -> None:
    found = wrong_with(tmp_path, settings, text)
    assert len(found) == 1
    assert expected in found[0]


def test_a_text_may_use_every_variable_loops_and_names_of_its_own(tmp_path: Path, settings: Any) -> None:
    text = (
        "{{ first_name }} {{ customer }} {{ kickoff|date:'j F' }} {{ milestone|default:customer }} {{ owner.name }}"
        "{% with short=customer %}{{ short }}{% endwith %}{% for letter in customer %}{{ forloop.counter }}{{ letter }}{% endfor %}"
        "{% if owner %}{{ owner.email }}{% elif kickoff %}x{% else %}{{ customer }}{% endif %}"
    )
    assert wrong_with(tmp_path, settings, text) == []


@pytest.mark.parametrize(
    ("own", "german"),
    [
        ((), "Willkommen"),
        (("welcome.txt",), "Our own welcome.txt"),
        (("welcome.txt", "welcome/fr/welcome.txt"), "Our own welcome.txt"),
        (("welcome.txt", "welcome/de/welcome.txt"), "Our own welcome/de/welcome.txt"),
        (("welcome/de-at/welcome.txt",), "Our own welcome/de-at/welcome.txt"),
    ],
)
def test_a_built_in_translation_does_not_take_the_place_of_a_companys_own_text(
    tmp_path: Path, settings: Any, own: tuple[str, ...], german: str
) -> None:
    for name in own:
        path = tmp_path / "onboarding" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"Subject: Our own {name}\n\nOur own {name}")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path, *settings.TEMPLATES[0]["DIRS"]]}]
    contact = {"name": "Kim Lee", "email": "kim@example.com"}
    content = {"customer": {"legal_name": "Example Ltd", "language": "de-AT", "primary_contact": contact}}
    mail = HANDLERS["welcome.mail"].wanted(Facts(content, "pay_1"))
    assert isinstance(mail, Mail)
    assert german in f"{mail.subject}\n{mail.text}"


def test_a_subject_that_names_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"subject: \{custmer\} is not known; known is \{customer\}"):
        HANDLERS["welcome.mail"].check_options({"subject": "Welcome, {custmer}"})
