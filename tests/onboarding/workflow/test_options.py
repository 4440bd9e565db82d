"""What a playbook may say of a hand-over."""

from typing import Any

import pytest

from onboarding.steps.hand_over import WorkflowHandOver
from onboarding.steps.handler import Facts

CONTENT = {
    "customer": {
        "legal_name": "Acme",
        "territory": "emea",
        "primary_contact": {"name": "Kim", "email": "kim@acme.example"},
    },
    "commercial": {"plan_sku": "pro", "lines": []},
    "own": {"unknown": 1},
}


def facts(**options: Any) -> Facts:
    return Facts(CONTENT, "pay_1", step="territory", round=2, options=options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"minute": 5}, "knows no option minute"),
        ({"minutes": 0}, "minutes must be a whole number from 1"),
        ({"minutes": True}, "minutes must be"),
        ({"minutes": 1.5}, "minutes must be"),
        ({"title": ""}, "title must be one line"),
        ({"title": "a\nb"}, "title must be one line"),
        ({"fields": "customer.legal_name"}, "fields must be a list"),
        ({"fields": ["customer.legal_nam"]}, "customer.legal_nam is no field of the payload"),
    ],
)
def test_a_wrong_option_is_refused_in_words(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        WorkflowHandOver().check_options(options)


def test_the_tool_is_told_what_the_playbook_names_and_no_more() -> None:
    told = WorkflowHandOver().wanted(facts(fields=["customer.territory", "customer.segment"], minutes=5))
    assert told.payload == {"customer": {"territory": "emea"}}
    assert (told.hand_over, told.step, told.minutes) == ("pay_1/territory/2", "territory", 5)


def test_without_names_it_is_told_all_known_fields() -> None:
    told = WorkflowHandOver().wanted(facts())
    contact = {"name": "Kim", "email": "kim@acme.example"}
    assert told.payload == {
        "customer": {"legal_name": "Acme", "territory": "emea", "primary_contact": contact},
        "commercial": {"plan_sku": "pro"},
    }
    assert told.minutes == 24 * 60


def test_two_steps_of_a_run_are_two_hand_overs() -> None:
    handler, other = WorkflowHandOver(), Facts(CONTENT, "pay_1", step="licence", round=2)
    assert handler.reference(facts()) != handler.reference(other)
    assert handler.match_key(facts()) != handler.match_key(other)
