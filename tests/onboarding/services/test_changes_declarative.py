"""Changed data at vendors that mappings describe: their update steps write it; what no step writes is told beforehand."""

from collections.abc import Callable
from typing import Any

import pytest

from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Status
from onboarding.models import OnboardingTransaction
from onboarding.services import Effect
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, shown, status_of
from tests.onboarding.services.test_changes import writes
from tests.onboarding.steps.test_declarative import MADE, USERS, begin, created, the_only, vendors

__all__ = ["begin", "vendors", "writes"]  # fixtures


@pytest.fixture
def complete(begin: Accept, drain: Drain) -> OnboardingTransaction:
    run = begin()
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    return run


def change(run: OnboardingTransaction, drain: Drain, fields: dict[str, Any]) -> dict[str, Effect]:
    """What was told of it beforehand; then it is applied."""
    request = services.request_change(run.pk, fields, actor="kim")
    effects = {each.step: each for each in services.change_preview(request.pk)}
    services.apply_change(request.pk, actor="lee")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    return effects


def test_an_update_step_writes_what_it_reads(
    complete: OnboardingTransaction, drain: Drain, sandbox: SandboxControl, writes: Callable[[], list[str]]
) -> None:
    writes()
    effects = change(complete, drain, {"ownership.implementation_owner_id": "u_9"})
    assert {key: each.verdict for key, each in effects.items()} == {"status": "send-again"}
    assert the_only(sandbox, "workspaces")["owner"] == "u_9"
    (written,) = writes()
    assert written.startswith("widgets PATCH /workspaces/")
    assert created(sandbox) == MADE


def test_fields_no_step_writes_are_reported_for_manual_change(
    complete: OnboardingTransaction, drain: Drain, sandbox: SandboxControl, writes: Callable[[], list[str]]
) -> None:
    writes()
    effects = change(complete, drain, {"commercial.term": "monthly", "customer.legal_name": "Acme Freight"})
    told = {key: each.text for key, each in effects.items() if each.verdict == "by-hand"}
    assert told["workspace"] == (
        "No step of this run writes “Term” and “Legal name” into what is there: change it in Keyed by hand."
    )
    assert "“Legal name”" in told["widget"]
    assert complete.audit.get(name="onboarding.change.applied").data["by_hand"] == [
        "account", "workspace", "widget",
    ]  # fmt: skip
    assert writes() == []


def test_additional_user_is_ensured_and_existing_ones_kept(
    complete: OnboardingTransaction, drain: Drain, sandbox: SandboxControl
) -> None:
    effects = change(complete, drain, {"users": [*USERS[:2], {"name": "New One", "email": "new@acme-logistics.com"}]})
    assert effects["contacts"].verdict == "look-up"
    assert "by hand" not in effects["contacts"].text
    assert created(sandbox) == MADE | {"contacts": 3}


def test_renamed_user_is_reported_for_manual_change(
    complete: OnboardingTransaction, drain: Drain, writes: Callable[[], list[str]]
) -> None:
    writes()
    effects = change(complete, drain, {"users": [{**USERS[0], "name": "Samantha Roe"}, USERS[1]]})
    assert effects["contacts"].verdict == "by-hand"
    assert "“Users”" in effects["contacts"].text
    assert "Samantha" not in effects["contacts"].text
    assert writes() == []
