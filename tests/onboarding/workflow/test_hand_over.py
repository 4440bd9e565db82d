"""A step that a workflow tool does: handed over once, and ended by the tool's report, whenever and however often that comes."""

from datetime import timedelta
from typing import Any

import pytest

from exceptions_queue import scheduling
from exceptions_queue.models import UNRESOLVED, Ticket
from integrations import clock
from integrations.connections.services import close_after_probe
from integrations.enums import Breaker, EventState
from integrations.inbound import standard_webhooks
from integrations.models import ApiCall, Connection, InboundEvent
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine.periodic import sweep
from onboarding.enums import Category, Status, StepState, Topic, WaitsFor
from onboarding.models import HandOverReport, OnboardingTransaction
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, shown, status_of, step_of
from tests.support.workflow_tools import connect, handed_over, report, reported, secret_of

FAILED = "workflow.failed"
pytestmark = pytest.mark.usefixtures("workflow_playbook", "hubspot")


def name_of(run: OnboardingTransaction, number: int = 0) -> str:
    return f"{run.onboarding_transaction_id}/territory/{number}"


def ticket_of(run: OnboardingTransaction) -> Ticket:
    return Ticket.objects.get(transaction=run, status__in=UNRESOLVED)


def pass_deadline(drain: Drain) -> None:
    clock.shift(timedelta(minutes=61))
    drain()


# --- Handing over


def test_the_tool_is_told_once_and_signed(run: OnboardingTransaction, tool: str, sandbox: SandboxControl) -> None:
    (told,) = handed_over(tool, sandbox)
    data = told["data"]
    assert told["type"] == "workflow.requested"
    assert data["hand_over"] == name_of(run)
    assert (data["onboarding_transaction_id"], data["step"]) == (run.onboarding_transaction_id, "territory")
    assert data["payload"] == {"customer": {"legal_name": "Acme Logistics"}, "commercial": {"plan_sku": "pro"}}
    assert data["callback_url"].endswith(f"/webhooks/{tool}/")
    (asked,) = [each for each in sandbox.requests(tool) if each["method"] == "POST"]
    assert asked["idempotency_key"] == told["webhook_id"]
    signed = standard_webhooks.sign(asked["body"].encode(), id=told["webhook_id"], at=1, secrets=[secret_of(tool)])
    assert signed["webhook-id"] == told["webhook_id"]


def test_neither_the_address_nor_the_customer_is_in_the_record(run: OnboardingTransaction, tool: str) -> None:
    call = ApiCall.objects.get(connection__slug=tool)
    shown_call = f"{call.path} {call.request} {call.response}"
    assert f"sandbox-{tool}-token" not in shown_call
    assert "Acme" not in shown_call
    assert name_of(run) in shown_call


def test_nothing_is_asked_while_a_report_is_awaited(
    run: OnboardingTransaction, tool: str, drain: Drain, sandbox: SandboxControl
) -> None:
    before = len(sandbox.requests(tool))
    clock.shift(timedelta(minutes=10))
    sweep.sweep()
    drain()
    assert len(sandbox.requests(tool)) == before
    assert step_of(run, "territory").attempt_rows.count() == 1


# --- The report


def test_a_success_ends_the_step_with_what_was_made(run: OnboardingTransaction, tool: str, drain: Drain) -> None:
    made = [{"kind": "territory", "id": "emea-4", "url": "https://crm.example/territories/emea-4"}]
    execution = {"id": "231", "url": "https://tool.example/executions/231"}
    event = reported(tool, name_of(run), execution=execution, objects=made)
    assert event.state == EventState.PROCESSED, event.outcome
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    own, object_ = step_of(run, "territory").mappings.order_by("pk")
    assert (own.kind, own.url) == ("hand-over", execution["url"])
    assert (object_.kind, object_.external_id, object_.url) == ("territory", "emea-4", made[0]["url"])
    assert not Ticket.objects.exists()


def test_a_failure_is_a_ticket_with_the_text_and_the_execution(
    run: OnboardingTransaction, tool: str, drain: Drain, sandbox: SandboxControl
) -> None:
    reported(
        tool, name_of(run), FAILED, message="No territory for DE.", execution={"id": "9", "url": "https://t.example/9"}
    )
    drain()
    step, ticket = step_of(run, "territory"), ticket_of(run)
    assert (step.state, step.category) == (StepState.BLOCKED, Category.VALIDATION_ERROR)
    assert (ticket.queue, "No territory for DE." in ticket.message) == ("revenue-operations", True)
    assert step.mappings.get().url == "https://t.example/9"
    assert len(handed_over(tool, sandbox)) == 1


def test_a_failed_one_is_handed_over_anew_when_a_person_retries(
    run: OnboardingTransaction, tool: str, drain: Drain, sandbox: SandboxControl
) -> None:
    reported(tool, name_of(run), FAILED, message="No territory.")
    services.retry_step(step_of(run, "territory").pk, actor="kim")
    drain()
    first, second = handed_over(tool, sandbox)
    assert (first["data"]["hand_over"], second["data"]["hand_over"]) == (name_of(run), name_of(run, 1))
    assert first["webhook_id"] != second["webhook_id"]
    step = step_of(run, "territory")
    assert (step.state, step.category) == (StepState.WAITING, "")
    assert not Ticket.objects.filter(status__in=UNRESOLVED).exists()
    reported(tool, name_of(run, 1))
    drain()
    assert status_of(run) == Status.COMPLETE


def test_a_flow_that_is_run_again_after_it_failed_ends_the_step(
    run: OnboardingTransaction, n8n: str, drain: Drain
) -> None:
    reported(n8n, name_of(run), FAILED, message="No territory.")
    reported(n8n, name_of(run), message_id="msg_2")
    drain()
    assert status_of(run) == Status.COMPLETE
    assert not Ticket.objects.filter(status__in=UNRESOLVED).exists()


def test_a_failure_after_a_success_changes_nothing(run: OnboardingTransaction, n8n: str, drain: Drain) -> None:
    for type_ in ("workflow.succeeded", FAILED):
        reported(n8n, name_of(run), type_)
    drain()
    assert status_of(run) == Status.COMPLETE
    assert HandOverReport.objects.count() == 2
    assert not Ticket.objects.exists()


def test_a_report_counts_once_however_often_it_comes(run: OnboardingTransaction, tool: str, drain: Drain) -> None:
    for number in range(3):
        reported(tool, name_of(run), message_id=f"msg_{number}", objects=[{"kind": "territory", "id": "emea-4"}])
    assert report(tool, name_of(run)).json() == {"status": "duplicate"}
    drain()
    assert HandOverReport.objects.count() == 1
    assert step_of(run, "territory").mappings.count() == 2
    assert InboundEvent.objects.count() == 1


def test_flows_that_share_one_message_id_are_told_apart(
    run: OnboardingTransaction, n8n: str, accept: Accept, drain: Drain
) -> None:
    other = accept(onboarding_transaction_id="pay_2", customer__domain="beta.io", customer__legal_name="Beta")
    drain()
    for each in (run, other):
        reported(n8n, name_of(each), message_id="constant")
    drain()
    assert {status_of(run), status_of(other)} == {Status.COMPLETE}


@pytest.mark.parametrize(
    "name",
    [
        "pay_nobody/territory/0",
        "pay_12345/crm.account/0",
        "pay_12345/none/0",
        "pay_12345/territory/7",
        "x",
        "//",
        "a/b/c",
    ],
)
def test_a_report_of_what_was_not_handed_over_is_ignored(run: OnboardingTransaction, n8n: str, name: str) -> None:
    assert reported(n8n, name).state == EventState.IGNORED
    assert step_of(run, "territory").state == StepState.WAITING


def test_another_connection_cannot_report_it(run: OnboardingTransaction, n8n: str, sandbox: SandboxControl) -> None:
    connect("zapier", sandbox)
    assert reported("zapier", name_of(run)).state == EventState.IGNORED
    assert step_of(run, "territory").state == StepState.WAITING


# --- Signatures


def test_a_forged_or_stale_report_is_refused(run: OnboardingTransaction, tool: str) -> None:
    forged = standard_webhooks.new_secret()
    assert report(tool, name_of(run), secret=forged).status_code == 400
    at = int(clock.now().timestamp())
    assert report(tool, name_of(run), at=at - 302).status_code == 400
    assert report(tool, name_of(run), at=at + 302).status_code == 400
    assert not InboundEvent.objects.exists()
    assert step_of(run, "territory").state == StepState.WAITING


def test_what_was_handed_over_cannot_be_sent_back_as_a_report(
    run: OnboardingTransaction, n8n: str, sandbox: SandboxControl
) -> None:
    assert reported(n8n, name_of(run), "workflow.requested").state == EventState.IGNORED
    assert step_of(run, "territory").state == StepState.WAITING


@pytest.mark.parametrize(
    "data",
    [{"execution": {"url": "javascript:alert(1)"}}, {"objects": [{"kind": "x"}]}, {"objects": [{"id": "1"}] * 51}],
)
def test_a_report_that_is_not_as_documented_is_shown_to_a_person(
    run: OnboardingTransaction, n8n: str, data: dict[str, Any]
) -> None:
    assert reported(n8n, name_of(run), **data).state == EventState.FAILED
    assert step_of(run, "territory").state == StepState.WAITING


def test_the_report_of_a_flow_that_was_mended_ends_the_step(run: OnboardingTransaction, n8n: str, drain: Drain) -> None:
    assert reported(n8n, name_of(run), objects=[{"kind": "territory"}]).state == EventState.FAILED
    assert reported(n8n, name_of(run), objects=[{"kind": "territory", "id": "emea-4"}]).state == EventState.PROCESSED
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert step_of(run, "territory").mappings.filter(external_id="emea-4").exists()


# --- The deadline


def test_past_the_deadline_a_person_is_told_and_nothing_is_sent_again(
    run: OnboardingTransaction, tool: str, drain: Drain, sandbox: SandboxControl
) -> None:
    pass_deadline(drain)
    step, ticket = step_of(run, "territory"), ticket_of(run)
    assert (step.state, step.category, step.due_at) == (StepState.BLOCKED, Category.UNKNOWN_OUTCOME, None)
    assert "no report has come until" in ticket.message
    services.retry_step(step.pk, actor="kim")
    drain()
    assert step_of(run, "territory").state == StepState.BLOCKED
    assert len(handed_over(tool, sandbox)) == 1


def test_a_report_after_the_deadline_ends_the_step_and_its_ticket(
    run: OnboardingTransaction, tool: str, drain: Drain
) -> None:
    pass_deadline(drain)
    reported(tool, name_of(run))
    drain()
    assert status_of(run) == Status.COMPLETE
    assert not Ticket.objects.filter(status__in=UNRESOLVED).exists()


def test_a_failure_after_the_deadline_says_why(run: OnboardingTransaction, n8n: str, drain: Drain) -> None:
    pass_deadline(drain)
    reported(n8n, name_of(run), FAILED, message="No territory.")
    assert ticket_of(run).category == Category.VALIDATION_ERROR


def test_past_the_deadline_a_person_can_have_it_handed_over_again(
    run: OnboardingTransaction, n8n: str, drain: Drain, sandbox: SandboxControl
) -> None:
    pass_deadline(drain)
    services.choose_match(step_of(run, "territory").pk, external_id="", actor="kim")
    drain()
    assert [each["data"]["hand_over"] for each in handed_over(n8n, sandbox)] == [name_of(run), name_of(run, 1)]
    assert step_of(run, "territory").state == StepState.WAITING
    reported(n8n, name_of(run, 1))
    drain()
    assert status_of(run) == Status.COMPLETE
    # The first one has worked after all: what it made is one too many.
    reported(n8n, name_of(run), objects=[{"kind": "territory", "id": "emea-4"}])
    ticket = ticket_of(run)
    assert (ticket.topic, "territory emea-4" in ticket.message) == (Topic.SURPLUS, True)


def test_one_with_the_longest_run_id_can_be_handed_over_again(
    n8n: str, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept(onboarding_transaction_id="p" * 255)
    drain()
    pass_deadline(drain)
    services.choose_match(step_of(run, "territory").pk, external_id="", actor="kim")
    drain()
    assert [each["data"]["hand_over"] for each in handed_over(n8n, sandbox)] == [name_of(run), name_of(run, 1)]
    reported(n8n, name_of(run, 1))
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)


def test_it_can_be_skipped_as_done_by_hand(run: OnboardingTransaction, n8n: str, drain: Drain) -> None:
    pass_deadline(drain)
    services.skip_step(step_of(run, "territory").pk, actor="kim", reason="done by hand")
    drain()
    assert status_of(run) == Status.COMPLETE


# --- A lost answer


def test_after_a_lost_answer_it_is_not_handed_over_again_without_a_person(
    tool: str, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault(tool, "error_after", method="POST", count=1)
    made = accept()
    drain()
    step = step_of(made, "territory")
    assert (step.state, step.category) == (StepState.BLOCKED, Category.UNKNOWN_OUTCOME)
    assert len(handed_over(tool, sandbox)) == 1
    services.retry_step(step.pk, actor="kim")
    drain()
    assert len(handed_over(tool, sandbox)) == 1


def test_a_report_shows_that_a_hand_over_without_an_answer_came(
    tool: str, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault(tool, "error_after", method="POST", count=1)
    made = accept()
    drain()
    reported(tool, name_of(made), execution={"id": "231", "url": "https://tool.example/231"})
    drain()
    assert status_of(made) == Status.COMPLETE, shown(made)
    assert step_of(made, "territory").mappings.get().url == "https://tool.example/231"
    assert len(handed_over(tool, sandbox)) == 1
    assert not Ticket.objects.filter(status__in=UNRESOLVED).exists()


def test_a_person_who_finds_nothing_has_it_handed_over_under_the_same_id(
    n8n: str, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault(n8n, "reset_before", method="POST", count=1)
    made = accept()
    drain()
    services.choose_match(step_of(made, "territory").pk, external_id="", actor="kim")
    drain()
    asked = [each for each in sandbox.requests(n8n) if each["method"] == "POST"]
    assert len({each["idempotency_key"] for each in asked}) == 1
    assert len(handed_over(n8n, sandbox)) == 1
    reported(n8n, name_of(made))
    drain()
    assert status_of(made) == Status.COMPLETE


def test_a_report_that_overtakes_the_tools_answer_ends_the_step(
    n8n: str, accept: Accept, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while the worker still waits for the answer."""
    from integrations.vendors.n8n.connector import N8n

    sent = N8n.hand_over

    def answered_late(self: Any, body: dict[str, Any], headers: Any) -> str:
        url = sent(self, body, headers)
        reported("n8n", body["data"]["hand_over"], execution={"id": "7", "url": "https://n8n.example/7"})
        return url

    monkeypatch.setattr(N8n, "hand_over", answered_late)
    made = accept()
    drain()
    assert status_of(made) == Status.COMPLETE, shown(made)
    assert step_of(made, "territory").mappings.get().url == "https://n8n.example/7"


def test_an_address_where_nothing_listens_stops_the_connection(
    n8n: str, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.configure("n8n", active=False)
    made = accept()
    drain()
    ticket = Ticket.objects.get(status__in=UNRESOLVED)
    assert (ticket.connection is not None, "activate the flow" in ticket.message) == (True, True)
    sandbox.configure("n8n", active=True)
    assert close_after_probe(Connection.objects.get(slug="n8n").pk, "kim").ok
    drain()
    assert step_of(made, "territory").state == StepState.WAITING
    assert len(handed_over("n8n", sandbox)) == 1


# --- The breaker


def accept_another(accept: Accept, number: int) -> OnboardingTransaction:
    name = f"n{number}"
    return accept(
        onboarding_transaction_id=f"pay_{name}", customer__domain=f"{name}.io", customer__legal_name=name.title()
    )


def test_a_good_hand_over_ends_a_row_of_failures(
    tool: str, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault(tool, "error_before", method="POST", count=2)
    for number in range(2):
        accept_another(accept, number)
        drain()
    assert Connection.objects.get(slug=tool).failures == 2
    accept()
    drain()
    assert Connection.objects.get(slug=tool).failures == 0


def test_a_look_at_what_was_handed_over_says_nothing_of_the_tool(
    run: OnboardingTransaction, n8n: str, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault(n8n, "error_before", method="POST", count=1)
    accept_another(accept, 1)
    drain()
    pass_deadline(drain)
    services.retry_step(step_of(run, "territory").pk, actor="kim")
    drain()
    assert step_of(run, "territory").attempt_rows.count() > 1
    assert Connection.objects.get(slug=n8n).failures == 1


def test_a_good_hand_over_closes_a_half_open_breaker(
    tool: str, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault(tool, "error_before", method="POST", count=5)
    for number in range(5):
        accept_another(accept, number)
    drain()
    stopped = Connection.objects.get(slug=tool)
    assert (stopped.breaker, stopped.probe_at is None) == (Breaker.OPEN, False)
    waiting = accept()
    drain()
    assert not handed_over(tool, sandbox)
    clock.shift(timedelta(seconds=11))
    scheduling.one_pass(publish=False)
    drain()
    assert step_of(waiting, "territory").waits_for == WaitsFor.EVENT
    assert len(handed_over(tool, sandbox)) == 1
    closed = Connection.objects.get(slug=tool)
    assert (closed.breaker, closed.failures) == (Breaker.CLOSED, 0)


# --- Rollback, replay


def test_a_rollback_leaves_what_the_tool_made_with_a_ticket_that_lists_it(
    run: OnboardingTransaction, tool: str, drain: Drain
) -> None:
    reported(tool, name_of(run), objects=[{"kind": "territory", "id": "emea-4", "url": "https://crm.example/emea-4"}])
    drain()
    services.rollback(run.pk, actor="kim", reason="refunded")
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    ticket = ticket_of(run)
    assert (ticket.topic, ticket.is_by_hand) == (Topic.SURPLUS, True)
    assert "territory: territory emea-4 (https://crm.example/emea-4)" in ticket.message


def test_a_report_after_a_rollback_adds_what_was_made_to_the_ticket(
    run: OnboardingTransaction, n8n: str, drain: Drain
) -> None:
    services.rollback(run.pk, actor="kim", reason="refunded")
    drain()
    assert "no report yet" in ticket_of(run).message
    reported(n8n, name_of(run), objects=[{"kind": "territory", "id": "emea-4"}])
    drain()
    assert "territory: territory emea-4" in ticket_of(run).message
    assert status_of(run) == Status.ROLLED_BACK
    assert step_of(run, "territory").state == StepState.COMPENSATED


def test_a_replay_hands_nothing_over_again(
    run: OnboardingTransaction, n8n: str, drain: Drain, sandbox: SandboxControl
) -> None:
    reported(n8n, name_of(run))
    drain()
    services.replay(run.pk, "territory", actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert len(handed_over(n8n, sandbox)) == 1


def test_a_replay_from_a_failed_one_hands_it_over_anew(
    run: OnboardingTransaction, n8n: str, drain: Drain, sandbox: SandboxControl
) -> None:
    reported(n8n, name_of(run), FAILED, message="No territory.")
    services.replay(run.pk, "territory", actor="kim")
    drain()
    assert [each["data"]["hand_over"] for each in handed_over(n8n, sandbox)] == [name_of(run), name_of(run, 1)]
    assert step_of(run, "territory").state == StepState.WAITING


def test_a_report_on_a_run_on_hold_is_kept_and_nothing_is_begun(
    run: OnboardingTransaction, n8n: str, drain: Drain
) -> None:
    services.hold(run.pk, actor="kim", reason="wait")
    reported(n8n, name_of(run))
    drain()
    assert step_of(run, "territory").state == StepState.SUCCEEDED
    assert step_of(run, "crm.account").state == StepState.PENDING
    services.resume(run.pk, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE
