"""The ids of payments that were known before become rows, with the kinds that correlation keys have; and back."""

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from integrations.connections.services import set_connection
from integrations.models import Connection
from onboarding import migrations
from onboarding.models import InvoicePaymentLink, PaymentTrace
from tests.support.migrations import executor

(FILE,) = Path(migrations.__path__[0]).glob("*_payment_trace_keys.py")  # its number may change
(BEFORE,) = importlib.import_module(f"onboarding.migrations.{FILE.stem}").Migration.dependencies
pytestmark = pytest.mark.django_db(transaction=True)


def migrate(target: tuple[str, str]) -> Any:
    """The models as they are then."""
    executor().migrate([target])
    return executor().loader.project_state([target]).apps


@pytest.fixture
def before() -> Iterator[Any]:
    set_connection("stripe", system="billing", provider="stripe", actor="tests")
    yield migrate(BEFORE)
    executor().migrate(executor().loader.graph.leaf_nodes())


def test_the_ids_of_known_payments_become_rows(before: Any) -> None:
    billing = Connection.objects.values_list("pk", flat=True).get()
    fields = {
        "connection_id": billing,
        "amount_minor": 1,
        "currency": "EUR",
        "occurred_at": datetime(2026, 11, 22, tzinfo=UTC),
    }
    old = before.get_model("onboarding", "PaymentTrace").objects
    whole = old.create(checkout_session="cs_1", invoice="in_1", payment_intent="pi_1", **fields)
    part = old.create(invoice="in_1", payment_intent="pi_2", **fields)
    unnamed = old.create(**fields)
    link = before.get_model("onboarding", "InvoicePaymentLink").objects
    link.create(connection_id=billing, payment_intent="pi_2", invoice="in_1")

    (latest,) = executor().loader.graph.leaf_nodes("onboarding")
    after = migrate(latest)

    assert {trace.pk: trace.ids for trace in PaymentTrace.objects.all()} == {
        whole.pk: {"stripe.checkout_session": "cs_1", "stripe.invoice": "in_1", "stripe.payment_intent": "pi_1"},
        part.pk: {"stripe.invoice": "in_1", "stripe.payment_intent": "pi_2"},
        unnamed.pk: {},
    }
    assert set(PaymentTrace.objects.named([("stripe.invoice", "in_1")])) == {
        PaymentTrace(pk=whole.pk),
        PaymentTrace(pk=part.pk),
    }
    assert InvoicePaymentLink.objects.values_list("payment", "invoice").get() == ("pi_2", "in_1")
    assert after.get_model("onboarding", "PaymentTraceKey").objects.count() == 5

    again = migrate(BEFORE).get_model("onboarding", "PaymentTrace").objects.order_by("pk")
    assert list(again.values_list("checkout_session", "invoice", "payment_intent")) == [
        ("cs_1", "in_1", "pi_1"),
        ("", "in_1", "pi_2"),
        ("", "", ""),
    ]
