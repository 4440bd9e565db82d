"""People and workers at the same time, and people at the same time."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.db import connection

from exceptions_queue.models import Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from onboarding.enums import Scope, Status, StepState
from onboarding.models import AuditEntry, OnboardingTransaction, Step
from onboarding.services import Refused
from tests.chaos import matrix
from tests.chaos.conftest import payload_of
from tests.chaos.matrix import Row
from tests.chaos.runner import Workers, people_finish
from tests.chaos.vendors import VendorKind
from tests.chaos.worker import catch_up
from tests.support.threads import together

pytestmark = pytest.mark.processes
KIM = Actor("kim", Scope.OPERATE)


def retry(ticket_pk: int) -> bool:
    """True where it was done; what makes no sense (any more) is refused."""
    with suppress(Refused):
        actions.perform(ticket_pk, "retry", KIM)
        return True
    return False


def blocked(workers: Workers, count: int) -> list[int]:
    """Tickets of as many runs, whose organizations the help desk refused."""
    path = "*/organizations/create_or_update"
    workers.sandbox.add_fault("zendesk", "error_before", method="POST", path=path, status=400, count=count)
    assert workers.give(*(["accept", payload_of(f"c{number}")] for number in range(count)), ["drain"]).survived
    catch_up()
    tickets = list(Ticket.objects.filter(resolved_at=None).values_list("pk", flat=True))
    assert len(tickets) == count
    return tickets


def by_row(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "row", [row for row in matrix.rows("operators") if row.name == name], ids=lambda row: row.id
    )


@by_row("bulk retry against a worker")
def test_a_bulk_retry_while_a_worker_does_the_same_steps(row: Row, workers: Workers, vendor: VendorKind) -> None:
    tickets = blocked(workers, 3)
    steps = Step.objects.filter(state=StepState.BLOCKED)
    assert all(retry(pk) for pk in tickets)
    under_way = workers.start(["drain"], threads=4)
    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(again, pk) for pk in tickets * 2]
    assert all(one.exception() is None for one in done)
    assert workers.end(under_way).survived
    workers.heal()
    people_finish(workers)
    assert workers.violations() == []
    assert not steps.exists()
    assert not OnboardingTransaction.objects.exclude(status=Status.READY_FOR_KICKOFF).exists()


def again(ticket_pk: int) -> None:
    try:
        retry(ticket_pk)
    finally:
        connection.close()


@by_row("double click on resolve")
def test_two_simultaneous_clicks_resolve_it_once(row: Row, workers: Workers, vendor: VendorKind) -> None:
    assert workers.give(["accept", payload_of("one", ownership={"crm_owner_id": ""})], ["drain"]).survived
    catch_up()
    ticket = Ticket.objects.get(resolved_at=None)

    def fix() -> bool:
        with suppress(Refused):
            actions.perform(ticket.pk, "fix", KIM, fields={"ownership.crm_owner_id": "u_789"})
            return True
        return False

    assert any(together([fix] * 4))
    assert Step.objects.filter(key="crm.account").count() == 1
    assert AuditEntry.objects.filter(name="onboarding.run.provisioning").count() == 1
    workers.heal()
    assert workers.violations() == []
    assert Ticket.objects.get(pk=ticket.pk).resolved_at is not None
    assert OnboardingTransaction.objects.get().status == Status.READY_FOR_KICKOFF
