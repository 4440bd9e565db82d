"""Sequences and their texts are a company's own files: what is wrong with them is an error at start-up, with file and line."""

from pathlib import Path
from typing import Any

import pytest

from exceptions_queue import checks
from exceptions_queue.welcome import sequences, texts
from tests.conftest import PAYLOAD


def speaking(language: str) -> dict[str, Any]:
    return {**PAYLOAD, "customer": {**PAYLOAD["customer"], "language": language}}


@pytest.fixture
def company(tmp_path: Path, settings: Any) -> Path:
    """A ``CONFIG_DIR`` in which templates count."""
    settings.CONFIG_DIR = tmp_path
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path / "templates", *settings.TEMPLATES[0]["DIRS"]]}]
    return tmp_path


def put(company: Path, name: str, text: str) -> None:
    path = company / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def found() -> list[str]:
    sequences.sequences.cache_clear()
    return [str(message.msg) for message in checks.welcome_mails_can_be_written()]


def test_the_built_in_ones_are_sound() -> None:
    assert found() == []
    assert texts.known_languages() == ["en", "de"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("en/check-in.txt", "Subject: Hi\n\n{{ custmer }}", "en/check-in.txt, line 3: {{ custmer }} is not known; did you"),
        ("de/check-in.txt", "Subject: Hi\n{% if owner %}", "de/check-in.txt, line 2: Unclosed tag on line 2: 'if'"),
        ("en/check-in.html", "<p>\n{{ owner.nane }}</p>", "en/check-in.html, line 2: {{ owner.nane }} is not known"),
        ("fr/check-in.txt", "Bonjour\nSubject: x", "fr/check-in.txt, line 1: the first line must be the subject"),
        ("fr/check-in.txt", "Subject: {{ milestone }}\nBonjour", "fr/check-in.txt, line 1: the subject is empty"),
        ("fr/check-in.html", "<p>Bonjour</p>", "fr/check-in.html: there is no check-in.txt beside it: a mail needs its text"),
        ("en/first-steps.html", "<p>Hello</p>", "en/first-steps.html: there is no first-steps.txt beside it: a mail needs"),
        ("French/check-in.txt", "Subject: x", "the folder's name must be a language in lower case, such as de or pt-br"),
        ("en/chek-in.txt", "Subject: x\ny", "en/chek-in.txt belongs to no mail of a welcome sequence"),
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_sent_is_refused_with_file_and_line(
    company: Path, name: str, text: str, expected: str
) -> None:
    put(company, f"templates/onboarding/welcome/{name}", text)
    (message,) = found()
    assert expected in message


PRO = 'name = "x"\nplans = ["pro"]\n'


def mails(*each: tuple[str, str]) -> str:
    return PRO + "".join(f'[[mails]]\nkey = "{key}"\n{rest}\n' for key, rest in each)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (mails(("hello", "day = 2")), "mail hello: there is no template onboarding/welcome/en/hello.txt"),
        (mails(("check-in", "day = 0")), "x.toml: mails #1 (check-in).day: must be at least 1"),
        (mails(("check-in", "days = 3")), "mails #1 (check-in).days: is not known here; did you mean “day”?"),
        (mails(("check-in", "day = 3"), ("check-in", "day = 4")), "two mails are called check-in"),
        (mails(("check-in", "day = 3"), ("first-steps", "day = 2")), "put the mails in order"),
        (f"{PRO}mails = [\n", "x.toml: end of document: invalid value"),
        (f"{PRO}\nmails = 3", "x.toml: mails: must be a list"),
    ],
)
def test_a_sequence_that_cannot_be_used_is_refused(company: Path, text: str, expected: str) -> None:
    put(company, "welcome/x.toml", text)
    messages = found()
    assert any(expected in message for message in messages), messages


def test_two_that_tie_are_refused(company: Path) -> None:
    put(company, "welcome/x.toml", f"{PRO}mails = []")
    put(company, "welcome/y.toml", f"{PRO}mails = []".replace('"x"', '"y"'))
    (message,) = found()
    assert "y.toml: serves the plan “pro” and every segment, and so does x.toml" in message


def test_one_of_a_companys_own_goes_before_a_built_in_one_that_names_as_much(company: Path) -> None:
    put(company, "welcome/x.toml", 'name = "x"\nsegments = ["Enterprise"]\nmails = []')
    assert found() == []
    chosen = sequences.choose({"customer": {"segment": "enterprise"}})
    assert chosen is not None
    assert chosen.name == "x"


def test_one_of_a_companys_own_replaces_the_built_in_one_of_its_name(company: Path) -> None:
    put(company, "welcome/standard.toml", 'name = "standard"\nmails = []')
    assert found() == []
    chosen = sequences.choose(PAYLOAD)
    assert chosen is not None
    assert (chosen.name, chosen.mails) == ("standard", ())


def test_a_plan_may_have_its_own(company: Path) -> None:
    text = 'name = "pros"\nplans = ["Pro"]\n[[mails]]\nkey = "one"\nday = 1\ntemplate = "check-in"'
    put(company, "welcome/pros.toml", text)
    assert found() == []
    chosen = sequences.choose(PAYLOAD)
    assert chosen is not None
    assert [(mail.key, mail.text) for mail in chosen.mails] == [("one", "check-in")]


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("de", "de"), ("DE_at", "de"), ("de-CH", "de"), ("en-GB", "en"), ("fr", "en"), ("", "en"), ("Deutsch!", "en"),
        ("../../secret", "en"), ("de/..", "en"),
    ],
)  # fmt: skip
def test_languages(language: str, expected: str) -> None:
    assert texts.write("check-in", speaking(language), None).language == expected


def test_a_companys_own_text_and_language_are_used(company: Path) -> None:
    put(
        company,
        "templates/onboarding/welcome/fr/check-in.txt",
        "Subject: Bonjour {{ customer }}\n\nÇa va, {{ first_name }} ?",
    )
    assert found() == []
    written = texts.write("check-in", speaking("fr-CA"), None)
    assert written == texts.Written("fr", "Bonjour Acme Logistics", "Ça va, Jordan ?\n", "")


@pytest.mark.parametrize("html", ["", "<p>Our own words</p>"])
def test_a_companys_own_text_goes_out_with_its_own_html_alone(company: Path, html: str) -> None:
    put(company, "templates/onboarding/welcome/en/first-steps.txt", "Subject: Ours\n\nOur own words")
    if html:
        put(company, "templates/onboarding/welcome/en/first-steps.html", html)
    assert found() == []
    assert texts.write("first-steps", PAYLOAD, None) == texts.Written("en", "Ours", "Our own words\n", html)


def test_values_are_escaped_in_html_and_never_begin_a_line() -> None:
    hostile = "Acme\nBcc: all@example.com <img src=x onerror=alert(1)>"
    content = {
        **PAYLOAD,
        "customer": {**PAYLOAD["customer"], "legal_name": hostile},
        "first_value_target": {"milestone": hostile},
    }
    written = texts.write("first-steps", content, None)
    assert written.subject == "Acme Bcc: all@example.com <img src=x onerror=alert(1)>: your first steps"
    assert "<img" not in written.html
    assert type(written.html) is str, "not marked as safe: the preview's page escapes it"
    assert "&lt;img src=x onerror=alert(1)&gt;" in written.html
    assert "<img src=x onerror=alert(1)>" in written.text, "a text is not HTML"
