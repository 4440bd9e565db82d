"""Postmark's bounces and complaints: verified, stored once, and a ticket of the run whose mail it was."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket, TicketStatus
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations import clock
from integrations.connections.services import set_connection
from integrations.enums import EventState
from integrations.models import ApiCall, Connection, InboundEvent
from integrations.sandbox.control import SandboxControl
from onboarding.enums import Category, Scope, Status, StepState, Topic
from onboarding.models import OnboardingTransaction
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, status_of, step_of

pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "postmark")
OLD, NEW = "jordan@acme-logistics.com", "lee@acme-logistics.com"
CREDENTIALS = "postmark:a-long-password"


@pytest.fixture
def postmark(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return set_connection(
        "mail",
        system="email",
        provider="postmark",
        base_url=f"{sandbox.base_url}/postmark",
        environment="sandbox",
        secrets={"token": ["sandbox-postmark-token"], "webhook_secret": [CREDENTIALS]},
        options={"from_email": "Firstvalue <hello@firstvalue.example>"},
        actor="tests",
    )


def mails(sandbox: SandboxControl) -> list[dict[str, Any]]:
    return [{"id": each["id"], **each["body"]} for each in sandbox.objects("postmark", "messages")]


def bounce(sent: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """As postmarkapp.com/developer/webhooks/bounce-webhook shows it."""
    return {
        "RecordType": "Bounce", "ID": 42, "Type": "HardBounce", "TypeCode": 1, "Name": "Hard bounce", "Tag": "",
        "MessageID": sent["id"], "Metadata": sent["metadata"], "ServerID": 23, "MessageStream": "outbound",
        "Description": "The server was unable to deliver your message (ex: unknown user, mailbox not found).",
        "Details": f"smtp;550 5.1.1 {OLD} unknown user", "Email": OLD, "From": "hello@firstvalue.example",
        "BouncedAt": "2026-11-29T10:00:00Z", "DumpAvailable": True, "Inactive": True, "CanActivate": True,
        "Subject": sent["subject"],
    } | changes  # fmt: skip


def deliver(body: Any, credentials: str = CREDENTIALS) -> int:
    basic = base64.b64encode(credentials.encode()).decode()
    answer = Client().post(
        "/webhooks/mail/",
        json.dumps(body),
        content_type="application/json",
        headers={"authorization": f"Basic {basic}"},
    )
    scheduling.one_pass(publish=False)
    return answer.status_code


@pytest.fixture
def welcomed(accept: Accept, drain: Drain) -> OnboardingTransaction:
    run = accept()
    drain()
    return run


def about_mail() -> Ticket:
    return Ticket.objects.get(topic=Topic.MAIL, status=TicketStatus.OPEN)


def test_the_welcome_goes_out_once_with_our_reference(welcomed: OnboardingTransaction, sandbox: SandboxControl) -> None:
    (mail,) = mails(sandbox)
    assert mail["to"] == f"Jordan Lee <{OLD}>"
    assert mail["metadata"] == {"reference": mail["headers"]["X-Firstvalue-Reference"]}
    assert mail["headers"]["Message-ID"].endswith("@firstvalue.example>")
    assert mail["headers"]["X-PM-KeepID"] == "true"
    assert step_of(welcomed, "welcome.mail").mappings.get().external_id == mail["id"]
    (call,) = ApiCall.objects.filter(connection__slug="mail", method="POST")
    assert call.request == {"reference": mail["reference"]}
    assert OLD not in json.dumps(call.response)


def test_a_bounce_is_a_ticket_of_its_run_whose_form_sends_it_again(
    welcomed: OnboardingTransaction, drain: Drain, sandbox: SandboxControl
) -> None:
    (mail,) = mails(sandbox)
    for _ in range(2):
        assert deliver(bounce(mail)) == 200
    ticket = about_mail()
    assert (ticket.transaction, ticket.category, ticket.queue) == (welcomed, Category.VALIDATION_ERROR, "sales-ops")
    assert [each["path"] for each in ticket.problems] == ["customer.primary_contact.email"]
    assert "550 5.1.1 the address unknown user" in ticket.message
    assert OLD not in ticket.message
    assert InboundEvent.objects.get(connection__slug="mail").state == EventState.PROCESSED
    fields = {"customer.primary_contact.email": NEW}
    actions.perform(ticket.pk, "fix", Actor("kim", Scope.OPERATE), fields=fields)
    drain()
    assert [each["to"] for each in mails(sandbox)] == [f"Jordan Lee <{OLD}>", f"Jordan Lee <{NEW}>"]
    assert Ticket.objects.get(pk=ticket.pk).status == TicketStatus.RESOLVED
    assert step_of(welcomed, "welcome.mail").state == StepState.SUCCEEDED
    assert status_of(welcomed) in (Status.READY_FOR_KICKOFF, Status.COMPLETE)
    assert not Ticket.objects.filter(status=TicketStatus.OPEN).exists()


def test_a_late_bounce_of_the_former_mail_says_nothing_of_the_new_one(
    welcomed: OnboardingTransaction, drain: Drain, sandbox: SandboxControl
) -> None:
    (mail,) = mails(sandbox)
    deliver(bounce(mail))
    actions.perform(about_mail().pk, "fix", Actor("kim", Scope.OPERATE), fields={"customer.primary_contact.email": NEW})
    drain()
    assert deliver(bounce(mail, ID=43, Type="SpamComplaint", RecordType="SpamComplaint")) == 200
    assert InboundEvent.objects.get(external_id="SpamComplaint:43").state == EventState.IGNORED
    assert not Ticket.objects.filter(topic=Topic.MAIL, status=TicketStatus.OPEN).exists()


def test_a_complaint_can_be_closed_by_hand(welcomed: OnboardingTransaction, sandbox: SandboxControl) -> None:
    (mail,) = mails(sandbox)
    deliver(bounce(mail, RecordType="SpamComplaint", Type="SpamComplaint"))
    ticket = about_mail()
    assert "reported as spam" in ticket.message
    actions.perform(ticket.pk, "done", Actor("kim", Scope.OPERATE), text="Called them.")
    assert len(mails(sandbox)) == 1
    assert not Ticket.objects.filter(topic=Topic.MAIL, status=TicketStatus.OPEN).exists()


@pytest.mark.parametrize(
    "changes",
    [{"Type": "Transient"}, {"Type": "AutoResponder"}, {"RecordType": "Delivery"}, {"RecordType": "Open"},
     {"Type": "NewOne", "RecordType": "Else"}],
)  # fmt: skip
def test_what_nothing_follows_from_is_ignored(
    welcomed: OnboardingTransaction, sandbox: SandboxControl, changes: dict[str, Any]
) -> None:
    assert deliver(bounce(mails(sandbox)[0], **changes)) == 200
    assert InboundEvent.objects.get(connection__slug="mail").state == EventState.IGNORED
    assert not Ticket.objects.filter(topic=Topic.MAIL).exists()


def test_another_mail_of_the_same_server_is_nobodys(welcomed: OnboardingTransaction, sandbox: SandboxControl) -> None:
    deliver(bounce(mails(sandbox)[0], MessageID="another", Metadata={}))
    assert InboundEvent.objects.get(connection__slug="mail").state == EventState.IGNORED


def test_a_bounce_that_overtakes_its_own_send_waits_for_it(
    accept: Accept, sandbox: SandboxControl, settings: Any
) -> None:
    settings.CALL_SECONDS = 0.6
    sandbox.add_fault("postmark", "timeout_after", method="POST", delay=5.0, count=1)
    run = accept()
    for _ in range(60):
        scheduling.one_pass(publish=False)
        if mails(sandbox):
            break
    (mail,) = mails(sandbox)
    deliver(bounce(mail))
    assert InboundEvent.objects.get(connection__slug="mail").state == EventState.HELD
    for _ in range(20):
        clock.shift(timedelta(seconds=30))
        scheduling.one_pass(publish=False)
        if Ticket.objects.filter(step__key="welcome.mail").exists():
            break
    ticket = Ticket.objects.get(transaction=run, step__key="welcome.mail", status=TicketStatus.OPEN)
    assert ticket.category == Category.UNKNOWN_OUTCOME
    actions.perform(ticket.pk, "link-object", Actor("kim", Scope.OPERATE), external_id=mail["id"])
    for _ in range(3):
        clock.shift(timedelta(minutes=2))
        scheduling.one_pass(publish=False)
    assert len(mails(sandbox)) == 1
    assert InboundEvent.objects.get(connection__slug="mail").state == EventState.PROCESSED
    assert about_mail().transaction == run


@pytest.mark.parametrize("credentials", ["postmark:wrong", "", ":", "other:a-long-password"])
def test_whoever_does_not_know_the_password_is_refused(
    welcomed: OnboardingTransaction, sandbox: SandboxControl, credentials: str
) -> None:
    assert deliver(bounce(mails(sandbox)[0]), credentials) == 400
    assert not InboundEvent.objects.filter(connection__slug="mail").exists()


@pytest.mark.parametrize("body", [[], {}, "text", {"RecordType": None}, {"RecordType": "Bounce", "ID": {}}])
def test_what_is_no_event_is_refused_or_kept_for_a_person(
    welcomed: OnboardingTransaction, sandbox: SandboxControl, body: Any, drain: Callable[..., int]
) -> None:
    assert deliver(body) in (200, 400)
    drain()
    assert not Ticket.objects.filter(topic=Topic.MAIL).exists()


def test_an_inactive_recipient_is_an_address_to_correct(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.seed("postmark", "inactive", [{"email": OLD}])
    run = accept()
    drain()
    ticket = Ticket.objects.get(transaction=run, step__key="welcome.mail", status=TicketStatus.OPEN)
    assert [each["path"] for each in ticket.problems] == ["customer.primary_contact.email"]
    fields = {"customer.primary_contact.email": NEW}
    actions.perform(ticket.pk, "fix", Actor("kim", Scope.OPERATE), fields=fields)
    drain()
    assert [each["to"] for each in mails(sandbox)] == [f"Jordan Lee <{NEW}>"]
