"""The webhook endpoint, by real signed POSTs."""

import json
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import include, path

from integrations import clock
from integrations.connections.services import set_connection
from integrations.connectors.registry import PROVIDERS, register
from integrations.enums import EventState
from integrations.models import Connection, InboundEvent
from integrations.signals import inbound_event_received
from integrations.vendors.stripe.sample_events import Payment, encode, sign
from tests.support.threads import together

urlpatterns = [path("webhooks/", include("integrations.inbound.urls"))]

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]
SECRET = "whsec_tests"
URL = "/webhooks/stripe/"


@pytest.fixture
def stripe(db: None) -> Connection:
    return connect()


def connect() -> Connection:
    return set_connection(
        "stripe",
        system="billing",
        provider="stripe",
        environment="sandbox",
        secrets={"webhook_secret": ["whsec_former", SECRET]},
        actor="tests",
    )


def now() -> int:
    return int(clock.now().timestamp())


def paid(**changes: Any) -> dict[str, Any]:
    return Payment(created=now(), **changes).session()


def post(body: bytes, *, url: str = URL, secret: str = SECRET, at: int | None = None, **extra: Any) -> HttpResponse:
    headers = {"Stripe-Signature": sign(body, secret, now() if at is None else at)} | extra.pop("headers", {})
    return Client().post(url, data=body, content_type=extra.pop("content_type", "application/json"), headers=headers)


def assert_problem(answer: HttpResponse, status: int) -> None:
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    problem = json.loads(answer.content)
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    assert not InboundEvent.objects.exists()


def test_a_signed_event_is_stored_encrypted_before_the_answer(stripe: Connection) -> None:
    event = paid()
    answer = post(encode(event))
    assert (answer.status_code, answer.json()) == (200, {"status": "accepted"})
    stored = InboundEvent.objects.get()
    assert (stored.external_id, stored.type, stored.state) == (event["id"], event["type"], EventState.RECEIVED)
    assert stored.due_at == stored.received_at
    assert "jordan" not in stored.body
    assert json.loads(stored.raw) == event


def test_a_second_delivery_changes_nothing(stripe: Connection) -> None:
    body = encode(paid())
    assert post(body).json() == {"status": "accepted"}
    again = post(body)
    assert (again.status_code, again.json()) == (200, {"status": "duplicate"})
    assert InboundEvent.objects.count() == 1


def test_both_secrets_of_a_rotation_work(stripe: Connection) -> None:
    assert post(encode(paid()), secret="whsec_former").status_code == 200
    assert post(encode(paid()), secret=SECRET).status_code == 200


def test_a_receiver_that_fails_rolls_the_event_back(stripe: Connection) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("routing is down")

    inbound_event_received.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            post(encode(paid()))
    finally:
        inbound_event_received.disconnect(fail)
    assert not InboundEvent.objects.exists()


@pytest.mark.parametrize("seconds", [-301, 302])
def test_old_and_future_signatures_are_refused(stripe: Connection, seconds: int) -> None:
    assert_problem(post(encode(paid()), at=now() + seconds), 400)


def test_a_signature_by_another_secret_is_refused(stripe: Connection) -> None:
    assert_problem(post(encode(paid()), secret="whsec_wrong"), 400)


def test_an_unsigned_request_is_refused(stripe: Connection) -> None:
    assert_problem(Client().post(URL, data=encode(paid()), content_type="application/json"), 400)


def test_an_inactive_secret_is_refused(stripe: Connection) -> None:
    stripe.secret_rows.update(active=False)
    assert_problem(post(encode(paid())), 400)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b"not json",
        b'{"id": "evt_1"}',
        b'{"id": 1, "type": "invoice.paid"}',
        b'{"id": "", "type": "invoice.paid"}',
        b'{"id": "evt\\u0000", "type": "invoice.paid"}',
        b'{"id": "evt_1", "type": "invoice.paid\\u0000"}',
        b'{"id": "evt_\\ud800", "type": "invoice.paid"}',
        b'{"id": "evt_1", "type": "invoice.\\udfff"}',
        b'{"id": "evt_1", "type": "invoice.paid", "x": NaN}',
        b'{"id": "' + b"e" * 256 + b'", "type": "invoice.paid"}',
        b'{"id": "evt_1", "type": "invoice.paid", "x": ' + b"[" * 32 + b"]" * 32 + b"}",
        b'{"id": "evt_1", "type": "invoice.paid", "x": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
)
def test_signed_nonsense_is_refused(stripe: Connection, body: bytes) -> None:
    assert_problem(post(body), 400)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json(stripe: Connection, content_type: str) -> None:
    assert_problem(post(encode(paid()), content_type=content_type), 415)


def test_json_with_a_charset_is_json(stripe: Connection) -> None:
    assert post(encode(paid()), content_type="application/json; charset=utf-8").status_code == 200


def test_a_body_over_one_mebibyte_is_refused(stripe: Connection) -> None:
    body = encode(paid(metadata={"note": "x" * 1024 * 1024}))
    assert_problem(post(body), 413)


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_only_post(stripe: Connection, method: str) -> None:
    answer = getattr(Client(), method)(URL)
    assert answer["Allow"] == "POST"
    assert_problem(answer, 405)


def test_unknown_disabled_and_silent_connections_are_not_there(stripe: Connection) -> None:
    assert_problem(post(encode(paid()), url="/webhooks/nobody/"), 404)
    set_connection(
        "desk",
        system="support",
        provider="zendesk",
        base_url="https://acme.zendesk.com",
        environment="production",
        secrets={},
        actor="tests",
    )
    assert_problem(post(encode(paid()), url="/webhooks/desk/"), 404)
    Connection.objects.filter(pk=stripe.pk).update(enabled=False)
    assert_problem(post(encode(paid())), 404)


def test_a_vendors_webhook_cannot_be_registered_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        register(PROVIDERS["stripe"])


@pytest.fixture
def committed(transactional_db: None) -> None:
    connect()


@pytest.mark.django_db(transaction=True)
def test_simultaneous_deliveries_store_one_event(committed: None) -> None:
    body = encode(paid())
    answers = together([lambda: post(body).json()["status"]] * 6)
    assert sorted(answers) == ["accepted"] + ["duplicate"] * 5
    with transaction.atomic():
        assert InboundEvent.objects.count() == 1
