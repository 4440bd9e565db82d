"""What people may do to a run as a whole: hold it, let it go on, cancel it; and what other systems report of it."""

from datetime import datetime
from typing import Any

from integrations import clock
from integrations.failpoints import failpoint
from onboarding import audit
from onboarding.engine.advancing import advance, refresh_status_reports
from onboarding.engine.compensation import advance_or_roll_back, begin_rollback
from onboarding.engine.dispatch import enqueue_step
from onboarding.engine.locks import locked_run, retried
from onboarding.engine.reported_events import EventIdConflict, report
from onboarding.engine.runs import cancellation, gate_evaluation, prerequisites
from onboarding.enums import RunEventType, Topic
from onboarding.models import ObjectMapping, OnboardingTransaction
from onboarding.services import availability, confirmation
from onboarding.services.base import Refused, given_reason, require_no
from onboarding.services.rollback_preview import rollback_preview


@retried
def recheck_gate(run_pk: int, *, actor: str) -> None:
    """Check the gate again for a run that waits there, or resume a stalled one (a playbook or a plan was added, say)."""
    with locked_run(run_pk) as run:
        gate_evaluation.evaluate_gate(run, actor=actor)
        advance(run)
        audit.record(run, "onboarding.run.readmitted", actor=actor)
        failpoint("person-acted")


@retried
def hold(run_pk: int, *, actor: str, reason: str) -> None:
    """Begin nothing more until ``resume``; what is under way ends. The P1 clock goes on. Raises ``Refused``."""
    text = given_reason(reason)
    with locked_run(run_pk) as run:
        require_no(availability.hold(run))
        run.held_at, run.held_by, run.hold_reason = clock.now(), actor[:150], text
        audit.record(run, "onboarding.run.held", actor=actor)
        refresh_status_reports(run)
        failpoint("person-acted")


@retried
def resume(run_pk: int, *, actor: str) -> None:
    """Resume a run on hold. Raises ``Refused``."""
    with locked_run(run_pk) as run:
        require_no(availability.resume(run))
        cancellation.resume(run, actor=actor, resolution="A person has decided: the run goes on.")
        failpoint("person-acted")


@retried
def cancel(run_pk: int, *, actor: str, reason: str) -> None:
    """Cancel the run; what was made stays. Raises ``Refused`` for one that is over."""
    text = given_reason(reason)
    with locked_run(run_pk) as run:
        require_no(availability.cancel(run))
        cancellation.cancel(run, actor=actor, reason=text)
        failpoint("person-acted")


@retried
def rollback(run_pk: int, *, actor: str, reason: str, seen: str | None = None) -> None:
    """Remove everything that this run created and nobody else uses, in reverse order. Raises ``Refused``.

    Looks at the objects first, for at most ``LOOK_SECONDS``: what somebody has changed is asked about before it goes.
    ``seen``: the fingerprint of the preview that was confirmed; raises ``Outdated`` where another one holds.
    """
    text = given_reason(reason)
    looked_at = _objects(run_pk)
    preview = rollback_preview(run_pk)
    confirmation.check(seen, confirmation.of_preview(preview))
    changed = [each.external_id for each in preview if each.verdict == "changed-since"]
    with locked_run(run_pk) as run:
        require_no(availability.rollback(run))
        if seen is not None and looked_at != _objects(run_pk):  # a worker made something while vendors were asked
            raise confirmation.Outdated("what would be done has changed since the preview.")
        begin_rollback(run, actor=actor, reason=text, changed=changed)
        cancellation.decide(run, resolution="A person has decided: it is rolled back.")
        failpoint("person-acted")


def _objects(run_pk: int) -> list[tuple[Any, ...]]:
    rows = ObjectMapping.objects.filter(transaction=run_pk).order_by("pk")
    return list(rows.values_list("pk", "external_id", "created_by_us"))


@retried
def keep(run_pk: int, *, actor: str, reason: str, topic: Topic | None = None) -> None:
    """A person decided that the run goes on, or stays, as it is though something asked whether it should.

    ``topic``: of the one question that was answered; a run of which another one is open stays on hold.
    """
    given_reason(reason)
    with locked_run(run_pk) as run:
        audit.record(run, "onboarding.run.kept", actor=actor)
        decided = cancellation.decide(run, topic=topic, resolution="A person has decided: the run stays.")
        if not decided.still_open:
            cancellation.release(run)
        gate_evaluation.evaluate_gate(run, actor=actor)
        advance_or_roll_back(run)
        for pk in run.steps.filter(due_at__lte=clock.now()).values_list("pk", flat=True):
            enqueue_step(pk)
        failpoint("person-acted")


@retried
def receive_event(
    run_pk: int, *, kind: RunEventType, event_id: str, occurred_at: datetime, data: dict[str, Any], actor: str
) -> bool:
    """Take a later business event of a run. False where this event id is known already; ``Refused`` where it was another, and
    where it would approve data that the reporter gave.

    Of a run that was joined into another, it is that one's.
    """
    with locked_run(OnboardingTransaction.objects.get(pk=run_pk).going_on.pk) as run:
        is_known = run.events.filter(event_id=event_id).exists()
        if not is_known and prerequisites.gave_what_it_approves(run, kind, actor):
            raise Refused(f"{actor} gave the data that {kind} would approve: somebody else has to report it.")
        try:
            new = report(run, kind=kind, event_id=event_id, occurred_at=occurred_at, data=data, actor=actor)
        except EventIdConflict as error:
            raise Refused(str(error)) from None
        failpoint("person-acted")
        return new
