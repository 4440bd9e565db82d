"""People at the console, and tickets that came about as they do in life."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from exceptions_queue.models import UNRESOLVED, Ticket
from integrations import clock
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding.intake import service
from onboarding.models import OnboardingTransaction
from onboarding.payload.schema import OnboardingPayload
from tests.conftest import Drain, Payload
from tests.exceptions_queue.admin.chromium import chromium, shared_browser

__all__ = ["chromium", "shared_browser"]
As = Callable[[str], Client]
Pay = Callable[..., OnboardingTransaction]

QUEUE = "/admin/exceptions_queue/ticket/"
RUNS = "/admin/onboarding/onboardingtransaction/"
CONNECTIONS = "/admin/integrations/connection/"


@pytest.fixture
def as_(people: dict[str, User]) -> As:
    """``as_("sales")``: a browser in which that person is logged in."""

    def login(name: str) -> Client:
        client = Client(raise_request_exception=True)
        client.force_login(people[name])
        return client

    return login


@pytest.fixture
def pay(payload: Payload, transactional_db: None) -> Pay:
    """``pay("beta", minutes_ago=3, **overrides)``: the run of a customer of that name, who just paid."""

    def run(name: str, *, minutes_ago: float = 0, **overrides: Any) -> OnboardingTransaction:
        content = payload(
            **{
                "onboarding_transaction_id": f"pay_{name}",
                "customer__legal_name": f"{name.capitalize()} Works",
                "customer__domain": f"{name}-works.com",
                "customer__primary_contact": {"name": f"Ann {name.capitalize()}", "email": f"ann@{name}-works.com"},
            }
            | overrides
        )
        accepted = OnboardingPayload.model_validate(content).content()
        return service.accept(
            accepted,
            actor="tests",
            occurred_at=clock.now() - timedelta(minutes=minutes_ago),
            keys=[("stripe.payment_intent", f"pi_{name}")],
        ).run

    return run


@pytest.fixture
def missing(pay: Pay) -> Ticket:
    """A customer paid, and the domain is a mail provider's; no CRM is connected, so people are asked at once."""
    return open_ticket(pay("beta", minutes_ago=5, customer__domain="gmail.com"))


@pytest.fixture
def ambiguous(pay: Pay, sandbox: SandboxControl, connections: dict[str, Connection], drain: Drain) -> Ticket:
    """Two companies at HubSpot have the customer's domain."""
    companies = [
        {"name": "Beta Works GmbH", "domain": "beta-works.com"},
        {"name": "Beta (old)", "domain": "beta-works.com"},
    ]
    sandbox.seed("hubspot", "companies", companies)
    run = pay("beta")
    drain()
    return open_ticket(run)


@pytest.fixture
def support_ticket(pay: Pay, sandbox: SandboxControl, connections: dict[str, Connection], drain: Drain) -> Ticket:
    """Zendesk has an organization of the customer's name that lists no domain."""
    sandbox.seed("zendesk", "organizations", [{"name": "Beta Works"}])
    run = pay("beta")
    drain()
    return open_ticket(run)


@pytest.fixture
def refused(pay: Pay, sandbox: SandboxControl, connections: dict[str, Connection], drain: Drain) -> Ticket:
    """HubSpot refuses our token; the ticket is the connection's, and one run is parked behind it."""
    sandbox.set_tokens("hubspot", ["the-new-token-of-hubspot"])
    pay("beta")
    drain()
    return Ticket.objects.get(connection=connections["hubspot"], status__in=UNRESOLVED)


def open_ticket(run: OnboardingTransaction) -> Ticket:
    return Ticket.objects.get(transaction=run, status__in=UNRESOLVED)


def page(ticket: Ticket) -> str:
    return reverse("admin:exceptions_queue_ticket_change", args=[ticket.pk])


def act(ticket: Ticket, name: str) -> str:
    return reverse("admin:exceptions_queue_ticket_act", args=[ticket.pk, name])


def hidden(response: Any, url: str, *, holding: str = "") -> dict[str, Any]:
    """What the page's form with that address sends besides what a person types; several values of one name as a list.

    ``holding``: a name that tells the form from others with the same address.
    """
    forms = re.findall(rf'<form[^>]* action="{re.escape(url)}".*?</form>', response.content.decode(), flags=re.DOTALL)
    form = next((each for each in forms if f'name="{holding}' in each), "")
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form):
        found.setdefault(name, []).append(value)
    found.pop("csrfmiddlewaretoken", None)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def text(response: Any) -> str:
    """A page as people read it: without markup, each run of blanks as one."""
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", response.content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).replace("&#x27;", "'").replace("&quot;", '"')
