"""What a sender's body sizes is capped, and the work on it is linear: counted in calls, not in seconds."""

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from pydantic import ValidationError

from exceptions_queue.admin.runs.payloads import versions
from exceptions_queue.admin.ui.display_names import Names
from integrations.http.redaction import redact
from onboarding.api.personal import masked
from onboarding.enums import OriginKind
from onboarding.intake import service
from onboarding.models import OnboardingTransaction
from onboarding.origins import Sender
from onboarding.payload.schema import (
    LONGEST_KEY,
    MOST_ITEMS,
    MOST_LEVELS,
    MOST_PATHS,
    MOST_UNKNOWN_KEYS,
    OnboardingPayload,
    declared,
    digest,
    free_paths,
    paths,
    with_values,
)

SMALL, LARGE = 100, 800
SLACK = 1.5
"""Eight times the size may cost so much more than eight times the calls. Quadratic work costs eight times more."""


def calls(do: Callable[[], object]) -> int:
    """How many functions, C ones too, are called meanwhile."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        do()
    finally:
        sys.setprofile(None)
    return count


def assert_linear(work: Callable[[int], Callable[[], object]], large_size: int = LARGE) -> None:
    """``work(size)`` prepares, and what it returns is counted."""
    for size in (SMALL, large_size):
        work(size)()  # imports and caches
    small, large = calls(work(SMALL)), calls(work(large_size))
    assert large <= small * large_size / SMALL * SLACK, f"{small} calls at {SMALL}, {large} at {large_size}"


def flat(size: int, prefix: str = "k") -> dict[str, int]:
    return {f"links.{prefix}{number}": number for number in range(size)}


def nested(size: int, prefix: str = "k") -> dict[str, Any]:
    return {"links": {f"{prefix}{number}": number for number in range(size)}}


@pytest.mark.parametrize(
    "work",
    [
        lambda size: lambda: free_paths(flat(size), flat(size, "other")),
        lambda size: lambda: with_values(nested(size), flat(size, "other")),
        lambda size: lambda: with_values(nested(size), dict.fromkeys(flat(size))),
        lambda size: lambda: paths(nested(size)),
        lambda size: lambda: declared(flat(size)),
        lambda size: lambda: digest(nested(size)),
        lambda size: lambda: masked({"handover": nested(size)}),
        lambda size: lambda: masked(flat(size)),
        lambda size: lambda: redact(nested(size)),
        lambda size: lambda: redact({"@" * size: "a@" * size}),
    ],
    ids=["free", "set", "remove", "flatten", "declared", "digest", "mask", "mask-unknown", "redact", "redact-text"],
)
def test_work_on_a_payload_is_linear(work: Callable[[int], Callable[[], object]]) -> None:
    assert_linear(work)


def body(run_id: str, links: dict[str, Any], **more: Any) -> dict[str, Any]:
    event = {"onboarding_transaction_id": run_id, "event_source": "shop", "handover": {"links": links}, **more}
    return OnboardingPayload.model_validate(event).content()


@pytest.mark.parametrize("name", ["A", ""], ids=["conflicting", "filling"])
def test_redelivery_with_other_keys_is_linear(transactional_db: None, name: str) -> None:
    """The first telling leaves the run without required data, so that what comes then may fill it."""
    shop = Sender(OriginKind.REST, "shop")
    made = 0

    def work(size: int) -> Callable[[], object]:
        nonlocal made
        made += 1
        run_id = f"pay_{made}"
        more = {"customer": {"legal_name": name}} if name else {}
        service.accept(body(run_id, dict(nested(size)["links"]), **more), actor="key:shop", sender=shop)
        news = body(run_id, nested(size)["links"] | nested(size, "other")["links"])
        return lambda: service.accept(news, actor="key:shop", sender=shop)

    assert_linear(work, MOST_PATHS // 2 - 20)  # two sets of keys stand in one payload


def test_a_page_compares_versions_in_linear_time(transactional_db: None) -> None:
    made = 0

    def work(size: int) -> Callable[[], object]:
        nonlocal made
        made += 1
        run_id = f"pay_{made}"
        run = service.accept(body(run_id, {}), actor="tests").run
        service.accept(body(run_id, nested(size)["links"]), actor="tests")
        run = OnboardingTransaction.objects.get(pk=run.pk)
        return lambda: versions(run, Names(), may_see=True)

    assert_linear(work)


ENVELOPE = {"onboarding_transaction_id": "pay_1", "event_source": "shop"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({f"k{number}": number for number in range(MOST_UNKNOWN_KEYS + 1)}, "keys that the schema does not know"),
        (
            {"customer": {f"k{number}": 1 for number in range(MOST_UNKNOWN_KEYS + 1)}},
            "keys that the schema does not know",
        ),
        (
            {"other": {"deep": {f"k{number}": 1 for number in range(MOST_UNKNOWN_KEYS)}}},
            "keys that the schema does not know",
        ),
        ({"handover": nested(MOST_PATHS)}, f"more than {MOST_PATHS} fields"),
        ({"handover": {"links": {"a." * MOST_LEVELS: 1}}}, f"deeper than {MOST_LEVELS} levels"),
        ({"x" * (LONGEST_KEY + 1): 1}, f"longer than {LONGEST_KEY} characters"),
        ({"commercial": {"lines": [{}] * (MOST_ITEMS + 1)}}, f"at most {MOST_ITEMS} items"),
        ({"handover": {"risks": [1] * (MOST_ITEMS + 1)}}, f"at most {MOST_ITEMS} items"),
    ],
    ids=["unknown", "unknown-within", "unknown-below", "fields", "dots", "long-key", "lines", "risks"],
)
def test_more_than_a_payload_may_hold_is_malformed(content: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        OnboardingPayload.model_validate({**ENVELOPE, **content})


def test_as_much_as_a_payload_may_hold_is_kept() -> None:
    unknown = {f"k{number}": number + 1 for number in range(MOST_UNKNOWN_KEYS)}
    content = OnboardingPayload.model_validate({**ENVELOPE, **unknown, "handover": nested(700)}).content()
    assert json.loads(json.dumps(content)).items() >= unknown.items()


@pytest.mark.parametrize(
    "values",
    [
        {"a.b": 1, "a": 2, "a.c": 3},
        {"a": {"x": 1}, "a.y": 2, "a.x": None},
        {"b.c.d": 1, "b.c": "", "b.e": 2},
    ],
)
def test_setting_paths_at_once_is_setting_one_after_the_other(values: dict[str, Any]) -> None:
    before = {"a": {"b": {"z": 1}}, "b": 5}
    one_by_one = before
    for path, value in values.items():
        one_by_one = with_values(one_by_one, {path: value})
    assert with_values(before, values) == one_by_one
    assert before == {"a": {"b": {"z": 1}}, "b": 5}
