"""Conditions of steps: what they compare, what a file may say, and how people read them."""

from typing import Any

import pytest

from onboarding.playbooks.conditions import check, holds, in_words


def content(**commercial: Any) -> dict[str, Any]:
    return {"customer": {"segment": "Enterprise ", "territory": "emea"}, "commercial": commercial}


@pytest.mark.parametrize(
    ("when", "given", "expected"),
    [
        ({}, {}, True),
        ({"customer.segment": "enterprise"}, {}, True),
        ({"customer.segment": " ENTERPRISE"}, {}, True),
        ({"customer.segment": "mid-market"}, {}, False),
        ({"customer.segment": ["strategic", "enterprise"]}, {}, True),
        ({"customer.segment": ["strategic", "smb"]}, {}, False),
        ({"customer.segment": "enterprise", "customer.territory": "apac"}, {}, False),
        ({"customer.country": "DE"}, {}, False),
        ({"commercial.amount": {"at_least": 50000}}, {"amount": 50000}, True),
        ({"commercial.amount": {"at_least": 50000}}, {"amount": 49999.99}, False),
        ({"commercial.amount": {"below": 50000}}, {"amount": 50000}, False),
        ({"commercial.amount": {"below": 50000}}, {"amount": 0}, True),
        ({"commercial.amount": {"below": 50000}}, {}, False),
        ({"commercial.amount": {"at_least": 10, "below": 20}}, {"amount": 15}, True),
        ({"commercial.amount": [10, 20]}, {"amount": 20.0}, True),
        ({"commercial.amount": 1}, {"amount": True}, False),
        ({"commercial.nonstandard_terms": True}, {"nonstandard_terms": True}, True),
        ({"commercial.nonstandard_terms": True}, {"nonstandard_terms": False}, False),
        ({"commercial.nonstandard_terms": True}, {}, False),
        ({"commercial.nonstandard_terms": False}, {}, True),
        ({"commercial.nonstandard_terms": True}, {"nonstandard_terms": "true"}, False),
        ({"commercial.order_id": {"given": True}}, {"order_id": "o-1"}, True),
        ({"commercial.order_id": {"given": True}}, {"order_id": ""}, False),
        ({"commercial.order_id": {"given": False}}, {}, True),
        ({"users": {"given": False}}, {}, True),
    ],
    ids=str,
)
def test_what_holds(when: dict[str, Any], given: dict[str, Any], expected: bool) -> None:
    check(when)
    assert holds(when, content(**given)) is expected


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ({"customer.segmnt": "x"}, "customer.segmnt is no field of the payload; did you mean “customer.segment”?"),
        ({"customer.segment": 3}, "customer.segment must be compared with a text"),
        ({"customer.segment": ""}, "customer.segment must be compared with a text"),
        ({"customer.segment": []}, "customer.segment has an empty list: it would never hold"),
        ({"customer.segment": {"at_least": 3}}, "customer.segment knows no at_least"),
        ({"commercial.amount": "many"}, "commercial.amount must be compared with a number"),
        ({"commercial.amount": True}, "commercial.amount must be compared with a number"),
        ({"commercial.amount": {}}, "commercial.amount must be a table with at_least, below or given"),
        ({"commercial.amount": {"atleast": 3}}, "commercial.amount knows no atleast; did you mean “at_least”?"),
        ({"commercial.amount": {"at_least": "3"}}, "commercial.amount: at_least must be a number"),
        ({"commercial.amount": {"at_least": 3, "below": 3}}, "no number is at least 3 and below 3"),
        ({"commercial.nonstandard_terms": "yes"}, "must be compared with true or false"),
        ({"commercial.order_id": {"given": "yes"}}, "given must be true or false"),
        ({"users": "kim"}, "users is a list of people: ask { given = true }"),
    ],
    ids=str,
)
def test_what_a_file_may_not_say(when: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        check(when)
    assert words in str(refused.value)


def test_people_read_it() -> None:
    when = {
        "customer.segment": ["enterprise", "strategic"],
        "commercial.amount": {"at_least": 50000, "below": 90000},
        "commercial.nonstandard_terms": True,
        "commercial.order_id": {"given": False},
    }
    assert in_words(when) == (
        "Segment is “enterprise” or “strategic” and Amount is at least 50,000 and below 90,000 and Nonstandard terms is set "
        "and Order is not given"
    )
