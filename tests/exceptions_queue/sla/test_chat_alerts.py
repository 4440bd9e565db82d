"""Alerts in chat: one message a clock and level, at most once, and nothing in it that notifies or leads elsewhere."""

from typing import Any

import pytest

from exceptions_queue.models import Alert, AlertChannel, AlertLevel, AlertState, Ticket, TicketStatus
from exceptions_queue.notifications import alerts
from exceptions_queue.sla import clocks as sla
from integrations import clock
from integrations.connections.services import close_after_probe, set_connection
from integrations.enums import Breaker
from integrations.models import ApiCall, Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.models import OnboardingTransaction
from tests.exceptions_queue.sla.test_provisioning_clock import minutes, one_pass
from tests.onboarding.conftest import Accept, ticket_of
from tests.support.threads import together

CHANNEL = "C0000000001"


@pytest.fixture
def slack(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return set_connection(
        "slack",
        system="chat",
        provider="slack",
        base_url=f"{sandbox.base_url}/slack",
        environment="sandbox",
        secrets={"token": ["sandbox-slack-token"]},
        options={"channel": CHANNEL},
        actor="tests",
    )


@pytest.fixture
def waiting(slack: Connection, accept: Accept, people: Any) -> OnboardingTransaction:
    return accept(commercial__term=None, customer__legal_name="Acme <!channel> & Sons")


def in_chat(**given: Any) -> Alert:
    return Alert.objects.get(channel=AlertChannel.CHAT, **given)


def posted(sandbox: SandboxControl) -> list[str]:
    return [each["body"]["text"] for each in sandbox.objects("slack", "messages")]


def test_the_channel_learns_of_what_is_at_risk_and_of_what_is_late(
    waiting: OnboardingTransaction, sandbox: SandboxControl, mailoutbox: list[Any]
) -> None:
    for _ in range(40):
        clock.shift(minutes(1))
        one_pass()
    at_risk, late = posted(sandbox)
    assert at_risk.startswith("*At risk: Acme &lt;!channel&gt; &amp; Sons is not provisioned yet*\n")
    assert f"<{ticket_of(waiting).url}|Ticket {ticket_of(waiting).pk}>" in at_risk
    assert late.startswith("*Late: Acme")
    assert "@" not in at_risk + late
    assert len(mailoutbox) == 1
    states = Alert.objects.filter(channel=AlertChannel.CHAT).values_list("level", "state")
    assert set(states) == {(AlertLevel.AT_RISK, AlertState.SENT), (AlertLevel.BREACHED, AlertState.SENT)}


def test_the_channel_learns_at_once_of_a_step_that_failed_for_good(
    slack: Connection, hubspot: Connection, accept: Accept, sandbox: SandboxControl, people: Any
) -> None:
    sandbox.add_fault("hubspot", "error_before", method="POST", status=400)
    run = accept()
    for _ in range(6):
        one_pass()
    (stopped,) = [
        text for text in posted(sandbox) if text.startswith("*Stopped: Acme Logistics is not provisioned yet*")
    ]
    tickets = Ticket.objects.filter(transaction=run, step__isnull=False).values_list("pk", flat=True)
    assert any(f"|Ticket {pk}>" in stopped for pk in tickets)


def test_two_schedulers_post_it_once(waiting: OnboardingTransaction, sandbox: SandboxControl) -> None:
    clock.shift(minutes(16))
    together([one_pass] * 4)
    assert len(posted(sandbox)) == 1


@pytest.mark.parametrize("fault", ["timeout_after", "reset_after", "error_after", "malformed"])
def test_what_may_have_been_posted_is_not_posted_again(
    waiting: OnboardingTransaction, sandbox: SandboxControl, settings: Any, fault: str
) -> None:
    settings.CALL_SECONDS = 0.6
    sandbox.add_fault("slack", fault, delay=5.0, count=1)
    clock.shift(minutes(16))
    for _ in range(3):
        one_pass()
        clock.shift(minutes(2))
    assert len(posted(sandbox)) == 1
    assert in_chat(level=AlertLevel.AT_RISK).state == AlertState.INDETERMINATE


def test_a_lost_sender_leaves_it_indeterminate(
    waiting: OnboardingTransaction, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    clock.shift(minutes(16))
    sla.tick()
    with monkeypatch.context() as failing:
        failing.setattr(alerts.chat, "post", dies)
        with pytest.raises(KeyboardInterrupt):
            alerts.deliver()
    clock.shift(minutes(6))
    one_pass()
    assert posted(sandbox) == []
    assert in_chat().state == AlertState.INDETERMINATE


def test_what_was_refused_for_now_is_posted_later(waiting: OnboardingTransaction, sandbox: SandboxControl) -> None:
    sandbox.add_fault("slack", "rate_limit", retry_after=120, count=1)
    clock.shift(minutes(16))
    one_pass()
    alert = in_chat()
    assert alert.state == AlertState.PENDING
    assert alert.due_at is not None
    assert alert.due_at > clock.now() + minutes(1.5)
    clock.shift(minutes(3))
    one_pass()
    assert len(posted(sandbox)) == 1


def test_refused_credentials_stop_the_connection_until_a_person_fixes_it(
    waiting: OnboardingTransaction, slack: Connection, sandbox: SandboxControl
) -> None:
    sandbox.set_tokens("slack", ["another"])
    clock.shift(minutes(16))
    for _ in range(4):
        one_pass()
        clock.shift(minutes(2))
    assert Connection.objects.get().breaker == Breaker.OPEN
    assert Ticket.objects.filter(connection=slack, status=TicketStatus.OPEN).count() == 1
    assert ApiCall.objects.filter(connection=slack).count() == 1
    set_connection("slack", system="chat", provider="slack", secrets={"token": ["another"]}, actor="kim")
    assert close_after_probe(slack.pk, "kim").ok
    one_pass()
    assert [text.partition(":")[0] for text in posted(sandbox)] == ["*At risk"]


def test_no_message_once_it_is_resolved(waiting: OnboardingTransaction, sandbox: SandboxControl) -> None:
    clock.shift(minutes(16))
    sla.tick()
    services.fix(waiting.pk, {"commercial.term": "annual"}, actor="kim")
    one_pass()
    assert [text for text in posted(sandbox) if text.startswith("*At risk")] == []
    assert in_chat(level=AlertLevel.AT_RISK).state == AlertState.NOT_NEEDED
