"""JSON from outside: what is refused, and that it is said why."""

import pytest

from integrations.http.strict_json import BadJson, parse_object


def test_an_object_is_taken() -> None:
    assert parse_object(b'{"a": [1, {"a": "b"}]}') == {"a": [1, {"a": "b"}]}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"id": "pay_1", "id": "pay_2"}', "twice"),
        (b'{"a": {"b": 1, "b": 1}}', "twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b"[1]", "object"),
        (b"{", "not JSON"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "levels"),
    ],
)
def test_ambiguous_json_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(BadJson, match=why):
        parse_object(body)
