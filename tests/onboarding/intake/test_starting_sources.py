"""Two sources that both start runs, without a key in common: the connection's page says so."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from integrations.models import Connection
from onboarding.intake.starting_sources import without_common_key
from tests.support.order_events import DEAL_ID, Order, connect_docusign, connect_stripe
from tests.support.stripe_events import COMPLETE, settle

pytestmark = pytest.mark.django_db(transaction=True)


def said() -> list[str]:
    return without_common_key(Connection.objects.get(slug="docusign"))


def test_one_that_joins_is_no_second_source() -> None:
    connect_stripe(), connect_docusign()
    assert said() == []


def test_two_that_start_are_named(people: dict[str, User]) -> None:
    connect_stripe(), connect_docusign(order_signed="starts")
    (sentence,) = said()
    assert "stripe (Stripe) and docusign (DocuSign) start onboardings" in sentence
    client = Client()
    client.force_login(people["admin"])
    page = client.get(
        reverse("admin:integrations_connection_change", args=[Connection.objects.get(slug="docusign").pk])
    )
    assert sentence in page.content.decode()


@pytest.mark.parametrize(("metadata", "is_known"), [({"deal_id": "D9"}, True), ({}, False)])
def test_a_key_that_both_have_shown_is_enough(metadata: dict[str, Any], is_known: bool) -> None:
    connect_stripe(), connect_docusign(order_signed="starts")
    Order(payment_metadata={**COMPLETE, **metadata}).deliver("pay"), settle()
    Order(envelope_fields={**COMPLETE, "deal_id": DEAL_ID}).deliver("sign"), settle()
    assert (said() == []) is is_known
