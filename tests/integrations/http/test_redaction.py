"""What is stored or logged about a call holds no secrets and no personal data, and both databases take it."""

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.http import redaction as rules
from integrations.http.redaction import MAX_CHARS, PERSONAL, SECRET, redact, redact_text
from tests.machines.budget import budget


def test_secrets_go_by_key_header_and_shape():
    shown = redact(
        {
            "headers": {"Authorization": "Bearer abcdef123456", "X-Signature": "v1=00ff"},
            "client_secret": "hush",
            "apiKey": "k",
            "note": "sent Bearer abcdef123456 and token=abc to https://me:pw@host/",
        }
    )
    assert shown["headers"] == {"Authorization": "[secret]", "X-Signature": "[secret]"}
    assert (shown["client_secret"], shown["apiKey"]) == ("[secret]", "[secret]")
    assert "abc" not in shown["note"]
    assert "pw" not in shown["note"]


def test_personal_data_is_masked_wherever_it_stands():
    shown = redact(
        {"contact": {"firstname": "Jordan", "name": "Jordan Lee", "email": "jordan@acme.com"}, "name": "Acme"}
    )
    assert shown == {
        "contact": {"firstname": "[personal]", "name": "[personal]", "email": "j***@acme.com"},
        "name": "Acme",
    }
    assert redact_text("/contacts/jordan%40acme.com") == "/contacts/j***%40acme.com"


def test_what_is_stored_is_bounded_and_storable():
    deep: dict[str, object] = {}
    for _ in range(100):
        deep = {"a": deep, "b": ["x" * 10_000] * 1_000}
    text = json.dumps(redact({"deep": deep, "bad": "\x00\ud800", "nan": float("nan")}), allow_nan=False)
    assert len(text) <= 16_000
    assert "\\u0000" not in text
    assert "\\ud800" not in text


@pytest.mark.parametrize(
    "text", ["whsec_abcdefgh", "pat-na1-abcdefgh", "Bearer abcdefgh", "a@b.co", "token:abc", "x\x00y"]
)
def test_one_secret_marker_triggers_redaction(text: str) -> None:
    assert redact_text(text) != text


# --- The rules without any shortcut, which random structures are held against ---------------------------------------

WORDS = (
    *("bearer abcdef123456", "BASIC dXNlcjpwdw==", "https://me:pw@host/x", "whsec_abcdefgh", "sk_live_abcdefgh"),
    *("rk_test-abcdefgh", "pat-na1-abcdefgh", "token=abc", "Secret: x", "\u017fecret=x", "api_key='y'", "toKen: z"),
    *("password = q", "signature:v1", "jordan@acme.com", "j%40acme.com", "\x00", "\ud800", "ü", "Acme", "-", " ", "_"),
    *("x" * 130, "é" * 1_100),
)
KEYS = (
    *("email", "E-Mail", "Email Address", "name", "user_name", "phone", "Tax-ID", "notes", "clientSecret", "apiKey"),
    *("Authorization", "token", "id", "session_id", "jordan@acme.com", "k" * 200, "", "é", 7, None),
)
TEXTS = st.one_of(st.text(max_size=20), st.lists(st.sampled_from(WORDS), max_size=6).map("".join))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.binary(max_size=5))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=70),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), TEXTS), inner, max_size=70),
    ),
    max_leaves=60,
)


def plainly_redacted_text(text: str, limit: int) -> str:
    text = rules._UNSTORABLE.sub("\ufffd", text[: limit * 4])
    text = rules._ASSIGNED.sub(rf"\1{SECRET}", rules._SHAPES.sub(SECRET, text))
    text = rules._EMAIL.sub(r"\1***\2\3", text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plainly_walked(value: Any, depth: int, items: int, chars: int, left: int) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if not isinstance(value, dict | list | tuple):
        return plainly_redacted_text(str(value), chars)
    if not left:
        return "…"
    more = f"{len(value) - items} more"
    if not isinstance(value, dict):
        kept = [plainly_walked(each, depth, items, chars, left - 1) for each in value[:items]]
        return [*kept, f"… {more}"] if len(value) > items else kept
    person = any(plain(key) in rules._EMAIL_KEYS for key in value)
    made = {}
    for key, each in list(value.items())[:items]:
        there = each is not None and each != "" and not isinstance(each, bool)
        personal = plain(key) in rules._PERSONAL_KEYS or (person and plain(key) in rules._NAME_OF_PERSON)
        if there and rules._SECRET_KEYS.search(plain(key)):
            shown: Any = SECRET
        elif there and personal and not isinstance(each, dict | list):
            shown = PERSONAL
        else:
            shown = plainly_walked(each, depth, items, chars, left - 1)
        made[plainly_redacted_text(str(key), 100)] = shown
    return made | ({"…": more} if len(value) > items else {})


def plain(key: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(key).lower())


def plainly_redacted(value: Any) -> Any:
    for depth, items, chars in ((8, 60, 1_000), (5, 12, 120)):
        made = plainly_walked(value, depth, items, chars, depth)
        if len(text := json.dumps(made)) <= MAX_CHARS:
            return made
    return {"cut": text[: MAX_CHARS // 2]}


@budget(100)
@given(VALUES)
def test_shortcuts_change_nothing_of_what_is_redacted(value: Any) -> None:
    assert json.dumps(redact(value)) == json.dumps(plainly_redacted(value))


@budget(500)
@given(TEXTS, st.sampled_from([20, 100, 500]))
def test_shortcuts_change_nothing_of_what_is_masked_in_a_text(text: str, limit: int) -> None:
    assert redact_text(text, limit) == plainly_redacted_text(text, limit)
