"""A mail after the welcome that does not arrive opens the ticket that a bounced welcome opens."""

from typing import Any

import pytest

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket
from exceptions_queue.welcome import sending
from integrations.enums import EventState
from integrations.models import Connection, InboundEvent
from integrations.sandbox.control import SandboxControl
from onboarding.enums import Topic
from onboarding.models import MailState
from onboarding.services import apply_change, request_change
from tests.conftest import Drain
from tests.exceptions_queue.welcome.conftest import FIRST_STEPS, THURSDAY, deliver_at, go_to, mail_of
from tests.integrations.vendors.postmark.test_bounces import about_mail, bounce, deliver, mails, postmark
from tests.onboarding.conftest import Accept

__all__ = ["postmark"]
pytestmark = pytest.mark.usefixtures("connections", "postmark")


@pytest.fixture
def sent(accept: Accept, drain: Drain, connections: dict[str, Connection], postmark: Connection) -> Any:
    """A run whose first mail after the welcome went out."""
    go_to(THURSDAY)
    run = accept()
    drain()
    assert deliver_at(FIRST_STEPS) == 1
    return run


def last_mail(sandbox: SandboxControl) -> dict[str, Any]:
    return next(each for each in mails(sandbox) if "first steps" in each["subject"])


def test_it_goes_out_with_a_reference_of_its_own(sent: Any, sandbox: SandboxControl) -> None:
    mail = last_mail(sandbox)
    assert mail["metadata"]["reference"].endswith("/welcome/first-steps")
    assert mail_of(sent).message_id == mail["id"]


def test_a_bounce_opens_the_ticket_of_the_welcome(sent: Any, sandbox: SandboxControl) -> None:
    for _ in range(2):
        assert deliver(bounce(last_mail(sandbox))) == 200
    ticket = about_mail()
    assert ticket.transaction == sent
    assert "The welcome mail “first-steps” was returned" in ticket.message
    assert [each["path"] for each in ticket.problems] == ["customer.primary_contact.email"]
    entry = sent.audit.get(name="onboarding.mail.bounced")
    assert entry.data["mail"] == "first-steps"


@pytest.mark.parametrize("kind", ["SpamComplaint", "HardBounce"])
def test_whoever_reports_a_mail_as_spam_gets_no_more(sent: Any, sandbox: SandboxControl, kind: str) -> None:
    assert deliver(bounce(last_mail(sandbox), RecordType=kind.replace("Hard", ""), Type=kind)) == 200
    assert about_mail().transaction == sent
    unwanted = kind == "SpamComplaint"
    later = mail_of(sent, "check-in")
    assert (later.state, later.stop_cause) == ((MailState.STOPPED, "unwanted") if unwanted else (MailState.PENDING, ""))
    assert deliver_at(later.scheduled_for) == (0 if unwanted else 1)


def test_a_bounce_that_overtakes_the_answer_waits_for_it(
    sent: Any, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_to(mail_of(sent, "check-in").scheduled_for)
    record = sending.record

    def late(claim: Any, outcome: Any) -> None:
        mail = next(each for each in mails(sandbox) if "how is it going" in each["subject"])
        assert deliver(bounce(mail)) == 200
        assert InboundEvent.objects.get(connection__slug="mail").state == EventState.HELD
        record(claim, outcome)

    monkeypatch.setattr(sending, "record", late)
    assert sending.deliver() == 1
    assert mail_of(sent, "check-in").state == MailState.SENT
    assert not Ticket.objects.filter(topic=Topic.MAIL).exists()
    deliver_at(mail_of(sent, "check-in").scheduled_for.replace(hour=12))
    scheduling.one_pass(publish=False)
    assert "“check-in”" in about_mail().message


def test_a_bounce_of_a_former_address_says_nothing(sent: Any, drain: Drain, sandbox: SandboxControl) -> None:
    change = request_change(sent.pk, {"customer.primary_contact.email": "lee@acme-logistics.com"}, actor="kim")
    apply_change(change.pk, actor="kim")
    drain()
    assert deliver(bounce(last_mail(sandbox))) == 200
    assert InboundEvent.objects.get(connection__slug="mail").state == EventState.IGNORED
    assert not Ticket.objects.filter(topic=Topic.MAIL).exists()


def test_a_complaint_about_one_that_was_perhaps_sent_counts(
    accept: Accept, drain: Drain, connections: dict[str, Connection], sandbox: SandboxControl, settings: Any
) -> None:
    go_to(THURSDAY)
    run = accept()
    drain()
    sandbox.add_fault("postmark", "error_after", method="POST", status=500, count=1)
    assert deliver_at(FIRST_STEPS) == 0
    assert (mail_of(run).state, mail_of(run).message_id) == (MailState.INDETERMINATE, "")
    mail = last_mail(sandbox)
    assert deliver(bounce(mail, RecordType="SpamComplaint", Type="SpamComplaint")) == 200
    assert InboundEvent.objects.get(connection__slug="mail").state == EventState.PROCESSED
    assert mail_of(run).message_id == mail["id"]
    assert "The welcome mail “first-steps” was reported as spam" in about_mail().message
    check_in = mail_of(run, "check-in")
    assert (check_in.state, check_in.stop_cause) == (MailState.STOPPED, "unwanted")
    assert deliver_at(check_in.scheduled_for) == 0
