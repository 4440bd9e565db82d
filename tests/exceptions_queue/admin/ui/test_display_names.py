"""A person reads names and what helps to decide; ids and what is for machines stand under details."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User

from exceptions_queue.models import CrmOwner, Ticket
from integrations.connections.services import set_connection
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.admin.model_admins import ImplementationOwnerAdmin
from onboarding.engine.runs import owner_assignment
from onboarding.models import ImplementationOwner, OnboardingTransaction, PaymentTrace
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import QUEUE, RUNS, As, Pay, act, open_ticket, page, text

pytestmark = pytest.mark.one_database("postgres")


def beside(client: Any, ticket: Ticket) -> tuple[str, str]:
    """The facts that a ticket's page shows, and those that it folds away."""
    html = client.get(page(ticket)).content.decode()
    aside = html.partition('aria-labelledby="facts"')[2].partition("</section>")[0]
    shown, _, folded = aside.partition("<details")
    return tuple(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", part)) for part in (shown, folded))  # type: ignore[return-value]


def test_a_missing_data_ticket_shows_the_payer_the_amount_and_the_plan(missing: Ticket, as_: As) -> None:
    shown, folded = beside(as_("sales"), missing)
    for fact in ("Ann Beta", "ann@beta-works.com", "12,000.00 EUR", "pro, annual", "gmail.com"):
        assert fact in shown, fact
    assert "Idempotency key" not in shown
    assert "gate" not in shown
    assert "Idempotency key" in folded
    assert "ann@beta-works.com" not in as_("finance").get(page(missing)).content.decode()


def test_a_missing_data_ticket_leads_to_the_payment_and_to_the_crm(missing: Ticket, as_: As, settings: Any) -> None:
    settings.SANDBOX_URL = ""
    run = missing.transaction
    assert run
    stripe = set_connection("stripe", system="billing", provider="stripe", actor="tests")
    PaymentTrace.objects.create(
        connection=stripe, transaction=run, amount_minor=1, currency="EUR", occurred_at=run.occurred_at
    )
    set_connection(
        "hubspot", system="crm", provider="hubspot", secrets={"token": ["t"]}, options={"portal_id": "7"}, actor="tests"
    )
    services.fix(run.pk, {"commercial.deal_id": "31"}, actor="kim")
    html = as_("sales").get(page(missing)).content.decode()
    assert 'href="https://dashboard.stripe.com/payments/pi_beta"' in html
    assert 'href="https://app.hubspot.com/contacts/7/record/0-3/31"' in html


def test_sandbox_payments_have_no_dashboard_link(missing: Ticket, as_: As, settings: Any) -> None:
    settings.SANDBOX_URL = "http://127.0.0.1:8001"
    assert "dashboard.stripe.com" not in as_("sales").get(page(missing)).content.decode()


@pytest.fixture
def named(people: dict[str, User]) -> None:
    User.objects.filter(username="sales").update(first_name="Sam", last_name="Sales")
    User.objects.filter(username="lead").update(first_name="Lena", last_name="Lead")
    CrmOwner.objects.create(crm_owner_id="u_789", user=people["sales"])
    ImplementationOwner.objects.create(external_id="1000000000000003", name="Ines Costa")


@pytest.mark.usefixtures("named")
def test_owners_and_people_are_called_by_their_names(
    pay: Pay, connections: dict[str, Connection], sandbox: SandboxControl, as_: As, drain: Drain
) -> None:
    sandbox.seed("zendesk", "organizations", [{"name": "Beta Works"}])
    run = pay("beta", ownership__implementation_owner_id=None)
    drain()
    ticket, lead = open_ticket(run), as_("lead")
    assigned = text(lead.post(act(ticket, "assign"), {"queue": "sales-ops", "owner": "sales"}, follow=True))
    lead.post(act(ticket, "note"), {"text": "Asked them."})
    services.hold(run.pk, actor="lead", reason="They asked us to wait")
    on_ticket, on_run = text(lead.get(page(ticket))), text(lead.get(f"{RUNS}{run.pk}/change/"))

    assert "Assigned to Sales operations, Sam Sales." in assigned
    assert "by Lena Lead" in on_ticket
    assert "Lena Lead, 2" in on_ticket  # the note's author and its date
    assert "On hold by Lena Lead" in on_run
    assert "Owner Sam Sales" in on_run
    assert "Implementation owner Ines Costa" in on_run
    assert "owner Ines Costa" in on_run.partition("An implementation owner was assigned")[2][:60]
    assert "Sam Sales (u_789)" in on_run  # the data itself keeps its id
    assert "Sales operations , Sam Sales" in on_run.replace("operations,", "operations ,")
    assert "Sam Sales" in text(lead.get(RUNS))
    assert "u_789" not in text(lead.get(RUNS))
    assert "Sam Sales" in text(lead.get(f"{QUEUE}?queue=all"))


@pytest.mark.usefixtures("named")
def test_a_form_offers_known_owners_by_their_names(pay: Pay, as_: As) -> None:
    ticket = open_ticket(pay("beta", ownership__crm_owner_id=None))
    assert '<option value="u_789">Sam Sales</option>' in as_("sales").get(page(ticket)).content.decode()
    started = as_("sales").get(f"{RUNS}start/").content.decode()
    assert '<option value="1000000000000003">Ines Costa</option>' in started


@pytest.mark.parametrize("how", ["cancel", "rollback"])
def test_cancelled_run_frees_its_owners_capacity(pay: Pay, rf: Any, how: str) -> None:
    ImplementationOwner.objects.create(external_id="7", name="Ines Costa", capacity=1)
    busy = ImplementationOwner.objects.create(external_id="8", name="Jon Doe", capacity=1)
    first = pay("one", ownership__implementation_owner_id=None)
    pay("two", ownership__implementation_owner_id=None)
    getattr(services, how)(first.pk, actor="lead", reason="The customer withdrew")
    third = pay("three", ownership__implementation_owner_id=None)
    assert OnboardingTransaction.objects.get(pk=third.pk).implementation_owner_id == "7"
    assert {run.implementation_owner_id for run in owner_assignment.occupying()} == {"7", busy.external_id}
    from django.contrib.admin import site

    owners = ImplementationOwnerAdmin(ImplementationOwner, site).get_queryset(rf.get("/"))
    assert {owner.external_id: owner.open_runs for owner in owners} == {"7": 1, "8": 1}  # type: ignore[attr-defined]
