"""Runs that go well, and branches that fail alone."""

from typing import Any

import pytest
from django.db import transaction

from exceptions_queue.models import ClockState, SlaClock, Ticket
from integrations.http.client import VendorHttp
from integrations.models import ApiCall
from integrations.sandbox.control import SandboxControl
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.enums import Status, StepState
from onboarding.models import ObjectMapping, OnboardingTransaction
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, customer, status_of, step_of, ticket_of

CREATED = {"companies": 1, "contacts": 1, "projects": 1, "organizations": 1}


def created(sandbox: SandboxControl) -> dict[str, int]:
    vendors = sandbox.counts()["vendors"].values()
    return {kind: count["created"] for kinds in vendors for kind, count in kinds.items() if count["created"]}


@pytest.mark.usefixtures("connections")
def test_a_clean_run_completes_with_one_object_a_step(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept()
    drain()
    assert status_of(run) == Status.COMPLETE
    assert created(sandbox) == CREATED
    made = {mapping.step.key: mapping for mapping in run.mappings.select_related("step")}
    assert set(made) == {"crm.account", "crm.contact", "delivery.project", "support.organization"}
    assert all(mapping.created_by_us and mapping.external_id for mapping in made.values())
    assert [step.attempt_rows.filter(outcome="ensured").count() for step in run.steps.all()] == [1, 1, 1, 1]
    assert not Ticket.objects.exists()
    settled()


@pytest.mark.usefixtures("connections")
def test_the_contact_belongs_to_the_account(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    accept()
    drain()
    sent = [request["path"] for request in sandbox.requests("hubspot") if request["method"] == "PUT"]
    account, contact = (ObjectMapping.objects.get(kind=kind).external_id for kind in ("company", "contact"))
    assert sent == [f"/crm/v4/objects/contacts/{contact}/associations/default/companies/{account}"]


@pytest.mark.usefixtures("connections")
def test_the_same_payload_again_changes_nothing(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept()
    drain()
    before = ApiCall.objects.count()
    assert accept().pk == run.pk
    drain()
    assert ApiCall.objects.count() == before
    assert created(sandbox) == CREATED


@pytest.mark.usefixtures("connections")
def test_a_second_purchase_of_the_customer_gets_a_project_and_shares_the_rest(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    accept()
    drain()
    second = accept(onboarding_transaction_id="pay_2")
    drain()
    assert status_of(second) == Status.COMPLETE
    assert created(sandbox) == CREATED | {"projects": 2}
    hows = dict(second.mappings.values_list("kind", "how"))
    assert hows == {
        "company": "reservation",
        "contact": "reservation",
        "project": "created",
        "organization": "reservation",
    }
    settled()


@pytest.mark.usefixtures("connections")
def test_objects_from_before_firstvalue_are_linked(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    (company,) = sandbox.seed("hubspot", "companies", [{"name": "ACME", "domain": "acme-logistics.com"}])
    (contact,) = sandbox.seed("hubspot", "contacts", [{"email": "jordan@acme-logistics.com"}])
    run = accept()
    drain()
    found = {mapping.kind: (mapping.external_id, mapping.created_by_us) for mapping in run.mappings.all()}
    assert found["company"] == (company, False)
    assert found["contact"] == (contact, False)
    assert created(sandbox) == {"projects": 1, "organizations": 1}
    settled()


@pytest.mark.usefixtures("connections")
def test_a_customer_without_a_domain_is_matched_by_name_and_billing_email(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    company, namesake = sandbox.seed("hubspot", "companies", [{"name": "Acme Logistics"}, {"name": "Acme Logistics"}])
    sandbox.seed("hubspot", "contacts", [{"email": "ap@acme.io", "associations": {"companies": [company]}}])
    run = accept(customer__no_domain=True, customer__domain=None, commercial__billing_email="ap@acme.io")
    drain()
    assert run.mappings.get(kind="company").external_id == company != namesake
    assert status_of(run) == Status.COMPLETE


@pytest.mark.usefixtures("connections")
def test_failed_branch_does_not_stop_the_others(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("zendesk", "error_before", status=400)
    run = accept()
    drain()
    assert status_of(run) == Status.PROVISIONING
    assert step_of(run, "delivery.project").state == StepState.SUCCEEDED
    assert step_of(run, "support.organization").state == StepState.BLOCKED
    assert ticket_of(run, "support.organization").queue == "support-ops"
    assert Ticket.objects.count() == 1
    settled()


@pytest.mark.usefixtures("connections")
def test_branch_that_succeeds_later_resolves_its_ticket(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("zendesk", "error_before", method="POST", count=7)  # the probe reads, and passes
    run = accept()
    drain()
    assert status_of(run) == Status.COMPLETE
    ticket = Ticket.objects.get()
    assert (ticket.status, ticket.resolution) == ("resolved", "The step has passed.")


@pytest.mark.usefixtures("connections")
def test_many_customers_at_once(accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled) -> None:
    for number in range(6):
        accept(**customer(f"many{number}"))
    drain()
    assert set(OnboardingTransaction.objects.values_list("status", flat=True)) == {Status.COMPLETE}
    assert created(sandbox) == dict.fromkeys(CREATED, 6)
    assert set(SlaClock.objects.values_list("state", flat=True)) == {ClockState.MET}
    settled()


# --- No database transaction is open while a vendor is called -------------------------------------------------------


@pytest.mark.usefixtures("connections")
def test_no_vendor_is_called_inside_a_database_transaction(
    accept: Accept, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    send = VendorHttp._send

    def watch(self: VendorHttp, *args: Any) -> Any:
        seen.append(transaction.get_connection().in_atomic_block)
        return send(self, *args)

    monkeypatch.setattr(VendorHttp, "_send", watch)
    accept()
    drain()
    assert seen
    assert not any(seen)


@pytest.mark.usefixtures("connections")
def test_a_vendor_call_inside_a_database_transaction_is_refused(accept: Accept, sandbox: SandboxControl) -> None:
    run = accept()
    current = claiming.claim(step_of(run, "crm.account").pk)
    assert current is not None
    with transaction.atomic(), pytest.raises(RuntimeError, match="inside a database transaction"):
        engine.perform(current)
    assert sandbox.requests() == []
