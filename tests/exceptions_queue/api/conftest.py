"""Callers of the API, each with a key of one scope, and tickets of every kind without a vendor."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from exceptions_queue.models import Ticket
from integrations import clock
from integrations.models import Connection
from onboarding.api.authentication import new_key
from onboarding.engine.locks import locked_run
from onboarding.engine.runs.failures import block
from onboarding.enums import Category, Scope
from onboarding.models import OnboardingTransaction, Step

MINIMAL: dict[str, Any] = {
    "onboarding_transaction_id": "pay_minimal",
    "event_source": "billing",
    "customer": {
        "legal_name": "Birch & Co",
        "domain": "birch.io",
        "primary_contact": {"name": "Ana Birch", "email": "ana@birch.io"},
    },
    "commercial": {"plan_sku": "pro", "term": "annual"},
    "ownership": {"crm_owner_id": "u_1"},
    "kickoff": {"urgency": "normal"},
}
Caller = Callable[[str], APIClient]
RUNS = "/api/v1/onboardings/"
TICKETS = "/api/v1/exceptions/"


@pytest.fixture(autouse=True)
def no_requests_counted_yet() -> None:
    cache.clear()


@pytest.fixture
def caller(db: None) -> Caller:
    """``caller("read")``: a client with a new key of that scope."""

    def make(scope: str) -> APIClient:
        key, _ = new_key(f"{scope} tests", Scope(scope))
        return APIClient(headers={"Authorization": f"Bearer {key}"})

    return make


@pytest.fixture
def operate(caller: Caller) -> APIClient:
    return caller("operate")


@pytest.fixture
def read(caller: Caller) -> APIClient:
    return caller("read")


@pytest.fixture
def intake(caller: Caller) -> APIClient:
    return caller("intake")


@pytest.fixture
def post(operate: APIClient) -> Callable[..., Any]:
    """Posts an onboarding."""
    return lambda body: operate.post(RUNS, body, format="json")


@pytest.fixture
def crm(db: None) -> Connection:
    """A CRM that nobody calls in these tests."""
    return Connection.objects.create(slug="crm", system="crm", provider="hubspot", base_url="https://api.hubapi.com")


Blocked = Callable[..., Ticket]


@pytest.fixture
def blocked(crm: Connection, post: Callable[..., Any], payload: Callable[..., dict[str, Any]]) -> Blocked:
    """Starts a run and blocks its first step as the engine does; returns the ticket."""

    def make(run_id: str = "pay_blocked", category: str = Category.SERVER_ERROR, **facts: Any) -> Ticket:
        post(payload(onboarding_transaction_id=run_id))
        with locked_run(OnboardingTransaction.objects.get(onboarding_transaction_id=run_id).pk) as run:
            step = Step.objects.get(transaction=run, key="crm.account")
            step.claim(at=clock.now(), lease_until=clock.now(), send_by=clock.now())
            for name, value in facts.items():
                setattr(step, name, value)
            block(run, step, Category(category), "HubSpot answered 503 to jo@acme.com.")
        return Ticket.objects.get(step=step)

    return make
