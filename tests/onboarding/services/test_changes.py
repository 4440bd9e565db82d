"""Changed data: what a person applies reaches every object that was made from it, once, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from exceptions_queue.models import SlaClock, Ticket
from integrations.connections import services as connecting
from integrations.connectors.objects import SupportOrganization
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine import execution as engine
from onboarding.engine.recording import record
from onboarding.enums import Category, Status, StepState
from onboarding.intake import service
from onboarding.intake.service import Verdict
from onboarding.models import AuditEntry, ChangeRequest, ObjectMapping, OnboardingTransaction
from onboarding.payload.schema import OnboardingPayload
from onboarding.services import Refused
from tests.conftest import Drain, Payload
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_flow import created
from tests.onboarding.playbooks.test_standard import MADE, kickoff_is_scheduled

pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")

Tell = Callable[..., service.Receipt]
KIM = {"name": "Kim Sato", "email": "kim@acme-logistics.com"}
READS = frozenset({"GET", "HEAD"})


@pytest.fixture
def tell(payload: Payload) -> Tell:
    """``tell(**overrides)``: the source tells this content under the same id."""

    def say(**overrides: Any) -> service.Receipt:
        content = OnboardingPayload.model_validate(payload(**overrides)).content()
        return service.accept(content, actor="tests")

    return say


@pytest.fixture
def complete(accept: Accept, drain: Drain) -> OnboardingTransaction:
    run = accept()
    drain()
    kickoff_is_scheduled(run)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    return run


@pytest.fixture
def writes(sandbox: SandboxControl) -> Callable[[], list[str]]:
    """What was written at vendors since the last call, such as ``hubspot PATCH deals``; searches and reads do not count."""
    seen = 0

    def since() -> list[str]:
        nonlocal seen
        rows = sandbox.requests(since=seen)
        seen = max([seen, *(row["seq"] for row in rows)])
        return [
            f"{row['vendor']} {row['method']} {row['path']}"
            for row in rows
            if row["method"] not in READS and not row["path"].endswith(("/search", "/batch/read"))
        ]

    since()
    return since


def applied(receipt: service.Receipt) -> ChangeRequest:
    assert receipt.change_request is not None
    services.apply_change(receipt.change_request.pk, actor="lee")
    return receipt.change_request


def one(sandbox: SandboxControl, vendor: str, kind: str) -> dict[str, Any]:
    (only,) = sandbox.objects(vendor, kind)
    return dict(only["body"])


def steps_of(written: list[str]) -> set[tuple[str, str]]:
    """(vendor, kind of object) of what was written; an association is of the object that is tied to another."""
    kinds = ("contacts", "deals", "companies", "notes", "projects", "tasks", "organizations", "users", "mail")
    return {(line.split()[0], min((kind for kind in kinds if kind in line), key=line.index)) for line in written}


# --- The one promise ---------------------------------------------------------------------------------------------------


def test_new_contact_and_plan_update_only_dependent_objects(
    complete: OnboardingTransaction,
    tell: Tell,
    drain: Drain,
    sandbox: SandboxControl,
    settled: Settled,
    writes: Callable[[], list[str]],
) -> None:
    writes()
    about_the_run = SlaClock.objects.filter(change_request=None).order_by("pk")
    clocks = list(about_the_run.values("milestone", "state", "due_at"))
    receipt = tell(customer__primary_contact=KIM, commercial__plan_sku="enterprise")
    assert receipt.verdict is Verdict.CHANGE_REQUESTED
    drain()
    assert writes() == []

    applied(receipt)
    drain()
    assert status_of(complete) == Status.COMPLETE, shown(complete)
    assert steps_of(writes()) == {
        ("hubspot", "contacts"), ("hubspot", "deals"), ("hubspot", "notes"), ("asana", "projects"), ("zendesk", "users"),
    }  # fmt: skip
    assert one(sandbox, "hubspot", "deals")["dealname"] == "Acme Logistics: enterprise"
    assert "enterprise" in one(sandbox, "hubspot", "notes")["hs_note_body"]
    assert "Kim Sato" in one(sandbox, "asana", "projects")["notes"]
    emails = {contact["body"]["email"] for contact in sandbox.objects("hubspot", "contacts")}
    assert emails == {"jordan@acme-logistics.com", "kim@acme-logistics.com"}
    assert created(sandbox) == MADE | {"contacts": 2, "users": 2}
    assert created(sandbox)["messages"] == 1
    assert list(about_the_run.values("milestone", "state", "due_at")) == clocks
    settled()

    again = tell()
    assert again.verdict is Verdict.REPLAYED
    drain()
    assert writes() == []
    assert OnboardingTransaction.objects.get().plan_sku == "enterprise"
    assert ChangeRequest.objects.count() == 1


def test_only_the_fields_that_differ_are_written(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, sandbox: SandboxControl, writes: Callable[[], list[str]]
) -> None:
    writes()
    before = sandbox.requests("hubspot")[-1]["seq"]
    applied(tell(customer__country="AT"))
    drain()
    (sent,) = [row for row in sandbox.requests("hubspot", before) if row["path"].startswith("/crm/v3/objects/companies/")
               and row["method"] == "PATCH"]  # fmt: skip
    assert '"country": "AT"' in sent["body"]
    assert "name" not in sent["body"]
    # What follows the run is told of it, and nobody else.
    assert steps_of(writes()) == {("hubspot", "companies"), ("hubspot", "deals")}
    assert AuditEntry.objects.get(name="onboarding.object.updated").data["fields"] == ["country"]


def test_an_object_of_which_nothing_was_noted_is_updated_too(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    """Those of runs from before states were kept."""
    ObjectMapping.objects.update(state=None, identity="")
    applied(tell(customer__country="AT", customer__primary_contact=KIM))
    drain()
    assert one(sandbox, "hubspot", "companies")["country"] == "AT"
    assert created(sandbox) == MADE | {"contacts": 2, "users": 2}
    settled()


def test_a_renamed_contact_stays_the_same_one(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    applied(tell(customer__primary_contact={"name": "Jordan Kim Lee", "email": "jordan@acme-logistics.com"}))
    drain()
    assert created(sandbox) == MADE | {"users": 1}
    assert one(sandbox, "hubspot", "contacts")["lastname"] == "Kim Lee"
    assert one(sandbox, "zendesk", "users")["name"] == "Jordan Kim Lee"
    settled()


def test_a_new_name_and_date_reach_project_tasks_and_organization(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    applied(tell(customer__legal_name="Acme Freight", kickoff__start_date="2026-12-08"))
    drain()
    assert status_of(complete) == Status.COMPLETE, shown(complete)
    assert one(sandbox, "hubspot", "companies")["name"] == "Acme Freight"
    assert one(sandbox, "zendesk", "organizations")["name"] == "Acme Freight"
    assert one(sandbox, "asana", "projects")["name"] == "Acme Freight onboarding [pay_12345]"
    due = {task["body"]["name"]: task["body"].get("due_on") for task in sandbox.objects("asana", "tasks")}
    assert due["Configure the workspace"] == "2026-12-11"
    assert due["Schedule the kickoff with Acme Freight"] == "2026-12-08"
    assert created(sandbox) == MADE | {"users": 1}
    settled()


def test_new_domain_replaces_the_former_one_on_the_organization(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, sandbox: SandboxControl, zendesk: Connection
) -> None:
    from tests.integrations.vendors.zendesk.test_connector import support

    organization = ObjectMapping.objects.get(kind="organization").external_id
    support(zendesk).update(organization, SupportOrganization(domains=["acme-logistics.com", "acme.example"]))
    applied(tell(customer__domain="acme-freight.com"))
    drain()
    assert one(sandbox, "zendesk", "organizations")["domain_names"] == ["acme.example", "acme-freight.com"]
    assert one(sandbox, "hubspot", "companies")["domain"] == "acme-freight.com"


def test_what_was_found_is_not_overwritten_whole(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    company = {"name": "ACME (key account)", "domain": "acme-logistics.com", "country": "Germany"}
    sandbox.seed("hubspot", "companies", [company])
    (deal,) = sandbox.seed("hubspot", "deals", [{"dealname": "Acme renewal", "amount": "12000"}])
    accept(commercial__deal_id=deal)
    drain()
    applied(tell(commercial__deal_id=deal, commercial__amount=15000, ownership__crm_owner_id="u_1"))
    drain()
    account = one(sandbox, "hubspot", "companies")
    assert (account["name"], account["country"], account["hubspot_owner_id"]) == (
        "ACME (key account)", "Germany", "u_1",
    )  # fmt: skip
    won = one(sandbox, "hubspot", "deals")
    assert (won["dealname"], won["amount"]) == ("Acme renewal", "15000")


def test_back_to_the_first_contact_is_the_first_contact(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    first = ObjectMapping.objects.get(step__key="crm.contact")
    applied(tell(customer__primary_contact=KIM))
    drain()
    former = ObjectMapping.objects.get(pk=first.pk)
    assert (former.item, former.created_by_us) == (f"former:{first.pk}", True)
    change = services.request_change(
        complete.pk,
        {"customer.primary_contact.name": "Jordan Lee", "customer.primary_contact.email": "jordan@acme-logistics.com"},
        actor="kim",
    )
    services.apply_change(change.pk, actor="lee")
    drain()
    now = ObjectMapping.objects.get(step__key="crm.contact", item="")
    assert (now.external_id, now.created_by_us) == (first.external_id, True)
    assert ObjectMapping.objects.filter(step__key="crm.contact").count() == 2
    assert created(sandbox)["contacts"] == 2
    settled()


def test_another_deal_is_linked_and_its_status_updated(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    (deal,) = sandbox.seed("hubspot", "deals", [{"dealname": "Acme renewal"}])
    receipt = tell(commercial__deal_id=deal)
    assert receipt.change_request
    effects = {each.step: each.verdict for each in services.change_preview(receipt.change_request.pk)}
    assert effects == {
        "crm.deal": "another", "crm.deal-status": "send-again", "crm.note": "look-up",
    }  # fmt: skip
    applied(receipt)
    drain()
    linked = ObjectMapping.objects.get(step__key="crm.deal", item="")
    assert (linked.external_id, linked.created_by_us) == (deal, False)
    won = next(each["body"] for each in sandbox.objects("hubspot", "deals") if each["id"] == deal)
    assert (won["dealname"], won["firstvalue_onboarding_status"]) == ("Acme renewal", "complete")


# --- When it comes at a bad moment -------------------------------------------------------------------------------------


FAULTS: dict[str, dict[str, Any]] = {
    "error_before": {}, "error_after": {}, "reset_after": {}, "rate_limit": {}, "unauthorized": {}, "malformed": {},
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_during_an_update_creates_no_duplicates(
    fault: str,
    complete: OnboardingTransaction,
    tell: Tell,
    drain: Drain,
    sandbox: SandboxControl,
    settled: Settled,
) -> None:
    for vendor, method, path in (
        ("hubspot", "PATCH", "*/objects/companies/*"), ("hubspot", "POST", "*/objects/contacts"), ("asana", "PUT", "*/projects/*"),
    ):  # fmt: skip
        sandbox.add_fault(vendor, fault, method=method, path=path, count=1)
    applied(tell(customer__legal_name="Acme Freight", customer__primary_contact=KIM))
    drain()
    settled()
    for _ in range(3):
        for connection in Connection.objects.filter(breaker="open"):
            assert connecting.close_after_probe(connection.pk, actor="kim").ok
        drain()
    assert status_of(complete) == Status.COMPLETE, shown(complete)
    assert created(sandbox) == MADE | {"contacts": 2, "users": 2}
    assert one(sandbox, "hubspot", "companies")["name"] == "Acme Freight"
    assert one(sandbox, "asana", "projects")["name"].startswith("Acme Freight")
    assert not Ticket.objects.filter(resolved_at=None).exists()
    settled()


def test_an_update_that_a_vendor_refuses_is_a_ticket_of_its_step(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault("hubspot", "error_before", method="PATCH", path="*/objects/companies/*", status=400, count=1)
    applied(tell(customer__country="AT"))
    drain()
    assert ticket_of(complete, "crm.account").category == Category.VALIDATION_ERROR
    services.retry_step(step_of(complete, "crm.account").pk, actor="kim")
    drain()
    assert status_of(complete) == Status.COMPLETE
    assert one(sandbox, "hubspot", "companies")["country"] == "AT"


def test_an_archived_object_is_made_anew_from_the_new_data_once_a_person_says_so(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, sandbox: SandboxControl, hubspot: Connection
) -> None:
    from tests.integrations.vendors.hubspot.test_connector import crm

    contact = ObjectMapping.objects.get(step__key="crm.contact").external_id
    crm(hubspot).http.request("DELETE", f"/crm/v3/objects/contacts/{contact}", ok=(204,))
    applied(tell(customer__primary_contact={"name": "Jordan Kim", "email": "jordan@acme-logistics.com"}))
    drain()
    assert "has archived the contact" in ticket_of(complete, "crm.contact").message
    services.choose_match(step_of(complete, "crm.contact").pk, external_id="", actor="kim")
    drain()
    assert one(sandbox, "hubspot", "contacts")["lastname"] == "Kim"


def test_change_during_a_running_step_is_not_lost(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept()
    claimed = engine.claim(step_of(run, "crm.account").pk)
    assert claimed
    outcome = engine.perform(claimed)
    applied(tell(customer__legal_name="Acme Freight"))
    record(claimed, outcome, inline=False)
    drain()
    assert one(sandbox, "hubspot", "companies")["name"] == "Acme Freight"
    assert status_of(run) == Status.READY_FOR_KICKOFF
    settled()


@pytest.mark.parametrize(
    ("key", "change"),
    [("crm.account", {"customer__country": "AT"}), ("crm.contact", {"customer__primary_contact": KIM})],
)
def test_worker_lost_after_a_write_causes_no_duplicates(
    key: str,
    change: dict[str, Any],
    complete: OnboardingTransaction,
    tell: Tell,
    drain: Drain,
    sandbox: SandboxControl,
    settled: Settled,
) -> None:
    applied(tell(**change))
    claimed = engine.claim(step_of(complete, key).pk)
    assert claimed
    engine.perform(claimed)  # and nobody records it
    drain()
    assert status_of(complete) == Status.COMPLETE, shown(complete)
    assert created(sandbox) == MADE | ({"contacts": 2, "users": 2} if key == "crm.contact" else {"users": 1})
    settled()


def test_change_during_an_indeterminate_create_is_applied_to_its_object(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    """The contact of the first data may be there: it is settled with its own parameters, then the other one is found
    or created.
    """
    run = accept()
    sandbox.add_fault("hubspot", "reset_after", method="POST", path="*/objects/contacts", count=1)
    engine.run_step(step_of(run, "crm.account").pk)
    if step_of(run, "crm.contact").state == StepState.PENDING:
        engine.run_step(step_of(run, "crm.contact").pk)
    assert step_of(run, "crm.contact").intents.get().indeterminate_since is not None
    applied(tell(customer__primary_contact=KIM))
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    contacts = {each["body"]["email"]: each["id"] for each in sandbox.objects("hubspot", "contacts")}
    mapped = ObjectMapping.objects.get(step__key="crm.contact", item="")
    assert mapped.external_id == contacts["kim@acme-logistics.com"]
    settled()


def test_change_before_the_first_step_becomes_the_data(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    receipt = tell(customer__legal_name="Acme Freight")
    assert receipt.change_request
    assert {each.verdict for each in services.change_preview(receipt.change_request.pk)} == {"later"}
    applied(receipt)
    drain()
    assert one(sandbox, "hubspot", "companies")["name"] == "Acme Freight"
    assert step_of(run, "crm.account").attempt_rows.count() == 1


def test_a_run_that_waits_for_data_begins_with_the_change(accept: Accept, tell: Tell, drain: Drain) -> None:
    run = accept(ownership__crm_owner_id="", customer__segment="")
    drain()
    assert status_of(run) == Status.AWAITING_DATA
    receipt = tell(customer__country="AT")
    assert receipt.change_request
    assert services.change_preview(receipt.change_request.pk) == []
    applied(receipt)
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF
    assert not Ticket.objects.filter(resolved_at=None).exists()


def test_the_data_that_a_vendor_refused_is_tried_again(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    sandbox.add_fault("zendesk", "error_before", method="POST", path="*/users/create_or_update", status=422, count=1)
    drain()
    assert ticket_of(run, "support.users").category == Category.VALIDATION_ERROR
    applied(tell(customer__primary_contact=KIM))
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF
    assert one(sandbox, "zendesk", "users")["email"] == "kim@acme-logistics.com"


def test_the_kickoff_task_that_waits_is_brought_up_to_date_at_once(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    drain()
    applied(tell(kickoff__start_date="2026-12-08"))
    drain()
    due = {task["body"]["name"]: task["body"].get("due_on") for task in sandbox.objects("asana", "tasks")}
    assert due["Schedule the kickoff with Acme Logistics"] == "2026-12-08"
    assert status_of(run) == Status.READY_FOR_KICKOFF


def test_change_on_hold_is_applied_after_the_hold(
    accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    drain()
    services.hold(run.pk, actor="lee", reason="The customer asked for it.")
    applied(tell(customer__country="AT"))
    drain()
    assert one(sandbox, "hubspot", "companies")["country"] == "DE"
    services.resume(run.pk, actor="lee")
    drain()
    assert one(sandbox, "hubspot", "companies")["country"] == "AT"
    assert status_of(run) == Status.READY_FOR_KICKOFF


def test_cancelled_run_cannot_be_changed(accept: Accept, tell: Tell, drain: Drain) -> None:
    run = accept()
    receipt = tell(customer__country="AT")
    assert receipt.change_request
    services.cancel(run.pk, actor="lee", reason="Paid back.")
    with pytest.raises(Refused, match="cancelled"):
        services.apply_change(receipt.change_request.pk, actor="lee")
    services.reject_change(receipt.change_request.pk, actor="lee", reason="Paid back.")
    with pytest.raises(Refused, match="rejected already"):
        services.apply_change(receipt.change_request.pk, actor="lee")
