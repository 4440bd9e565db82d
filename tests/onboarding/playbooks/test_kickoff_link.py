"""The kickoff by Calendly: the link in the welcome, and what the customer's booking does to the run."""

import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import HttpResponse

from exceptions_queue.models import UNRESOLVED, Ticket
from integrations import clock
from integrations.connections.services import set_connection
from integrations.enums import EventState
from integrations.models import Connection, InboundEvent
from integrations.sandbox.control import SandboxControl
from integrations.vendors.calendly.sample_events import Booking, encode, sign
from onboarding import services
from onboarding.enums import Category, RunEventType, Status, StepState, Topic, WaitsFor
from onboarding.models import OnboardingTransaction, RunEvent
from onboarding.playbooks.playbook import playbooks
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, shown, status_of, step_of
from tests.support.webhooks import latest, now, post, settle

SECRET, FORMER = "calendly-signing-key", "calendly-former-key"
PLAYBOOK = """
name = "standard"
version = "1"
owner = "revenue-operations"

[[steps]]
key = "crm.account"
uses = "crm.account"

[[steps]]
key = "delivery.project"
uses = "delivery.project"
after = ["crm.account"]

[[steps]]
key = "kickoff.link"
uses = "kickoff.link"
after = ["delivery.project"]

[[steps]]
key = "kickoff.task"
uses = "kickoff.task"
after = ["delivery.project"]

[[steps]]
key = "welcome.mail"
uses = "welcome.mail"
after = ["kickoff.link"]
"""
pytestmark = pytest.mark.usefixtures("scheduled_playbook", "hubspot", "asana", "smtp")


@pytest.fixture
def scheduled_playbook(settings: Any, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "standard.toml").write_text(PLAYBOOK)
    settings.CONFIG_DIR = tmp_path
    playbooks.cache_clear()
    yield
    playbooks.cache_clear()


@pytest.fixture
def calendly(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return set_connection(
        "calendly",
        system="scheduling",
        provider="calendly",
        base_url=f"{sandbox.base_url}/calendly",
        environment="sandbox",
        secrets={"token": ["sandbox-calendly-token"], "webhook_secret": [FORMER, SECRET]},
        options={"event_type": "https://api.calendly.com/event_types/KICKOFF00000001"},
        actor="tests",
    )


def mail_text(sandbox: SandboxControl) -> str:
    (mail,) = sandbox.objects("mail")
    return str(mail["body"]["text"])


def booked_by(run: OnboardingTransaction, **changes: Any) -> Booking:
    return Booking(step_of(run, "kickoff.link").mappings.get().url, now(), **changes)


def send(event: dict[str, Any], *, secret: str = SECRET, at: int | None = None) -> HttpResponse:
    body = encode(event)
    return post("calendly", body, {"Calendly-Webhook-Signature": sign(body, secret, at=now() if at is None else at)})


def deliver(event: dict[str, Any]) -> InboundEvent:
    assert send(event).status_code == 200
    settle()
    return latest()


@pytest.fixture
def run(calendly: Connection, accept: Accept, drain: Drain) -> OnboardingTransaction:
    """Provisioned, the welcome is sent, and the kickoff is awaited."""
    made = accept()
    drain()
    assert status_of(made) == Status.READY_FOR_KICKOFF, shown(made)
    return made


# --- The link


def test_the_welcome_carries_a_link_that_names_the_run(run: OnboardingTransaction, sandbox: SandboxControl) -> None:
    (link,) = sandbox.objects("calendly", "links")
    (shown_link,) = re.findall(r"https://calendly\S+", mail_text(sandbox))
    assert shown_link.startswith(f"{link['id']}?")
    assert parse_qs(urlsplit(shown_link).query) == {
        "utm_source": ["firstvalue"],
        "utm_content": [run.onboarding_transaction_id],
    }
    assert step_of(run, "kickoff.task").waits_for == WaitsFor.EVENT


def test_without_a_scheduling_connection_the_step_is_passed_over(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    made = accept()
    drain()
    link = step_of(made, "kickoff.link")
    assert (link.state, link.skip_reason) == (StepState.SKIPPED, "There is no connection for scheduling.")
    assert status_of(made) == Status.READY_FOR_KICKOFF
    effect = services.replay_preview(made.pk, "kickoff.link")[0]
    assert (effect.step, effect.verdict, effect.waits) == ("kickoff.link", "skip", False)
    assert "https://" not in mail_text(sandbox)
    assert step_of(made, "kickoff.task").waits_for == WaitsFor.EVENT
    assert not Ticket.objects.exists()


def test_a_link_whose_answer_was_lost_is_made_again(
    calendly: Connection, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault("calendly", "error_after", method="POST", count=1)
    made = accept()
    drain()
    assert step_of(made, "kickoff.link").state == StepState.SUCCEEDED
    assert len(sandbox.objects("calendly", "links")) == 2
    assert step_of(made, "kickoff.link").mappings.get().url in mail_text(sandbox)
    assert not Ticket.objects.exists()


def test_a_plan_without_links_is_a_ticket(
    calendly: Connection, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault("calendly", "error_before", method="POST", status=403)
    made = accept()
    drain()
    assert step_of(made, "kickoff.link").state == StepState.BLOCKED
    sandbox.clear_faults()
    services.retry_step(step_of(made, "kickoff.link").pk, actor="kim")
    drain()
    assert status_of(made) == Status.READY_FOR_KICKOFF


def test_a_rollback_leaves_the_link(run: OnboardingTransaction, drain: Drain, sandbox: SandboxControl) -> None:
    services.rollback(run.pk, actor="kim", reason="not wanted")
    drain()
    assert status_of(run) == Status.ROLLED_BACK
    assert len(sandbox.objects("calendly", "links")) == 1


# --- The booking


def test_a_booking_ends_the_kickoff_and_the_run(run: OnboardingTransaction, drain: Drain) -> None:
    booking = booked_by(run)
    event = deliver(booking.created())
    assert (event.state, event.external_id) == (EventState.PROCESSED, f"invitee.created:{booking.uri}")
    drain()
    assert status_of(run) == Status.COMPLETE
    told = RunEvent.objects.get(transaction=run)
    assert (told.type, told.data["booking"]) == (RunEventType.KICKOFF_SCHEDULED, booking.uri)
    assert send(booking.created()).json() == {"status": "duplicate"}


def test_a_booking_before_the_kickoffs_task_is_kept_for_it(calendly: Connection, accept: Accept, drain: Drain) -> None:
    early = Booking("https://calendly.com/d/a/kickoff?utm_source=firstvalue&utm_content=pay_12345", now())
    assert deliver(early.created()).state == EventState.HELD
    made = accept()
    assert latest().state == EventState.PROCESSED
    drain()
    assert made.onboarding_transaction_id == "pay_12345"
    assert status_of(made) == Status.COMPLETE


def test_a_booking_called_off_opens_the_kickoff_again_with_a_ticket(run: OnboardingTransaction, drain: Drain) -> None:
    first = booked_by(run)
    deliver(first.created())
    drain()
    deliver(first.cancelled())
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF
    assert step_of(run, "kickoff.task").waits_for == WaitsFor.EVENT
    ticket = Ticket.objects.get(transaction=run, status__in=UNRESOLVED)
    assert (ticket.category, ticket.topic) == (Category.APPROVAL_OVERDUE, Topic.KICKOFF)
    assert not OnboardingTransaction.objects.get(pk=run.pk).held_at
    clock.shift(timedelta(hours=1))
    deliver(booked_by(run).created())
    drain()
    assert status_of(run) == Status.COMPLETE
    assert not Ticket.objects.filter(status__in=UNRESOLVED).exists()


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("carried", [True, False], ids=["with UTM", "without UTM"])
def test_a_move_is_no_cancellation_in_whatever_order_it_is_told(
    run: OnboardingTransaction, drain: Drain, order: tuple[int, ...], carried: bool
) -> None:
    first = booked_by(run)
    _, told = first.moved(days=2, carried=carried)
    events = [first.created(), *told]
    for number in order:
        deliver(events[number])
    drain()
    assert status_of(run) == Status.COMPLETE
    assert not Ticket.objects.exists()


@pytest.mark.parametrize("carried", [True, False], ids=["with UTM", "without UTM"])
def test_a_moved_booking_can_be_called_off(run: OnboardingTransaction, drain: Drain, carried: bool) -> None:
    first = booked_by(run)
    moved, told = first.moved(days=2, carried=carried)
    for event in (first.created(), *told, moved.cancelled()):
        deliver(event)
        drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF
    assert Ticket.objects.get(status__in=UNRESOLVED).topic == Topic.KICKOFF


def test_a_cancellation_that_overtakes_its_booking_leaves_the_kickoff_open(
    run: OnboardingTransaction, drain: Drain
) -> None:
    booking = booked_by(run)
    for event in (booking.cancelled(), booking.created()):
        deliver(event)
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF
    assert step_of(run, "kickoff.task").waits_for == WaitsFor.EVENT


def test_the_other_of_two_bookings_stands(run: OnboardingTransaction, drain: Drain) -> None:
    one, other = booked_by(run), booked_by(run)
    for event in (one.created(), other.created(), one.cancelled()):
        deliver(event)
    drain()
    assert status_of(run) == Status.COMPLETE


def test_a_cancellation_reported_by_rest_needs_no_booking(run: OnboardingTransaction, drain: Drain) -> None:
    for number, kind in enumerate((RunEventType.KICKOFF_SCHEDULED, RunEventType.KICKOFF_CANCELLED)):
        services.receive_event(
            run.pk, kind=kind, event_id=f"e{number}", occurred_at=clock.now(), data={}, actor="tests"
        )
        drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF


@pytest.mark.parametrize(
    "link", ["https://calendly.com/firstvalue/kickoff", "https://calendly.com/x?utm_source=ad&utm_content=pay_12345"]
)
def test_bookings_by_other_links_are_ignored(run: OnboardingTransaction, link: str) -> None:
    for event in (Booking(link, now()).created(), Booking(link, now()).cancelled()):
        assert deliver(event).state == EventState.IGNORED
    assert not RunEvent.objects.exists()


# --- Verification


def test_both_keys_of_a_rotation_and_any_order_in_the_header_verify(calendly: Connection) -> None:
    body = encode(Booking("https://calendly.com/x", now()).created())
    for secret in (SECRET, FORMER):
        assert send(Booking("https://calendly.com/x", now()).created(), secret=secret).status_code == 200
    at, signature = sign(body, SECRET, at=now()).split(",")
    assert post("calendly", body, {"Calendly-Webhook-Signature": f" {signature} , v0=x, {at}"}).status_code == 200


@pytest.mark.parametrize("header", ["", "t=1", "v1=abc", "t=x,v1=abc", "t=²,v1=a", "t=1,v1=é"])
def test_what_is_not_signed_is_refused(calendly: Connection, header: str) -> None:
    event = Booking("https://calendly.com/x", now()).created()
    assert post("calendly", encode(event), {"Calendly-Webhook-Signature": header}).status_code == 400
    assert send(event, secret="another").status_code == 400
    for seconds in (-302, 302):
        assert send(event, at=now() + seconds).status_code == 400
    assert not InboundEvent.objects.exists()


def test_what_is_not_as_documented_is_shown_to_a_person(run: OnboardingTransaction) -> None:
    assert deliver(booked_by(run).created(scheduled_event=None)).state == EventState.FAILED
    assert deliver(booked_by(run).created(scheduled_event={"start_time": "soon"})).state == EventState.FAILED
    assert (
        deliver({"event": "routing_form_submission.created", "created_at": "2026-11-29T10:00:00Z", "payload": {}}).state
        == EventState.IGNORED
    )
    assert send({"event": "invitee.created", "payload": {}}).status_code == 400
