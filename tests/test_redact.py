"""What is stored or logged about a call holds no secrets and no personal data, and both databases take it."""

import json

import pytest

from integrations.redact import redact, redact_text


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
def test_one_sign_is_enough_to_be_looked_at(text: str) -> None:
    assert redact_text(text) != text
