"""Whoever waits for somebody else has a deadline; then it is a ticket, one, with an owner, and goes on waiting."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from exceptions_queue import scheduling
from exceptions_queue.models import SlaClock, Ticket
from integrations import clock
from integrations.sandbox.control import SandboxControl
from onboarding.engine.locks import locked_run
from onboarding.engine.reported_events import report as report_event
from onboarding.enums import Category, RunEventType, StepState, WaitsFor
from onboarding.models import OnboardingTransaction, StepPoll
from onboarding.playbooks.playbook import PlaybookError, load, playbooks
from onboarding.queues import QUEUES
from onboarding.services import replay, retry_step
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of

pytestmark = pytest.mark.usefixtures("connections", "smtp")
COMPANY = Path(__file__).parents[2] / "company"
LATER = (
    'name = "later"\nversion = "1"\nowner = "leads"\nplans = ["later"]\n'
    '[[steps]]\nkey = "account"\nuses = "crm.account"\n'
    '[[steps]]\nkey = "welcome"\nuses = "welcome.mail"\nafter = ["account"]\nwaits_for = "tenant.provisioned"\n'
    'queue = "leads"\n'
)
"""P1 is met without the welcome, and there is no kickoff, so that no P2 runs."""
KICKOFF = (
    '[[steps]]\nkey = "project"\nuses = "delivery.project"\nafter = ["account"]\n'
    '[[steps]]\nkey = "kickoff.task"\nuses = "kickoff.task"\nafter = ["project"]\nwaits_for = "tenant.provisioned"\n'
)


@pytest.fixture
def own(request: pytest.FixtureRequest, tmp_path: Path, settings: Any) -> Iterator[None]:
    folder = tmp_path / "playbooks"
    folder.mkdir()
    (folder / "later.toml").write_text(LATER + getattr(request, "param", ""))
    settings.CONFIG_DIR = tmp_path
    playbooks.cache_clear()
    yield
    playbooks.cache_clear()


def waiting(accept: Accept, drain: Drain) -> OnboardingTransaction:
    run = accept(commercial__plan_sku="later")
    drain()
    step = step_of(run, "welcome")
    assert (step.state, step.waits_for) == (StepState.WAITING, WaitsFor.REPORT), shown(run)
    assert not SlaClock.objects.filter(ended_at=None).exists(), "no clock says that it is late"
    return run


def passes(**time: float) -> None:
    clock.shift(timedelta(**time))
    scheduling.one_pass(publish=False)


def report(run: OnboardingTransaction, kind: RunEventType) -> None:
    with locked_run(run.pk) as locked:
        report_event(locked, kind=kind, event_id=f"e:{kind}", occurred_at=clock.now(), data={}, actor="key:shop")


@pytest.mark.usefixtures("own")
def test_a_wait_that_no_clock_covers_is_one_ticket_with_an_owner(
    accept: Accept, drain: Drain, settled: Settled
) -> None:
    run = waiting(accept, drain)
    passes(hours=71)
    assert not Ticket.objects.exists()
    passes(hours=2)
    ticket = ticket_of(run, "welcome")
    assert (ticket.category, ticket.queue) == (Category.STALLED, "leads")
    assert ticket.queue in QUEUES
    assert "tenant.provisioned" in ticket.message
    for _ in range(3):
        passes(hours=1)
    retry_step(step_of(run, "welcome").pk, actor="kim")
    drain()
    passes(hours=100)
    assert Ticket.objects.get().pk == ticket.pk
    settled()
    report(run, RunEventType.TENANT_PROVISIONED)
    drain()
    assert status_of(run) == "complete"
    assert not Ticket.objects.filter(resolved_at=None).exists()
    passes(hours=1)
    assert StepPoll.objects.get().due_at is None


@pytest.mark.parametrize("own", ["deadline_hours = 5\n"], indirect=True)
@pytest.mark.usefixtures("own")
def test_the_playbook_says_how_long(accept: Accept, drain: Drain) -> None:
    run = waiting(accept, drain)
    passes(hours=4)
    retry_step(step_of(run, "welcome").pk, actor="kim")
    drain()
    assert not Ticket.objects.exists()
    passes(hours=1, seconds=1)
    assert ticket_of(run, "welcome").message.startswith("For 5 hours"), "a retry gives it no further 5 hours"


@pytest.mark.usefixtures("own")
def test_what_an_open_ticket_covers_gets_no_second_one(accept: Accept, drain: Drain) -> None:
    from exceptions_queue.tickets import lifecycle

    run = waiting(accept, drain)
    covering = lifecycle.for_run(run, category=Category.STALLED, message="It is looked into.", problems=[])
    passes(hours=73)
    assert Ticket.objects.get(resolved_at=None) == covering
    lifecycle.resolve(Ticket.objects.all(), resolution="It goes on.")
    passes(hours=1)
    assert ticket_of(run, "welcome").category == Category.STALLED


@pytest.mark.usefixtures("own")
def test_a_held_run_waits_for_whoever_holds_it(accept: Accept, drain: Drain) -> None:
    from onboarding import services

    run = waiting(accept, drain)
    services.hold(run.pk, actor="kim", reason="The customer asked")
    drain()
    passes(hours=100)
    assert not Ticket.objects.filter(step__key="welcome").exists()
    services.resume(run.pk, actor="kim")
    drain()
    passes(seconds=1)
    assert ticket_of(run, "welcome").category == Category.STALLED


@pytest.mark.usefixtures("whole_playbook")
def test_a_kickoff_whose_clock_has_ended_has_a_deadline_of_its_own(accept: Accept, drain: Drain) -> None:
    run = accept()
    drain()
    assert step_of(run, "kickoff.task").waits_for == WaitsFor.EVENT, shown(run)
    SlaClock.objects.filter(milestone="P2").delete()
    passes(hours=71)
    assert not Ticket.objects.exists()
    passes(hours=2)
    assert ticket_of(run, "kickoff.task").category == Category.STALLED
    report(run, RunEventType.KICKOFF_SCHEDULED)
    drain()
    assert status_of(run) == "complete"
    assert not Ticket.objects.filter(resolved_at=None).exists()


@pytest.mark.parametrize("own", [KICKOFF], indirect=True)
@pytest.mark.usefixtures("own")
def test_the_next_wait_of_a_step_has_a_deadline_of_its_own(accept: Accept, drain: Drain) -> None:
    run = accept(commercial__plan_sku="later")
    drain()
    assert step_of(run, "kickoff.task").waits_for == WaitsFor.REPORT, shown(run)
    SlaClock.objects.all().delete()
    passes(hours=71)
    report(run, RunEventType.TENANT_PROVISIONED)
    drain()
    assert step_of(run, "kickoff.task").waits_for == WaitsFor.EVENT, shown(run)
    SlaClock.objects.all().delete()
    passes(hours=71)
    assert not Ticket.objects.exists()
    passes(hours=2)
    assert "nobody has done" in ticket_of(run, "kickoff.task").message


@pytest.mark.usefixtures("whole_playbook")
def test_a_step_that_is_replayed_waits_anew(accept: Accept, drain: Drain) -> None:
    run = accept()
    drain()
    passes(hours=71)
    replay(run.pk, "kickoff.task", actor="kim")
    drain()
    assert step_of(run, "kickoff.task").waits_for == WaitsFor.EVENT, shown(run)
    deadline = StepPoll.objects.get().deadline_at
    assert deadline is not None
    assert deadline - clock.now() > timedelta(hours=71)


@pytest.mark.parametrize("failures", [1, 2])
@pytest.mark.usefixtures("whole_playbook")
def test_a_look_that_fails_does_not_put_the_deadline_off(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settings: Any, failures: int
) -> None:
    run = accept()
    drain()
    SlaClock.objects.filter(milestone="P2").delete()
    passes(hours=71)
    sandbox.add_fault("asana", "error_before", method="GET", path="*/tasks/*", count=failures)
    passes(hours=2)
    if failures == 2:  # the claim that followed has failed, too
        assert step_of(run, "kickoff.task").waits_for == WaitsFor.RETRY
        passes(seconds=60)
        passes(seconds=settings.KICKOFF_POLL_SECONDS + 1)
    ticket = ticket_of(run, "kickoff.task")
    assert ticket.category == Category.STALLED
    assert "nobody has done" in ticket.message


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('uses = "crm.account"\ndeadline_hours = 5', "waits for nothing"),
        ('uses = "crm.account"\nwaits_for = "deal.won"\ndeadline_hours = 0', "deadline_hours"),
    ],
)
def test_a_deadline_that_means_nothing_is_refused(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f'name = "wrong"\nversion = "1"\nowner = "leads"\n[[steps]]\nkey = "account"\n{line}\n')
    with pytest.raises(PlaybookError, match=said):
        load(path)


def test_what_somebody_does_at_the_vendor_may_have_a_deadline(tmp_path: Path) -> None:
    """Such as an order that is confirmed at the ERP."""
    path = tmp_path / "invoiced.toml"
    text = (COMPANY / "playbooks" / "invoiced.toml").read_text()
    path.write_text(text.replace('uses = "erp.invoice-ready"', 'uses = "erp.invoice-ready"\ndeadline_hours = 5'))
    (step,) = [step for step in load(path).steps if step.uses == "erp.invoice-ready"]
    assert step.deadline_hours == 5
