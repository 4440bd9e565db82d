"""An empty house for each example: the database, the clock, the vendor."""

import logging
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.test import TransactionTestCase

from integrations import clock
from integrations.connections.services import set_connection
from onboarding.playbooks.playbook import playbooks
from tests.conftest import _empty_database
from tests.machines.vendor import World, new_world, registered


def payment(name: str, customer: str) -> dict[str, Any]:
    """The content of a payment that lacks nothing."""
    return {
        "onboarding_transaction_id": name,
        "event_source": "billing",
        "customer": {
            "legal_name": f"{customer.upper()} Works",
            "domain": f"{customer}-works.com",
            "primary_contact": {"name": "Ann Works", "email": f"ann@{customer}-works.com"},
        },
        "commercial": {"term": "annual", "plan_sku": "pro"},
        "kickoff": {"urgency": "normal"},
        "ownership": {"crm_owner_id": "u_1"},
    }


Afresh = Callable[[], World]


@pytest.fixture
def afresh(transactional_db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Afresh]:
    """``afresh()``: nothing is left of the example before, and one connection a system leads to a new vendor.

    The clock goes on by a millisecond each time somebody looks at it, so that an example takes the same way on every machine.
    """
    settings.CONFIG_DIR = Path(__file__).parent
    playbooks.cache_clear()

    real = clock._carried

    def begin() -> World:
        _empty_database(TransactionTestCase())
        clock.reset()
        ticks = count(real(), 0.001)
        monkeypatch.setattr(clock, "_carried", lambda: next(ticks))
        for system in ("crm", "delivery", "email"):
            set_connection(system, system=system, provider="model", secrets={"token": ["t"]}, actor="tests")
        return new_world()

    with registered():
        yield begin
    playbooks.cache_clear()


@pytest.fixture
def quiet() -> Iterator[None]:
    """Failures are what these tests are made of; none of them needs its trace."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
