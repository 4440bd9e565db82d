"""What is confirmed is what was shown; what changed elsewhere refuses nothing; the second of two people keeps what they typed."""

import html
import re
from typing import Any

import pytest

from exceptions_queue.models import Ticket
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Category, ChangeStatus, Status, StepState
from onboarding.intake import service
from onboarding.models import ChangeRequest, MatchChoice, OnboardingTransaction, Step
from onboarding.payload.schema import OnboardingPayload, get, with_value
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import RUNS, As, Pay, act, hidden, open_ticket, page, text

REASON = {"reason": "The customer withdrew"}


@pytest.fixture
def run(pay: Pay, sandbox: SandboxControl, connections: dict[str, Connection], drain: Drain) -> OnboardingTransaction:
    """Its company is made at HubSpot; its organization is stuck among namesakes at Zendesk."""
    sandbox.seed("zendesk", "organizations", [{"name": "Beta Works"}])
    made = pay("beta")
    drain()
    return OnboardingTransaction.objects.get(pk=made.pk)


@pytest.fixture
def complete(pay: Pay, connections: dict[str, Connection], drain: Drain) -> OnboardingTransaction:
    made = pay("beta")
    drain()
    return OnboardingTransaction.objects.get(pk=made.pk)


def run_act(run: OnboardingTransaction, name: str, key: str = "") -> str:
    where = f"steps/{run.steps.get(key=key).pk}" if key else "act"
    return f"{RUNS}{run.pk}/{where}/{name}/"


def shown_by(client: Any, url: str) -> dict[str, str]:
    content = client.get(url).content.decode()
    return dict(re.findall(r'<input type="hidden" name="(seen|item|version)" value="([^"]*)"', content))


def typed_in(answer: Any, name: str) -> str:
    """What the page's field of that name holds."""
    content = answer.content.decode()
    area = re.search(rf'<textarea[^>]* name="{re.escape(name)}"[^>]*>(.*?)</textarea>', content, flags=re.DOTALL)
    field = re.search(rf'<input[^>]* name="{re.escape(name)}"[^>]* value="([^"]*)"', content) or re.search(
        rf'<input[^>]* value="([^"]*)"[^>]* name="{re.escape(name)}"', content
    )
    found = area or field
    return html.unescape(found[1]).strip() if found else ""


# --- Runs


def test_a_rollback_is_done_though_a_step_was_tried_again_since_the_preview(
    run: OnboardingTransaction, as_: As, drain: Drain
) -> None:
    lead, url = as_("lead"), run_act(run, "rollback")
    seen = shown_by(lead, url)
    services.retry_step(run.steps.get(key="support.organization").pk, actor="kim")
    drain()
    answer = lead.post(url, seen | REASON, follow=True)
    assert (answer.status_code, "The rollback has started" in text(answer)) == (200, True)


def test_a_replay_is_done_though_the_run_was_put_on_hold_since_the_preview(run: OnboardingTransaction, as_: As) -> None:
    lead, url = as_("lead"), run_act(run, "replay", "crm.account")
    seen = shown_by(lead, url)
    services.hold(run.pk, actor="kim", reason="Wait")
    assert "The run is replayed" in text(lead.post(url, seen, follow=True))


def test_rollback_of_more_than_shown_is_refused_and_keeps_the_typed_reason(
    run: OnboardingTransaction, as_: As, drain: Drain
) -> None:
    lead, url = as_("lead"), run_act(run, "rollback")
    seen = shown_by(lead, url)
    services.choose_match(run.steps.get(key="support.organization").pk, external_id="", actor="kim")
    drain()
    answer = lead.post(url, seen | REASON)
    assert (answer.status_code, typed_in(answer, "reason")) == (409, REASON["reason"])
    assert "has changed since the preview" in text(answer)
    assert "kim, 0 s ago: a match was chosen." in re.sub(r"\d+ (s|min) ago", "0 s ago", text(answer))
    assert OnboardingTransaction.objects.get().rollback_at is None
    again = lead.post(url, shown_by(lead, url) | REASON, follow=True)
    assert "The rollback has started" in text(again)


def test_concurrent_rollback_keeps_the_typed_reason(run: OnboardingTransaction, as_: As) -> None:
    lead, url = as_("lead"), run_act(run, "rollback")
    seen = shown_by(lead, url)
    services.rollback(run.pk, actor="kim", reason="Paid back.")
    answer = lead.post(url, seen | REASON)
    assert (answer.status_code, typed_in(answer, "reason")) == (409, REASON["reason"])
    assert "Confirm the rollback" not in text(answer)
    assert "kim" in text(answer)


def test_concurrent_hold_keeps_the_typed_reason(run: OnboardingTransaction, as_: As) -> None:
    services.hold(run.pk, actor="kim", reason="Wait")
    answer = as_("lead").post(run_act(run, "hold"), REASON)
    assert (answer.status_code, typed_in(answer, "reason")) == (409, REASON["reason"])
    assert "kim put the run on hold already." in text(answer)


def test_a_skip_shows_what_is_left_out_along_with_it_and_does_that(
    pay: Pay, sandbox: SandboxControl, connections: dict[str, Connection], drain: Drain, as_: As
) -> None:
    sandbox.seed(
        "hubspot", "companies", [{"name": "A", "domain": "beta-works.com"}, {"name": "B", "domain": "beta-works.com"}]
    )
    run = pay("beta")
    drain()
    lead, url = as_("lead"), run_act(run, "skip", "crm.account")
    needing = services.skip_preview(run.steps.get(key="crm.account").pk)[1:]
    assert needing
    assert needing[0].title in text(lead.get(url))
    lead.post(url, shown_by(lead, url) | REASON)
    skipped = {effect.step for effect in needing} | {"crm.account"}
    assert set(run.steps.filter(state=StepState.SKIPPED).values_list("key", flat=True)) >= skipped


def test_a_skip_that_would_leave_out_more_than_was_shown_is_refused(run: OnboardingTransaction, as_: As) -> None:
    lead, url = as_("lead"), run_act(run, "skip", "support.organization")
    answer = lead.post(url, {"seen": "something else"} | REASON)
    assert (answer.status_code, typed_in(answer, "reason")) == (409, REASON["reason"])
    assert Step.objects.get(transaction=run, key="support.organization").state == StepState.BLOCKED


# --- Changed data


@pytest.fixture
def asked(complete: OnboardingTransaction) -> ChangeRequest:
    content = with_value(complete.payload, "customer.country", "AT")
    service.accept(OnboardingPayload.model_validate(content).content(), actor="tests")
    return ChangeRequest.objects.get()


def decide(change: ChangeRequest, more: str = "") -> str:
    return f"{RUNS}{change.transaction_id}/changes/{change.pk}/{more}"


def test_a_change_is_applied_though_other_data_changed_since_the_preview(
    asked: ChangeRequest, as_: As, drain: Drain
) -> None:
    sales = as_("sales")
    seen = shown_by(sales, decide(asked))
    other = services.request_change(asked.transaction_id, {"commercial.order_id": "order 7"}, actor="kim")
    services.apply_change(other.pk, actor="kim")
    drain()
    assert "The change is applied" in text(sales.post(decide(asked), seen, follow=True))
    assert get(OnboardingTransaction.objects.get().payload, "commercial.order_id") == "order 7"


def test_a_rejection_after_somebody_applied_it_keeps_the_reason_and_tells_who_did(
    asked: ChangeRequest, as_: As
) -> None:
    services.apply_change(asked.pk, actor="kim")
    answer = as_("sales").post(decide(asked, "reject/"), {"reason": "A mistake in billing."})
    assert (answer.status_code, typed_in(answer, "reason")) == (409, "A mistake in billing.")
    assert "Applied by kim" in text(answer)
    assert ChangeRequest.objects.get().status == ChangeStatus.APPLIED


def data_form(answer: Any) -> dict[str, Any]:
    form = answer.context["form"]
    values = {field.name: form[field.name].field.prepare_value(field.value()) for field in form}
    return {name: value for name, value in values.items() if value not in (None, False)} | {
        "version": answer.context["version"]
    }


def test_unchanged_field_does_not_revert_another_persons_change(complete: OnboardingTransaction, as_: As) -> None:
    sales, url = as_("sales"), f"{RUNS}{complete.pk}/data/"
    given = data_form(sales.get(url)) | {"commercial.order_id": "order 7"}
    services.apply_change(services.request_change(complete.pk, {"customer.country": "AT"}, actor="kim").pk, actor="kim")
    sales.post(url, given)
    change = ChangeRequest.objects.filter(status=ChangeStatus.OPEN).get()
    assert change.paths == ["commercial.order_id"]


def test_a_field_that_two_people_change_is_asked_about(complete: OnboardingTransaction, as_: As) -> None:
    sales, url = as_("sales"), f"{RUNS}{complete.pk}/data/"
    given = data_form(sales.get(url)) | {"customer.country": "CH"}
    changes = {"customer.country": "AT", "commercial.order_id": "order 7"}
    services.apply_change(services.request_change(complete.pk, changes, actor="kim").pk, actor="kim")
    answer = sales.post(url, given)
    assert (answer.status_code, typed_in(answer, "customer.country")) == (409, "CH")
    assert "kim changed this since you opened the page" in text(answer)
    assert typed_in(answer, "commercial.order_id") == "order 7"
    sales.post(url, data_form(answer))
    assert ChangeRequest.objects.filter(status=ChangeStatus.OPEN).get().paths == ["customer.country"]


# --- Tickets


def test_concurrent_fix_is_reported_and_keeps_the_typed_values(missing: Ticket, as_: As) -> None:
    sales, lead = as_("sales"), as_("lead")
    given = hidden(sales.get(page(missing)), act(missing, "fix"))
    lead.post(act(missing, "fix"), {"customer.domain": "beta-works.com"})
    answer = sales.post(act(missing, "fix"), given | {"customer.domain": "beta-works.de"})
    assert answer.status_code == 409
    assert re.search(r"lead, \d+ (s|min) ago: data was filled in", text(answer))
    assert "beta-works.de" in text(answer)
    assert OnboardingTransaction.objects.get().domain == "beta-works.com"


def test_a_field_that_is_not_asked_for_any_more_keeps_what_was_typed(pay: Pay, as_: As) -> None:
    ticket = open_ticket(pay("beta", customer__domain="gmail.com", commercial__plan_sku=""))
    sales = as_("sales")
    given = hidden(sales.get(page(ticket)), act(ticket, "fix"))
    as_("lead").post(act(ticket, "fix"), {"customer.domain": "beta-works.com"})
    typed = {"customer.domain": "beta-works.de", "commercial.plan_sku": "pro"}
    answer = sales.post(act(ticket, "fix"), given | typed)
    assert (answer.status_code, typed_in(answer, "commercial.plan_sku")) == (409, "pro")
    assert "beta-works.de" in text(answer)
    assert OnboardingTransaction.objects.get().plan_sku == ""


def test_a_second_choice_does_not_replace_the_first(ambiguous: Ticket, as_: As) -> None:
    first, second = (candidate["external_id"] for candidate in ambiguous.candidates)
    sales = as_("sales")
    given = hidden(sales.get(page(ambiguous)), act(ambiguous, "choose-match"))
    services.choose_match(ambiguous.step_id or 0, external_id=first, actor="kim")
    answer = sales.post(act(ambiguous, "choose-match"), {"shown_status": given["shown_status"], "external_id": second})
    assert (answer.status_code, "kim" in text(answer)) == (409, True)
    assert MatchChoice.objects.get().external_id == first


def test_new_object_is_not_created_when_an_unseen_candidate_exists(ambiguous: Ticket, as_: As) -> None:
    sales, url = as_("sales"), act(ambiguous, "choose-match")
    shown = [ambiguous.candidates[0]["external_id"]]
    answer = sales.post(url, {"create": "true", "shown_status": "open", "candidate": shown})
    assert (answer.status_code, "another candidate was found" in text(answer)) == (409, True)
    assert not MatchChoice.objects.exists()


def test_keeping_a_run_after_another_refund_came_is_asked_again(run: OnboardingTransaction, as_: As) -> None:
    ticket = open_ticket(run)
    Ticket.objects.filter(pk=ticket.pk).update(
        step=None, category=Category.APPROVAL_OVERDUE, queue="finance", message="10 EUR were paid back."
    )
    finance, url = as_("finance"), act(ticket, "skip")
    given = hidden(finance.get(page(ticket)), url) | {"reason": "A discount"}
    Ticket.objects.filter(pk=ticket.pk).update(message="All of it was paid back.")
    answer = finance.post(url, given)
    assert (answer.status_code, typed_in(answer, "reason")) == (409, "A discount")
    assert not run.audit.filter(name="onboarding.run.kept").exists()
    finance.post(url, hidden(finance.get(page(ticket)), url) | {"reason": "A discount"})
    assert run.audit.filter(name="onboarding.run.kept").exists()


def test_concurrent_assignments_do_not_overwrite_each_other(support_ticket: Ticket, as_: As) -> None:
    lead, url = as_("lead"), act(support_ticket, "assign")
    given = hidden(lead.get(page(support_ticket)), url)
    as_("admin").post(url, {"queue": "support-ops", "owner": "support"})
    answer = lead.post(url, given | {"queue": "finance", "owner": ""})
    assert (answer.status_code, "admin" in text(answer)) == (409, True)
    owner = Ticket.objects.select_related("owner").get(pk=support_ticket.pk).owner
    assert owner is not None
    assert owner.get_username() == "support"


@pytest.mark.parametrize(("name", "field"), [("skip", "reason"), ("link-object", "external_id")])
def test_what_was_typed_on_a_ticket_that_was_resolved_meanwhile_is_shown(
    support_ticket: Ticket, as_: As, name: str, field: str
) -> None:
    services.skip_step(support_ticket.step_id or 0, actor="kim", reason="Not needed", with_dependents=True)
    answer = as_("support").post(act(support_ticket, name), {field: "8812"})
    assert (answer.status_code, "8812" in text(answer), "kim" in text(answer)) == (409, True, True)
    assert OnboardingTransaction.objects.get().status != Status.CANCELLED
