"""Changed data beside rollbacks, and while outcomes are not known: never twice, and never too much."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from exceptions_queue.models import Ticket
from integrations import clock
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.recording import record
from onboarding.enums import Category, ChangeStatus, IntentState, Status
from onboarding.models import MatchChoice, ObjectMapping, OnboardingTransaction, RejectedMatch, Reservation
from onboarding.services import Refused
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_flow import created
from tests.onboarding.services.test_changes import KIM, Tell, applied, complete, one, tell, writes
from tests.onboarding.services.test_rollback import BY, left, lose_a_worker, roll_back

__all__ = ["complete", "tell", "writes"]  # fixtures
pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")
SAM = [{"name": "Sam Roe", "email": "sam@acme-logistics.com", "role": "admin"}]


def emails(sandbox: SandboxControl, vendor: str, kind: str) -> set[str]:
    return {each["body"]["email"] for each in sandbox.objects(vendor, kind)}


def with_contact_in_hand(run: OnboardingTransaction) -> claiming.Claim:
    """The claim of a worker that is about to make the contact."""
    account = claiming.claim(step_of(run, "crm.account").pk)
    assert account
    record(account, engine.perform(account), inline=False)
    claimed = claiming.claim(step_of(run, "crm.contact").pk)
    assert claimed
    return claimed


# --- Rolling back what was changed -------------------------------------------------------------------------------------


def test_rollback_removes_former_contacts_and_users(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept(users=SAM)
    drain()
    applied(tell(customer__primary_contact=KIM, users=[]))
    drain()
    assert emails(sandbox, "hubspot", "contacts") == {"jordan@acme-logistics.com", "kim@acme-logistics.com"}
    assert len(emails(sandbox, "zendesk", "users")) == 3
    verdicts = [
        each.verdict for each in services.rollback_preview(run.pk) if each.step in ("crm.contact", "support.users")
    ]
    assert verdicts == ["take-back"] * 5
    roll_back(run, drain)
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert left(sandbox) == {}
    assert not Ticket.objects.filter(resolved_at=None).exists()


@pytest.mark.parametrize("moment", range(1, 12))
def test_a_crash_at_any_compensation_of_a_changed_run_changes_nothing(
    accept: Accept,
    tell: Tell,
    drain: Drain,
    sandbox: SandboxControl,
    monkeypatch: pytest.MonkeyPatch,
    moment: int,
) -> None:
    run = accept()
    drain()
    applied(tell(customer__primary_contact=KIM))
    drain()
    lose_a_worker(run, moment, monkeypatch)
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert left(sandbox) == {}


def test_a_former_contact_that_another_run_uses_stays(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    first = accept()
    drain()
    second = accept(onboarding_transaction_id="pay_2")
    drain()
    applied(tell(customer__primary_contact=KIM))
    drain()
    roll_back(first, drain)
    assert emails(sandbox, "hubspot", "contacts") == {"jordan@acme-logistics.com"}
    kept = {mapping.external_id for mapping in second.mappings.all() if mapping.kind != "message"}
    assert {item["id"] for item in sandbox.objects() if item["kind"] != "messages"} == kept


def test_contact_replaced_in_every_run_is_unowned(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    """The second run only found it, and speaks of somebody else now: the first removes what it made."""
    first = accept()
    drain()
    second = accept(onboarding_transaction_id="pay_2")
    drain()
    fields = {f"customer.primary_contact.{name}": value for name, value in KIM.items()}
    services.apply_change(services.request_change(second.pk, fields, actor="kim").pk, actor="lee")
    drain()
    roll_back(first, drain)
    assert emails(sandbox, "hubspot", "contacts") == {"kim@acme-logistics.com"}


def test_object_linked_by_another_runs_change_is_not_removed(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    other = accept(onboarding_transaction_id="pay_2", customer__primary_contact=KIM)
    accept()
    drain()
    applied(tell(customer__primary_contact=KIM))
    drain()
    roll_back(other, drain)
    assert emails(sandbox, "hubspot", "contacts") == {"jordan@acme-logistics.com", "kim@acme-logistics.com"}


def test_matched_deal_that_replaced_a_created_one_gets_the_final_status(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    (deal,) = sandbox.seed("hubspot", "deals", [{"dealname": "Acme renewal"}])
    applied(tell(commercial__deal_id=deal))
    drain()
    roll_back(complete, drain)
    (kept,) = sandbox.objects("hubspot", "deals")
    assert (kept["id"], kept["body"]["firstvalue_onboarding_status"]) == (deal, "rolled-back")


def test_rollback_during_a_change_removes_both_objects(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    applied(tell(customer__primary_contact=KIM))
    claimed = claiming.claim(step_of(complete, "crm.contact").pk)
    assert claimed
    services.rollback(complete.pk, **BY)
    engine.perform(claimed)  # it was in the middle of the call
    assert emails(sandbox, "hubspot", "contacts") == {"jordan@acme-logistics.com", "kim@acme-logistics.com"}
    clock.shift(timedelta(minutes=2))
    drain()
    assert status_of(complete) == Status.ROLLED_BACK, shown(complete)
    assert left(sandbox) == {}


def test_rollback_searches_for_the_contact_that_was_sent(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    """Today's contact may be somebody whom others have entered."""
    (kim,) = sandbox.seed("hubspot", "contacts", [{"email": KIM["email"], "firstname": "Kim"}])
    run = accept()
    claimed = with_contact_in_hand(run)
    applied(tell(customer__primary_contact=KIM))
    services.rollback(run.pk, **BY)
    engine.perform(claimed)
    clock.shift(timedelta(minutes=2))
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert [each["id"] for each in sandbox.objects("hubspot", "contacts")] == [kim]


def test_matched_object_stays_after_another_look_up(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    (found,) = sandbox.seed("hubspot", "contacts", [{"email": "jordan@acme-logistics.com", "firstname": "Jordan"}])
    run = accept()
    drain()
    applied(tell(customer__primary_contact={"name": "Jordan Kim", "email": "jordan@acme-logistics.com"}))
    assert claiming.claim(step_of(run, "crm.contact").pk)
    services.rollback(run.pk, **BY)
    clock.shift(timedelta(minutes=2))
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert [each["id"] for each in sandbox.objects("hubspot", "contacts")] == [found]


NOT_CHANGEABLE: dict[str, Callable[[OnboardingTransaction, Drain], None]] = {
    "rolling back": lambda run, _drain: services.rollback(run.pk, **BY),
    "rolled back": roll_back,
    "cancelled": lambda run, _drain: services.cancel(run.pk, **BY),
}


@pytest.mark.parametrize("status", NOT_CHANGEABLE)
def test_finished_run_is_not_changed(
    status: str, accept: Accept, tell: Tell, drain: Drain, writes: Callable[[], list[str]]
) -> None:
    run = accept()
    drain()
    change = tell(customer__country="AT").change_request
    assert change
    NOT_CHANGEABLE[status](run, drain)
    writes()
    with pytest.raises(Refused, match=f"The run is {status}; its data is not changed any more"):
        services.apply_change(change.pk, actor="lee")
    with pytest.raises(Refused, match=status):
        services.request_change(run.pk, {"customer.country": "AT"}, actor="lee")
    assert services.change_preview(change.pk) == []
    assert writes() == []
    services.reject_change(change.pk, actor="lee", reason="Too late")
    assert run.change_requests.get(pk=change.pk).status == ChangeStatus.REJECTED


# --- While it is not known how a create ended --------------------------------------------------------------------------


def test_change_waits_for_an_indeterminate_outcome(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept()
    sandbox.configure("asana", search_lag="never")
    sandbox.add_fault("asana", "error_after", method="POST", path="*/instantiateProject", count=1)
    drain()
    assert ticket_of(run, "delivery.project").category == Category.UNKNOWN_OUTCOME
    receipt = tell(customer__legal_name="Acme Freight")
    assert receipt.change_request
    effects = {each.step: each for each in services.change_preview(receipt.change_request.pk)}
    assert effects["delivery.project"].verdict == "look-up"
    assert "An earlier create may have worked" in effects["delivery.project"].text
    applied(receipt)
    drain()
    assert ticket_of(run, "delivery.project").category == Category.UNKNOWN_OUTCOME
    assert created(sandbox)["projects"] == 1
    (project,) = sandbox.objects("asana", "projects")
    services.choose_match(step_of(run, "delivery.project").pk, external_id=project["id"], actor="kim")
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    assert created(sandbox)["projects"] == 1
    assert one(sandbox, "asana", "projects")["name"].startswith("Acme Freight onboarding")
    settled()


def test_a_welcome_that_may_have_gone_out_is_not_sent_to_the_new_contact(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    sandbox.add_fault("mail", "reset_after", count=1)
    drain()
    receipt = tell(customer__primary_contact=KIM)
    assert receipt.change_request
    effects = {each.step: each for each in services.change_preview(receipt.change_request.pk)}
    assert "may have been sent already" in effects["welcome.mail"].text
    applied(receipt)
    drain()
    assert ticket_of(run, "welcome.mail").category == Category.UNKNOWN_OUTCOME
    assert created(sandbox)["messages"] == 1


def test_what_is_found_after_a_lost_answer_gets_what_has_changed_since(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    """A contact is met by its address, and not as ours: its name is that of the create."""
    run = accept()
    claimed = with_contact_in_hand(run)
    engine.perform(claimed)  # and nobody records it
    applied(tell(customer__primary_contact={"name": "Jordan Kim Lee", "email": "jordan@acme-logistics.com"}))
    clock.shift(timedelta(minutes=5))
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    assert one(sandbox, "hubspot", "contacts")["lastname"] == "Kim Lee"
    assert not run.intents.exclude(state=IntentState.DONE).exists()
    settled()


def test_person_resolves_the_indeterminate_create_of_the_former_contact(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    """Their choice is about the contact that the create was for, not about today's."""
    run = accept()
    claimed = with_contact_in_hand(run)
    engine.perform(claimed)  # and nobody records it
    RejectedMatch.objects.create(
        connection=claimed.connection, kind="contact", match_key=claimed.match_key, external_id="1", rejected_by="kim",
        reason="Somebody else", rejected_at=clock.now(),
    )  # fmt: skip
    applied(tell(customer__primary_contact=KIM))
    clock.shift(timedelta(minutes=5))
    drain()
    assert ticket_of(run, "crm.contact").category == Category.AMBIGUOUS_MATCH
    (jordan,) = sandbox.objects("hubspot", "contacts")
    services.choose_match(step_of(run, "crm.contact").pk, external_id=jordan["id"], actor="kim")
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    kim = run.mappings.get(step__key="crm.contact", item="").external_id
    assert {each["id"]: each["body"]["email"] for each in sandbox.objects("hubspot", "contacts")}[kim] == KIM["email"]
    assert run.mappings.get(step__key="crm.contact", item__startswith="former:").external_id == jordan["id"]


# --- Keys that change --------------------------------------------------------------------------------------------------


def test_a_run_under_the_new_domain_links_the_same_account_before_the_search_knows_it(
    complete: OnboardingTransaction, tell: Tell, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.configure("hubspot", search_lag="never")
    applied(tell(customer__domain="acme-freight.com"))
    drain()
    account = ObjectMapping.objects.get(step__key="crm.account", transaction=complete).external_id
    assert Reservation.objects.get(kind="company", match_key="domain:acme-freight.com").external_id == account
    second = accept(onboarding_transaction_id="pay_2", customer__domain="acme-freight.com")
    drain()
    assert ObjectMapping.objects.get(step__key="crm.account", transaction=second).external_id == account
    assert created(sandbox)["companies"] == 1


def test_alternative_name_is_not_a_change(complete: OnboardingTransaction, drain: Drain, zendesk: Connection) -> None:
    MatchChoice.objects.create(
        connection=zendesk, kind="organization", match_key="domain:acme-logistics.com", external_id="", chosen_by="kim",
        chosen_at=clock.now(),
    )  # fmt: skip
    services.replay(complete.pk, "support.organization", actor="kim")
    drain()
    assert not complete.audit.filter(name="onboarding.object.updated").exists()
