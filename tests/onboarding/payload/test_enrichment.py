"""What is missing is looked up where it is known before a person is asked."""

from datetime import timedelta
from typing import Any

import pytest

from exceptions_queue import scheduling
from exceptions_queue.models import CrmOwner, Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations import clock
from integrations.connections import services as connection_service
from integrations.enums import Breaker
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine import execution as engine
from onboarding.engine.runs.gate_evaluation import LOOKUP
from onboarding.enums import Category, OriginKind, Scope, Status, StepState
from onboarding.intake import service
from onboarding.models import OnboardingTransaction
from onboarding.origins import Origin, Sender
from onboarding.payload.schema import get
from onboarding.playbooks import playbook
from onboarding.services import Refused
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of

KIM = Actor("kim", Scope.OPERATE)
BY_KIM = Origin(OriginKind.PERSON, "kim")
NO_OWNER: dict[str, Any] = {"ownership": {}}
COMPANY = {"name": "Acme", "domain": "acme-logistics.com", "hubspot_owner_id": "7001"}


@pytest.fixture(autouse=True)
def owners(sandbox: SandboxControl) -> None:
    """The CRM's, beside those that it has of itself."""
    sandbox.seed("hubspot", "owners", [{"id": f"700{number}"} for number in range(1, 10)])


def fresh(run: OnboardingTransaction) -> OnboardingTransaction:
    return OnboardingTransaction.objects.get(pk=run.pk)


def looked_up(label: str) -> Origin:
    return Origin(OriginKind.LOOKUP, "crm", label)


def sent(label: str) -> Origin:
    return Origin(OriginKind.IMPORT, "tests", label)


def found(run: OnboardingTransaction, path: str) -> tuple[Any, Origin | None]:
    snapshot = fresh(run).snapshot
    return get(snapshot.content, path), Origin.stored(snapshot.provenance.get(path))


@pytest.mark.usefixtures("connections")
def test_a_deactivated_owner_is_asked_for_and_named(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.seed("hubspot", "owners", [{"id": "8001", "archived": True}])
    sandbox.seed("hubspot", "companies", [COMPANY | {"hubspot_owner_id": "8001"}])
    run = accept(**NO_OWNER)
    drain()
    assert fresh(run).status == Status.AWAITING_DATA
    assert [problem["path"] for problem in ticket_of(run).problems] == ["ownership.crm_owner_id"]
    assert "belongs to 8001, who is deactivated there" in ticket_of(run).message


@pytest.mark.usefixtures("connections")
def test_owner_refused_by_the_crm_is_a_field_to_fix(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept(ownership__crm_owner_id="9999")
    drain()
    ticket = ticket_of(run, "crm.account")
    assert (ticket.category, ticket.problems[0]["path"]) == (Category.VALIDATION_ERROR, "ownership.crm_owner_id")
    actions.perform(ticket.pk, "fix", KIM, fields={"ownership.crm_owner_id": "7001"})
    drain()
    assert step_of(run, "crm.account").state == StepState.SUCCEEDED


@pytest.mark.usefixtures("connections")
def test_the_owner_is_read_from_the_crm_by_domain(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.seed("hubspot", "companies", [COMPANY])
    run = accept(**NO_OWNER)
    drain()
    assert found(run, "ownership.crm_owner_id") == ("7001", looked_up("hubspot:company on acme-logistics.com"))
    assert status_of(run) == Status.COMPLETE
    assert not Ticket.objects.exists()
    settled()


@pytest.mark.usefixtures("connections")
def test_the_deals_owner_goes_before_the_companys(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.seed("hubspot", "companies", [COMPANY])
    (deal,) = sandbox.seed("hubspot", "deals", [{"dealname": "Acme", "hubspot_owner_id": "7002"}])
    run = accept(**NO_OWNER, commercial__deal_id=deal)
    drain()
    assert found(run, "ownership.crm_owner_id") == ("7002", looked_up(f"hubspot:deal {deal}"))


@pytest.mark.usefixtures("connections")
def test_two_owners_on_one_domain_are_ambiguous(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.seed("hubspot", "companies", [COMPANY, COMPANY | {"hubspot_owner_id": "7002"}])
    run = accept(**NO_OWNER)
    drain()
    assert status_of(run) == Status.AWAITING_DATA
    assert [problem["path"] for problem in ticket_of(run).problems] == ["ownership.crm_owner_id"]
    settled()


@pytest.mark.usefixtures("connections")
def test_person_is_asked_for_what_the_crm_does_not_know(accept: Accept, drain: Drain, settled: Settled) -> None:
    run = accept(**NO_OWNER)
    drain()
    ticket = ticket_of(run)
    assert ticket.category == Category.MISSING_DATA
    assert "The CRM was asked and does not know it." in ticket.message
    settled()
    actions.perform(ticket.pk, "fix", KIM, fields={"ownership.crm_owner_id": "7003"})
    drain()
    assert status_of(run) == Status.COMPLETE
    assert found(run, "ownership.crm_owner_id") == ("7003", BY_KIM)


@pytest.mark.usefixtures("connections")
def test_person_is_asked_while_the_crm_is_down(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("hubspot", "error_before")
    run = accept(**NO_OWNER)
    drain()
    ticket = ticket_of(run)
    assert (ticket.category, ticket.queue) == (Category.MISSING_DATA, "sales-ops")
    assert "The CRM could not be asked" in ticket.message
    settled()


@pytest.mark.usefixtures("connections")
def test_refused_credentials_at_the_look_up_park_it_behind_the_connection(
    accept: Accept, drain: Drain, sandbox: SandboxControl, hubspot: Connection, settled: Settled
) -> None:
    sandbox.seed("hubspot", "companies", [COMPANY])
    sandbox.set_tokens("hubspot", ["another"])
    run = accept(**NO_OWNER)
    drain()
    assert status_of(run) == Status.QUEUED
    assert Ticket.objects.get().connection == hubspot
    settled()
    sandbox.set_tokens("hubspot", ["sandbox-hubspot-token"])
    assert connection_service.close_after_probe(hubspot.pk, actor="kim").ok
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)


def test_with_no_crm_a_person_is_asked_at_once(transactional_db: None, accept: Accept) -> None:
    run = accept(**NO_OWNER)
    assert status_of(run) == Status.AWAITING_DATA
    assert not run.steps.exists()


def test_without_deal_or_domain_there_is_nothing_to_look_up_by(hubspot: Connection, accept: Accept) -> None:
    contact = {"name": "Jordan Lee", "email": "jordan@gmail.com"}
    run = accept(**NO_OWNER, customer__domain=None, customer__primary_contact=contact)
    assert status_of(run) == Status.AWAITING_DATA
    asked = {problem["path"] for problem in ticket_of(run).problems}
    assert asked == {"customer.domain", "ownership.crm_owner_id"}


@pytest.mark.usefixtures("connections")
def test_a_missing_kickoff_gets_the_default_urgency(accept: Accept) -> None:
    run = accept(kickoff={})
    assert found(run, "kickoff.urgency") == ("normal", Origin(OriginKind.DEFAULT))
    assert status_of(run) == Status.PROVISIONING


@pytest.mark.usefixtures("connections")
def test_the_domain_is_derived_from_the_contacts_address(accept: Accept) -> None:
    contact = {"name": "Jordan Lee", "email": "jordan@mail.acme-logistics.com"}
    run = accept(customer__domain=None, customer__primary_contact=contact)
    assert found(run, "customer.domain") == (
        "acme-logistics.com",
        Origin(OriginKind.DERIVED, "customer.primary_contact.email"),
    )
    assert found(run, "customer.legal_name") == ("Acme Logistics", sent("billing"))
    assert fresh(run).domain == "acme-logistics.com"


@pytest.mark.usefixtures("connections")
def test_an_implausible_value_is_asked_about_not_overwritten(accept: Accept, settled: Settled) -> None:
    run = accept(customer__domain="gmail.com")
    (problem,) = ticket_of(run).problems
    assert problem["path"] == "customer.domain"
    assert "mail provider" in problem["reason"]
    assert found(run, "customer.domain") == ("gmail.com", sent("billing"))
    settled()


@pytest.mark.usefixtures("connections")
def test_looked_up_fact_never_overwrites_newer_data(accept: Accept, sandbox: SandboxControl, drain: Drain) -> None:
    sandbox.seed("hubspot", "companies", [COMPANY])
    run = accept(**NO_OWNER, customer__legal_name="TBD")
    drain()
    assert found(run, "ownership.crm_owner_id")[0] == "7001"
    services.fix(run.pk, {"ownership.crm_owner_id": "7009", "customer.legal_name": "Acme"}, actor="kim")
    drain()
    assert found(run, "ownership.crm_owner_id") == ("7009", BY_KIM)


# --- While the look-up is under way ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("connections")
@pytest.mark.parametrize("state", [StepState.PENDING, StepState.RUNNING])
def test_what_arrives_during_the_look_up_starts_the_run(
    state: str, accept: Accept, drain: Drain, payload: Any, settled: Settled
) -> None:
    run = accept(**NO_OWNER)
    lookup = step_of(run, LOOKUP)
    held = engine.claim(lookup.pk) if state == StepState.RUNNING else None
    assert step_of(run, LOOKUP).state == state
    news = {"onboarding_transaction_id": "x", "event_source": "crm", "ownership": {"crm_owner_id": "7005"}}
    service.join(run.pk, news, sender=Sender(OriginKind.IMPORT, "tests"), actor="crm", keys=[])
    assert status_of(run) == Status.PROVISIONING
    assert step_of(run, LOOKUP).state == StepState.SKIPPED
    if held:
        engine.record(held, engine.perform(held), inline=True)
    drain()
    assert found(run, "ownership.crm_owner_id") == ("7005", sent("crm"))
    assert status_of(run) == Status.COMPLETE
    settled()


@pytest.mark.usefixtures("connections")
def test_skipped_look_up_closes_its_ticket(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("hubspot", "rate_limit", retry_after=1200)
    run = accept(**NO_OWNER)
    scheduling.one_pass(publish=False)
    clock.shift(timedelta(minutes=16))
    scheduling.one_pass(publish=False)
    assert ticket_of(run, LOOKUP).is_open
    services.fix(run.pk, {"ownership.crm_owner_id": "7005"}, actor="kim")
    assert not Ticket.objects.filter(resolved_at=None).exists()
    sandbox.clear_faults()
    drain()
    assert status_of(run) == Status.COMPLETE
    settled()


@pytest.mark.usefixtures("connections")
def test_fixed_domain_enables_the_look_up_and_shortens_the_ticket(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.seed("hubspot", "companies", [COMPANY])
    run = accept(**NO_OWNER, customer__domain=None, customer__primary_contact=None, commercial__term=None)
    assert not run.steps.exists()
    given = {
        "customer.domain": "acme-logistics.com",
        "customer.primary_contact.name": "Jordan Lee",
        "customer.primary_contact.email": "jordan@acme-logistics.com",
    }
    actions.perform(ticket_of(run).pk, "fix", KIM, fields=given)
    assert status_of(run) == Status.AWAITING_DATA
    asked = {problem["path"] for problem in ticket_of(run).problems}
    assert asked == {"commercial.term", "ownership.crm_owner_id"}
    drain()
    assert step_of(run, LOOKUP).state == StepState.SUCCEEDED
    assert found(run, "ownership.crm_owner_id")[0] == "7001"
    assert [problem["path"] for problem in ticket_of(run).problems] == ["commercial.term"]
    settled()
    services.fix(run.pk, {"commercial.term": "annual"}, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)


# --- Mending --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("connections")
def test_partial_fix_shortens_the_list(accept: Accept, settled: Settled) -> None:
    run = accept(customer__legal_name="TBD", commercial__term=None)
    left = services.fix(run.pk, {"commercial.term": "annual"}, actor="kim")
    assert [problem.path for problem in left] == ["customer.legal_name"]
    assert [problem["path"] for problem in ticket_of(run).problems] == ["customer.legal_name"]
    settled()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "at least one field"),
        ({"customer.shoe_size": "44"}, "no field"),
        ({"customer.legal_name": "TBD"}, "placeholder"),
        ({"customer.legal_name": 7}, "must be a text"),
        ({"customer.legal_name": "a\x00b"}, "must be a text"),
        ({"customer.no_domain": "yes"}, "true or false"),
        ({"commercial.amount": "12"}, "must be a number"),
        ({"customer.domain": "gmail.com"}, "mail provider"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_fix_that_would_count_as_missing_is_refused(
    connections: Any, accept: Accept, fields: dict[str, Any], words: str
) -> None:
    run = accept(customer__legal_name=None)
    with pytest.raises(Refused, match=words):
        services.fix(run.pk, fields, actor="kim")
    assert fresh(run).snapshot_version == 1


@pytest.mark.usefixtures("connections")
def test_a_run_that_no_playbook_serves_says_so_until_one_does(
    accept: Accept, drain: Drain, settled: Settled, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as nothing:
        nothing.setattr(playbook, "playbooks", dict)
        run = accept()
        for _ in range(3):
            clock.shift(timedelta(minutes=2))
            drain()
        ticket = ticket_of(run)
        assert ticket.category == Category.NOT_CONFIGURED
        assert "No playbook serves the plan “pro”" in ticket.message
        settled()
    clock.shift(timedelta(minutes=2))
    drain()
    assert status_of(run) == Status.COMPLETE
    assert not Ticket.objects.filter(resolved_at=None).exists()


def test_a_crm_owner_who_is_one_of_us_owns_what_sales_is_asked(connections: Any, accept: Accept, people: Any) -> None:
    CrmOwner.objects.create(crm_owner_id="u_789", user=people["sales"])
    assert ticket_of(accept(customer__legal_name=None)).owner == people["sales"]


def test_an_open_breaker_is_not_asked(
    hubspot: Connection, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    connection_service.record_auth_failure(hubspot.pk, credentials_version=1, status=401, reason="no")
    assert Connection.objects.get(pk=hubspot.pk).breaker == Breaker.OPEN
    accept(**NO_OWNER)
    drain()
    assert sandbox.requests("hubspot") == []
