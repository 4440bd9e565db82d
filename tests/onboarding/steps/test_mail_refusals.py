"""What a mail server says of one recipient holds up that mail alone: later again, or a ticket with the address to fix."""

from datetime import timedelta

import pytest

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations import clock
from integrations.enums import Breaker
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding.enums import Category, Scope, StepState
from onboarding.models import OnboardingTransaction
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, customer, step_of, ticket_of

pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")
GREYLISTED = {"vendor": "mail", "kind": "error_before", "method": "RCPT", "status": 450}


def mail_connection() -> Connection:
    return Connection.objects.get(slug="mail")


def sent_to(sandbox: SandboxControl) -> list[str]:
    return [each["body"]["to"][0] for each in sandbox.objects("mail", "messages")]


def welcomed_soon(accept: Accept, sandbox: SandboxControl, *names: str) -> list[OnboardingTransaction]:
    """Their runs, after the passes until each mail was tried: none of them has to be waited for."""
    runs = [accept(**customer(name)) for name in names]
    for _ in range(60):
        scheduling.one_pass(publish=False)
        if all(step_of(run, "welcome.mail").attempts for run in runs):
            break
    return runs


def test_greylisted_recipients_do_not_open_the_breaker(accept: Accept, sandbox: SandboxControl) -> None:
    names = [f"n{number}" for number in range(6)]
    for name in names:
        sandbox.add_fault(**GREYLISTED, path=f"*@{name}-works.com", count=1)
    *runs, other = welcomed_soon(accept, sandbox, *names, "other")
    assert (mail_connection().breaker, mail_connection().failures) == (Breaker.CLOSED, 0)
    assert sent_to(sandbox) == ["ann@other-works.com"]
    assert step_of(other, "welcome.mail").state == StepState.SUCCEEDED
    waiting = [step_of(run, "welcome.mail") for run in runs]
    assert {(step.state, step.attempts) for step in waiting} == {(StepState.WAITING, 1)}
    assert not Ticket.objects.exists(), "nobody need fix anything"
    assert min(step.due_at for step in waiting if step.due_at) > clock.now() + timedelta(minutes=4)


def test_a_greylisted_recipient_gets_the_mail_once_some_minutes_later(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault(**GREYLISTED, count=1)
    run = accept()
    drain()
    assert step_of(run, "welcome.mail").state == StepState.SUCCEEDED
    assert sent_to(sandbox) == ["jordan@acme-logistics.com"]


def test_permanently_refused_recipient_is_an_address_to_fix(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault("mail", "error_before", method="RCPT", status=550, path="jordan@*")
    run = accept()
    drain()
    ticket = ticket_of(run, "welcome.mail")
    assert ticket.category == Category.VALIDATION_ERROR
    assert [each["path"] for each in ticket.problems] == ["customer.primary_contact.email"]
    assert mail_connection().breaker == Breaker.CLOSED
    fields = {"customer.primary_contact.email": "lee@acme-logistics.com"}
    actions.perform(ticket.pk, "fix", Actor("kim", Scope.OPERATE), fields=fields)
    drain()
    assert sent_to(sandbox) == ["lee@acme-logistics.com"]


def test_a_sender_that_is_refused_stops_the_mail_behind_one_ticket(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault("mail", "error_before", method="MAIL", status=553)
    for name in ("one", "two", "three"):
        accept(**customer(name))
    drain()
    ticket = Ticket.objects.get(resolved_at=None)
    assert (ticket.connection, ticket.category) == (mail_connection(), Category.AUTH_ERROR)


def test_unavailable_mail_server_opens_the_breaker(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("mail", "error_before", method="MAIL", status=451)
    for number in range(6):
        accept(**customer(f"n{number}"))
    drain()
    assert mail_connection().breaker == Breaker.OPEN
