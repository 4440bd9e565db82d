"""Every change of a run moves its audit sequence: the lean path takes that for the version of all that a worker keeps of it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db.models import Model

from exceptions_queue import scheduling
from exceptions_queue.sla import clocks as sla
from integrations import clock
from integrations.connectors.objects import DeliveryTask
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import audit, services
from onboarding.engine.locks import locked_run
from onboarding.enums import RunEventType, Status, StepState, WaitsFor
from onboarding.models import ChangeRequest, Intent, ObjectMapping, OnboardingTransaction, RunEvent, Step
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, customer, shown, status_of, step_of
from tests.support.audited import unaudited, watching

pytestmark = [
    pytest.mark.skipif(database.vendor != "postgresql", reason="PostgreSQL watches it: the lean path is for it alone"),
    pytest.mark.usefixtures("connections", "watched"),
]
KIM: dict[str, Any] = {"actor": "kim", "reason": "Because."}


@pytest.fixture
def watched(transactional_db: None) -> Iterator[None]:
    """Fails a test in which a run was changed without its sequence moving."""
    with watching():
        yield
        changes = unaudited()
    assert not changes, "\n".join(changes)


# --- The watch itself -----------------------------------------------------------------------------------------------


UNAUDITED: dict[str, tuple[type[Model], dict[str, Any]]] = {
    "run": (OnboardingTransaction, {"hold_reason": "Wait."}),
    "step": (Step, {"message": "No."}),
    "intent": (Intent, {"state": "indeterminate"}),
    "mapping": (ObjectMapping, {"url": "https://elsewhere.example/"}),
    "event": (RunEvent, {"data": {"amount": 1}}),
}


def seen() -> list[str]:
    """What the watch has noted; it is forgotten with that."""
    found = unaudited()
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM watched_changes")
    return found


@pytest.mark.parametrize("name", UNAUDITED)
def test_unaudited_change_is_detected(name: str, accept: Accept, drain: Drain) -> None:
    model, changed = UNAUDITED[name]
    run = accept()
    drain()
    refund(run)
    assert not seen()
    model._default_manager.update(**changed)
    assert {each.split(": ")[-1] for each in seen()} == {", ".join(changed)}
    model._default_manager.update(**changed)
    assert not seen(), "nothing was changed by that"
    (column,) = changed
    with locked_run(run.pk) as locked:
        model._default_manager.update(**{column: "" if isinstance(changed[column], str) else {}})
        locked.hold_reason = ""
        audit.record(locked, "onboarding.run.held")
    assert not seen()


def test_inserted_or_deleted_row_without_audit_entry_is_detected(accept: Accept, drain: Drain) -> None:
    run = accept()
    drain()
    run.mappings.filter(kind="contact").delete()
    Step.objects.create(transaction=run, key="more", uses="crm.note", system="crm", position=9)
    assert [each.split(": ")[1] for each in seen()] == [
        "delete of onboarding_objectmapping",
        "insert of onboarding_step",
    ]
    Step.objects.update(due_at=clock.now(), enqueued_until=clock.now())
    assert not seen(), "when somebody is told of a step is no change of it"


# --- All that changes a run -----------------------------------------------------------------------------------------


def refund(run: OnboardingTransaction) -> None:
    services.receive_event(
        run.pk,
        kind=RunEventType.PAYMENT_REFUNDED,
        event_id=f"re_{run.pk}",
        occurred_at=clock.now(),
        data={},
        actor="kim",
    )


@pytest.mark.usefixtures("whole_playbook", "smtp")
def test_of_whole_onboardings_from_the_payment_to_the_kickoff(
    accept: Accept, drain: Drain, connections: dict[str, Connection], settings: Any
) -> None:
    from tests.integrations.vendors.asana.test_connector import delivery

    told, polled = accept(), accept(**customer("beta"))
    drain()
    services.receive_event(
        told.pk,
        kind=RunEventType.KICKOFF_SCHEDULED,
        event_id="k_1",
        occurred_at=clock.now(),
        data={},
        actor="kim",
    )
    task = ObjectMapping.objects.get(transaction=polled, step__key="kickoff.task").external_id
    delivery(connections["asana"]).update(task, DeliveryTask(completed=True))
    for _ in range(2):
        clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))
        scheduling.one_pass(publish=False)
    drain()
    assert status_of(told) == status_of(polled) == Status.COMPLETE, shown(polled)
    services.resend(step_of(told, "welcome.mail").pk, actor="kim")
    drain()
    assert step_of(told, "welcome.mail").round == 1


@pytest.mark.usefixtures("whole_playbook", "smtp")
def test_of_a_kickoff_that_nobody_schedules(accept: Accept, drain: Drain) -> None:
    run = accept()
    drain()
    for _ in range(4):
        clock.shift(timedelta(days=1))
        sla.tick()
        scheduling.one_pass(publish=False)
    services.skip_step(step_of(run, "kickoff.task").pk, **KIM)
    drain()
    assert status_of(run) == Status.COMPLETE


def test_of_vendors_that_fail(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/batch/upsert", status=400, count=1)
    sandbox.add_fault("asana", "error_after", method="POST", count=1)
    sandbox.add_fault("zendesk", "error_before", count=12)
    sandbox.add_fault("hubspot", "error_before", method="POST", path="*/contacts", status=429, retry_after=1, count=1)
    run = accept()
    drain(probes=True)
    services.fix(run.pk, {"customer.country": "FR"}, actor="kim", step_pk=step_of(run, "crm.account").pk)
    drain(probes=True)
    for step in run.steps.filter(state=StepState.BLOCKED):
        services.retry_step(step.pk, actor="kim")
    drain(probes=True)
    assert status_of(run) == Status.COMPLETE, shown(run)


def test_of_workers_that_are_lost(accept: Accept, drain: Drain) -> None:
    from onboarding.engine import claiming
    from onboarding.engine import execution as engine
    from onboarding.engine.recording import record

    run = accept()
    account = step_of(run, "crm.account")
    lost = claiming.claim(account.pk)
    assert lost is not None
    clock.shift(timedelta(minutes=3))
    drain()
    record(lost, engine.perform(lost), inline=False)
    assert status_of(run) == Status.COMPLETE


def test_of_what_people_do_to_a_run(accept: Accept, drain: Drain) -> None:
    run, other = accept(), accept(onboarding_transaction_id="pay_2")
    services.hold(run.pk, **KIM)
    drain()
    services.resume(run.pk, actor="kim")
    drain()
    services.unlink(step_of(run, "crm.account").pk, **KIM)
    drain()
    services.replay(other.pk, "crm.account", actor="kim")
    drain()
    for step in run.steps.exclude(state__in=(StepState.SUCCEEDED, StepState.SKIPPED)):
        services.skip_step(step.pk, **KIM)
    refund(run)
    services.keep(run.pk, **KIM)
    refund(other)
    services.rollback(other.pk, **KIM)
    drain()
    third = accept(onboarding_transaction_id="pay_3")
    services.skip_step(step_of(third, "support.organization").pk, **KIM)
    services.cancel(third.pk, **KIM)
    assert [status_of(each) for each in (run, third)] == [Status.COMPLETE, Status.CANCELLED]


def test_of_a_change_of_the_data(accept: Accept, drain: Drain) -> None:
    run = accept()
    drain()
    accept(customer__country="FR", customer__territory="apac")
    services.apply_change(ChangeRequest.objects.get().pk, actor="kim")
    drain()
    accept(customer__country="IT")
    services.reject_change(ChangeRequest.objects.get(status="open").pk, **KIM)
    assert run.snapshots.count() == 2


def test_of_data_that_is_missing_at_first(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    looked_up = accept(ownership__crm_owner_id=None)
    lacking = accept(**customer("beta"), commercial__plan_sku=None)
    drain()
    services.fix(looked_up.pk, {"ownership.crm_owner_id": "u_789"}, actor="kim")
    services.fix(lacking.pk, {"commercial.plan_sku": "pro"}, actor="kim")
    drain()
    assert status_of(looked_up) == status_of(lacking) == Status.COMPLETE, shown(looked_up)


def test_of_a_match_that_a_person_chooses(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    theirs = [{"name": f"Acme {name}", "domain": "acme-logistics.com"} for name in ("One", "Two")]
    first, _ = sandbox.seed("hubspot", "companies", theirs)
    run, waiting = accept(), accept(onboarding_transaction_id="pay_2")
    drain()
    account = step_of(run, "crm.account")
    assert account.state == StepState.BLOCKED, shown(run)
    assert (
        step_of(waiting, "crm.account").waits_for == WaitsFor.RESERVATION or step_of(waiting, "crm.account").candidates
    )
    services.choose_match(account.pk, external_id=first, actor="kim")
    drain()
    assert status_of(run) == status_of(waiting) == Status.COMPLETE, shown(waiting)
