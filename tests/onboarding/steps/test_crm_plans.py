"""The success plan beside the delivery project, and the order's lines on the deal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Category, Status
from onboarding.models import OnboardingTransaction
from onboarding.playbooks.playbook import playbooks
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, shown, status_of, ticket_of
from tests.onboarding.steps.test_support import change

PLAYBOOK = """
name = "standard"
version = "1"
owner = "revenue-operations"

[[steps]]
key = "crm.account"
uses = "crm.account"

[[steps]]
key = "crm.deal"
uses = "crm.deal"
after = ["crm.account"]

[[steps]]
key = "crm.deal-lines"
uses = "crm.deal-lines"
after = ["crm.deal"]

[[steps]]
key = "delivery.project"
uses = "delivery.project"
after = ["crm.account"]

[[steps]]
key = "crm.success-plan"
uses = "crm.success-plan"
after = ["crm.deal", "delivery.project"]
"""
pytestmark = pytest.mark.usefixtures("planned", "connections")
LINES = [
    {"sku": "pro", "name": "Pro", "quantity": 4, "unit_price": 2500},
    {"sku": "setup", "name": "Set-up", "quantity": 1, "amount": 2000},
]


@pytest.fixture
def planned(settings: Any, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "standard.toml").write_text(PLAYBOOK)
    settings.CONFIG_DIR = tmp_path
    playbooks.cache_clear()
    yield
    playbooks.cache_clear()


@pytest.fixture
def ready(accept: Accept, drain: Drain) -> OnboardingTransaction:
    run = accept(commercial__lines=LINES, handover__success_criteria="a <report> a week")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    return run


def bodies(sandbox: SandboxControl, kind: str) -> list[dict[str, Any]]:
    return [each["body"] | {"id": each["id"]} for each in sandbox.objects("hubspot", kind)]


def only(sandbox: SandboxControl, kind: str) -> dict[str, Any]:
    (found,) = bodies(sandbox, kind)
    return found


def lines(sandbox: SandboxControl) -> list[tuple[str, str, str, str]]:
    return [(each["name"], each["hs_sku"], each["quantity"], each["price"]) for each in bodies(sandbox, "line_items")]


# --- The success plan -------------------------------------------------------------------------------------------------


def test_the_plan_is_a_task_due_when_the_first_value_is_to_be_reached(
    ready: OnboardingTransaction, sandbox: SandboxControl, settled: Settled
) -> None:
    plan = only(sandbox, "tasks")
    assert plan["hs_task_subject"] == "Success plan: Acme Logistics"
    assert plan["hs_timestamp"].startswith("2026-12-15")
    assert plan["hs_task_status"] == "NOT_STARTED"
    assert plan["hubspot_owner_id"] == "u_789"
    for text in (
        "first automated report",
        "a &lt;report&gt; a week",
        "Target date:</strong> 2026-12-15",
        "Delivery project:",
    ):
        assert text in plan["hs_task_body"]
    settled()


def test_it_belongs_to_customer_success_where_the_connection_names_them(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection
) -> None:
    hubspot.options |= {"success_owner": "u_1"}
    hubspot.save()
    accept()
    drain()
    assert only(sandbox, "tasks")["hubspot_owner_id"] == "u_1"
    assert only(sandbox, "deals")["hubspot_owner_id"] == "u_789"


def test_another_target_moves_it_and_a_replay_makes_no_second_one(
    ready: OnboardingTransaction, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    effects = change(ready, drain, first_value_target__target_days=21, first_value_target__milestone="first invoice")
    assert effects["crm.success-plan"] == "update"
    plan = only(sandbox, "tasks")
    assert plan["hs_timestamp"].startswith("2026-12-22")
    assert "first invoice" in plan["hs_task_body"]
    assert "Reference: [firstvalue:pay_12345/success-plan]" in plan["hs_task_body"]
    services.replay(ready.pk, "crm.success-plan", actor="kim")
    drain()
    assert only(sandbox, "tasks")["id"] == plan["id"]
    settled()


def test_a_lost_answer_makes_no_second_plan(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("hubspot", "error_after", method="POST", path="*/objects/tasks", count=1)
    run = accept()
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert run.mappings.get(kind="success-plan").created_by_us
    assert len(bodies(sandbox, "tasks")) == 1
    settled()


# --- Lines ------------------------------------------------------------------------------------------------------------


def test_the_orders_lines_stand_on_the_deal(
    ready: OnboardingTransaction, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    made = [("Pro", "pro", "4", "2500"), ("Set-up", "setup", "1", "2000")]
    assert lines(sandbox) == made
    services.replay(ready.pk, "crm.deal-lines", actor="kim")
    drain()
    assert lines(sandbox) == made
    settled()


def test_without_lines_the_plan_is_one_and_follows_a_change(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    drain()
    assert lines(sandbox) == [("pro", "pro", "1", "12000")]
    change(run, drain, commercial__plan_sku="enterprise", commercial__amount=20000)
    assert lines(sandbox) == [("enterprise", "enterprise", "1", "20000")]


def test_a_line_without_an_amount_is_a_ticket(accept: Accept, drain: Drain, settled: Settled) -> None:
    run = accept(commercial__lines=[*LINES, {"sku": "gift", "name": "Gift"}])
    drain()
    ticket = ticket_of(run, "crm.deal-lines")
    assert ticket.category == Category.VALIDATION_ERROR
    assert "line 3 names no amount" in ticket.message
    settled()


@pytest.mark.parametrize("fault", ["error_after", "reset_after", "malformed"])
def test_a_lost_answer_makes_no_second_line(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled, fault: str
) -> None:
    sandbox.add_fault("hubspot", fault, method="POST", path="*/line_items/batch/upsert", count=1)
    run = accept(commercial__lines=LINES)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert len(lines(sandbox)) == 2
    settled()


def test_rollback_takes_lines_and_plan_away(
    ready: OnboardingTransaction, drain: Drain, sandbox: SandboxControl
) -> None:
    services.rollback(ready.pk, actor="kim", reason="The customer withdrew")
    drain()
    assert status_of(ready) == Status.ROLLED_BACK, shown(ready)
    assert (bodies(sandbox, "line_items"), bodies(sandbox, "tasks"), bodies(sandbox, "deals")) == ([], [], [])
