"""Jira's webhooks, by real POSTs: signed, stored once, and a hint alone."""

import json

import pytest
from django.http import HttpResponse
from django.test import Client

from integrations.connections.services import set_connection
from integrations.inbound.events import WorkChanged
from integrations.models import InboundEvent
from integrations.sandbox.control import SandboxControl
from integrations.vendors.jira.sample_events import encode, headers, issue_updated
from integrations.vendors.jira.webhook import JiraWebhook
from tests.integrations.vendors.conformance import Bench

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "a-secret-of-the-webhook"
AT = 1_780_000_000_000


@pytest.fixture(autouse=True)
def bench(sandbox: SandboxControl) -> Bench:
    made = Bench("jira", sandbox)
    set_connection("jira", system="delivery", provider="jira", secrets={"webhook_secret": [SECRET]}, actor="tests")
    return made


def post(raw: bytes, given: dict[str, str]) -> HttpResponse:
    return Client().post("/webhooks/jira/", data=raw, content_type="application/json", headers=given)


def test_a_status_is_told_once_whatever_is_sent_again() -> None:
    raw = encode(issue_updated("20017", at=AT))
    for retry in range(3):
        assert post(raw, headers(raw, SECRET, identifier="5a1b-1", retry=retry)).status_code == 200
    stored = InboundEvent.objects.get()
    assert (stored.type, stored.external_id) == ("jira:issue_updated", "5a1b-1")
    assert "Ortega" not in stored.raw, "of the delivery only the issue is kept"
    assert JiraWebhook().read(stored) == WorkChanged(object_id="20017")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"X-Hub-Signature": ""},
        {"X-Hub-Signature": "sha256="},
        {"X-Hub-Signature": "sha1=0000"},
        {"X-Hub-Signature": "sha256=" + "0" * 64},
        {"X-Hub-Signature-256": "sha256=" + "0" * 64},
    ],
)
def test_an_unsigned_delivery_is_not_taken(given: dict[str, str]) -> None:
    assert post(encode(issue_updated("20017", at=AT)), given).status_code == 400
    assert not InboundEvent.objects.exists()


def test_a_signature_is_of_the_body_as_it_came() -> None:
    raw = encode(issue_updated("20017", at=AT))
    signed = headers(raw, SECRET)
    assert post(raw.replace(b"20017", b"20018"), signed).status_code == 400
    assert post(raw, headers(raw, "another")).status_code == 400


@pytest.mark.parametrize(
    "event",
    [
        issue_updated("20017", at=AT, field="summary"),
        issue_updated("20017", at=AT) | {"webhookEvent": "comment_created"},
    ],
)
def test_what_says_nothing_of_being_done_is_answered_and_not_kept(event: dict[str, object]) -> None:
    raw = encode(event)
    assert post(raw, headers(raw, SECRET)).status_code == 200
    assert not InboundEvent.objects.exists()


def test_an_update_that_does_not_say_what_was_changed_is_kept() -> None:
    event = issue_updated("20017", at=AT)
    del event["changelog"]
    raw = encode(event)
    post(raw, headers(raw, SECRET))
    assert InboundEvent.objects.count() == 1


@pytest.mark.parametrize("issue", [None, {}, {"id": ""}, {"id": "ONB-1"}, "20017"])
def test_an_event_of_no_issue_is_refused(issue: object) -> None:
    raw = json.dumps(issue_updated("20017", at=AT) | {"issue": issue}).encode()
    assert post(raw, headers(raw, SECRET)).status_code == 400


def test_without_an_identifier_nothing_is_stored() -> None:
    raw = encode(issue_updated("20017", at=AT))
    given = {"X-Hub-Signature": headers(raw, SECRET)["X-Hub-Signature"]}
    assert post(raw, given).status_code == 400
