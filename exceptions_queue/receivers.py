"""News from below becomes tickets and clocks, inside the transaction that made it true."""

from datetime import datetime
from typing import Any

from django.db.models.signals import pre_delete
from django.dispatch import receiver
from django_fsm.signals import post_transition

from exceptions_queue.models import Milestone, Ticket, covering
from exceptions_queue.notifications import webhooks
from exceptions_queue.sla import clocks as sla
from exceptions_queue.tickets import lifecycle
from exceptions_queue.welcome import schedule
from integrations import clock
from integrations.enums import BreakerCause, EventState
from integrations.models import Connection, InboundEvent, WebhookEndpoint
from integrations.outbound.events import EventType
from integrations.signals import (
    breaker_closed,
    breaker_opened,
    connection_set,
    deals_looked_up,
    deals_not_looked_up,
    endpoint_changed,
    event_failed,
    event_recovered,
)
from onboarding import audit, signals, working_set
from onboarding.engine.runs.cancellation import Questions
from onboarding.enums import WITHDRAWN, Category, RunEventType, Status, StepState, Topic
from onboarding.models import (
    Approval,
    AuditFinding,
    ChangeRequest,
    ObjectMapping,
    OnboardingTransaction,
    Step,
    StopCause,
)
from onboarding.sla_targets import INVOICE, KICKOFF


@receiver(signals.run_accepted)
def start_p1(run: OnboardingTransaction, **_: Any) -> None:
    sla.start_p1(run)
    webhooks.tell_of_run(run, EventType.RUN_ACCEPTED)


@receiver(signals.run_provisioned)
def meet_p1(run: OnboardingTransaction, **_: Any) -> None:
    at = run.provisioned_at or clock.now()
    sla.meet(run, Milestone.P1, at=at)
    _went_on(run, "The customer is provisioned.")
    sla.start_p2(run, at=at)
    sla.start_invoice(run, at=at)
    webhooks.tell_of_run(run, EventType.RUN_PROVISIONED)


@receiver(signals.kickoff_scheduled)
def meet_p2(run: OnboardingTransaction, at: datetime, **_: Any) -> None:
    sla.meet(run, Milestone.P2, at=at)
    _went_on(run, "The kickoff is scheduled.")


@receiver(signals.invoice_ready)
def meet_invoice(run: OnboardingTransaction, at: datetime, **_: Any) -> None:
    sla.meet(run, Milestone.INVOICE, at=at)
    _went_on(run, "The order can be invoiced.")
    webhooks.tell_of_run(run, EventType.RUN_INVOICE_READY)


@receiver(post_transition, sender=Step)
def call_off_p2(instance: Step, target: str, **_: Any) -> None:
    """A kickoff that is left out was not scheduled in time, nor too late: its clock is called off, not met. So is invoicing."""
    if target == StepState.SKIPPED and instance.uses == KICKOFF:
        sla.cancel(instance.transaction, at=clock.now(), milestones=[Milestone.P2])
        _went_on(instance.transaction, "The kickoff was skipped.")
    if target == StepState.SKIPPED and instance.uses == INVOICE:
        sla.cancel(instance.transaction, at=clock.now(), milestones=[Milestone.INVOICE])


@receiver(post_transition, sender=Step)
def plan_welcome_mails(instance: Step, target: str, **_: Any) -> None:
    if target == StepState.SUCCEEDED and schedule.is_welcome(instance):
        schedule.plan(instance)


@receiver(post_transition, sender=Step)
def stop_mails_of_skipped_welcome(instance: Step, target: str, **_: Any) -> None:
    """Only one that was sent before, and was to be sent again, has mails after it; a run's own end has its own cause."""
    again = instance.round and instance.transaction.status not in WITHDRAWN
    if target == StepState.SKIPPED and again and schedule.is_welcome(instance):
        schedule.stop(instance.transaction, StopCause.SKIPPED)


@receiver(signals.event_reported)
def stop_welcome_mails(run: OnboardingTransaction, kind: str, **_: Any) -> None:
    if cause := schedule.STOPPED_BY_EVENT.get(RunEventType(kind)):
        schedule.stop(run, cause)


@receiver(signals.mail_unwanted)
def stop_unwanted_mails(run: OnboardingTransaction, **_: Any) -> None:
    schedule.stop(run, StopCause.UNWANTED)


@receiver(signals.run_resumed)
def put_off_welcome_mails(run: OnboardingTransaction, held_at: datetime, **_: Any) -> None:
    schedule.put_off(run, held_at)


@receiver(post_transition, sender=OnboardingTransaction)
def end_with_the_run(instance: OnboardingTransaction, target: str, **_: Any) -> None:
    """Nothing is left that its clock could wait for."""
    if target == Status.COMPLETE:
        sla.meet(instance, Milestone.P2, at=instance.completed_at or clock.now())
        _went_on(instance, "The run is complete.")
        webhooks.tell_of_run(instance, EventType.RUN_COMPLETED)
    elif target == Status.ROLLED_BACK:
        about_changes = Ticket.objects.filter(transaction=instance, change_request__isnull=False)
        lifecycle.resolve(about_changes, resolution="The run was rolled back.")
        sla.cancel(instance, at=clock.now(), milestones=[Milestone.CHANGE])


@receiver(signals.run_cancelled)
def close_all_of_the_run(run: OnboardingTransaction, at: datetime, resolution: str, **_: Any) -> None:
    """What an audit found stays open: the trail is to be looked into whatever becomes of the run."""
    schedule.stop(run, StopCause.CANCELLED)
    sla.cancel(run, at=at)
    lifecycle.resolve(Ticket.objects.filter(transaction=run, finding=None), resolution=resolution)


NOT_STALLED = (
    "AND NOT EXISTS (SELECT 1 FROM exceptions_queue_ticket"
    " WHERE transaction_id = %s AND step_id IS NULL AND category = 'stalled' AND status IN ('open', 'retrying'))"
)


def _went_on(run: OnboardingTransaction, said: str) -> None:
    if rows := working_set.lean_of(run):
        rows.require(NOT_STALLED, [run.pk])
        return
    stalled = Ticket.objects.filter(transaction=run, step=None, category=Category.STALLED)
    lifecycle.resolve(stalled, resolution=said)


@receiver(signals.run_blocked)
def open_run_ticket(
    run: OnboardingTransaction, category: str, topic: Topic, message: str, problems: list[dict[str, str]], **_: Any
) -> None:
    lifecycle.for_run(run, category=category, topic=topic, message=message, problems=problems)


@receiver(signals.run_unblocked)
def resolve_run_ticket(run: OnboardingTransaction, **_: Any) -> None:
    """What is still to be decided about it stays open."""
    own = Ticket.objects.of_run_itself().filter(transaction=run)
    lifecycle.resolve(own.exclude(category=Category.APPROVAL_OVERDUE))


@receiver(signals.run_decided)
def resolve_decision(
    run: OnboardingTransaction, resolution: str, topic: Topic | None, asked: str, **_: Any
) -> Questions:
    """Each topic is a question of its own: what was not asked by this one is not answered with it."""
    asked_about = Ticket.objects.questions_about_run().filter(transaction=run)
    of_topic = asked_about if topic is None else asked_about.filter(topic=topic, message__contains=asked)
    answered = list(of_topic.values_list("message", flat=True))
    lifecycle.resolve(of_topic, resolution=resolution)
    return Questions(answered, list(asked_about.order_by("pk").values_list("message", flat=True)))


@receiver(signals.change_requested)
def open_change_ticket(request: ChangeRequest, **_: Any) -> None:
    sla.start_change(request)
    webhooks.tell_of_change(request)


@receiver(signals.change_decided)
def follow_change(request: ChangeRequest, by_hand: list[str], **_: Any) -> None:
    """Somebody has decided: what no step writes is still to be done, and the clock goes on until it is."""
    if by_hand:
        sla.start_change(request, by_hand=by_hand)
        return
    said = f"The change was {request.get_status_display().lower()}."
    lifecycle.resolve(Ticket.objects.filter(change_request=request), resolution=said)
    sla.meet_change(request, at=clock.now())


@receiver(signals.step_blocked)
def open_step_ticket(step: Step, *, fallback: bool, **_: Any) -> None:
    lifecycle.for_step(step, fallback=fallback)
    if fallback:
        return  # nothing more may fail
    stalled = Ticket.objects.filter(transaction=step.transaction_id, step=None, category=Category.STALLED)
    lifecycle.resolve(stalled, resolution="The cause has its own ticket.")


@receiver(signals.wait_overdue)
def is_wait_covered(step: Step, **_: Any) -> bool:
    """By a ticket of the run or the step: one wait needs no two."""
    return covering(step.transaction, Step.objects.filter(pk=step.pk)).exists()


@receiver(signals.approval_asked)
def start_approval_clock(approval: Approval, **_: Any) -> None:
    sla.start_approval(approval)


@receiver(signals.approval_decided)
def end_approval_clock(approval: Approval, **_: Any) -> None:
    sla.end_approval(approval)


@receiver(signals.step_unblocked)
def resolve_step_ticket(step: Step, resolution: str, **_: Any) -> None:
    lifecycle.resolve(Ticket.objects.filter(step=step), resolution=resolution)


@receiver(signals.step_retrying)
def follow_step(step: Step, *, requested: bool, **_: Any) -> None:
    """A ticket whose step is tried again says so; one whose step failed in the same way once more is open again."""
    for ticket in Ticket.objects.filter(step=step).unresolved().select_related("transaction"):
        lifecycle.follow(ticket, step, requested=requested)


@receiver(breaker_opened)
def open_connection_ticket(connection: Connection, status: int | None, **_: Any) -> None:
    lifecycle.for_connection(
        connection, category=connection.breaker_cause, message=connection.breaker_reason, http_status=status
    )
    facts = {"connection": connection.slug, "category": connection.breaker_cause, "status": status}
    audit.record_global("integrations.breaker.opened", actor=audit.SYSTEM, data=facts)


@receiver(breaker_closed)
def resolve_connection_ticket(connection: Connection, actor: str, **_: Any) -> None:
    open_ones = Ticket.objects.filter(connection=connection, topic=Topic.CONNECTION)
    lifecycle.resolve(open_ones, resolution=_closed_by(connection, actor))
    audit.record_global("integrations.breaker.closed", actor=actor, data={"connection": connection.slug})


def _closed_by(connection: Connection, actor: str) -> str:
    by_itself = connection.breaker_cause == BreakerCause.SERVER and actor == audit.SYSTEM
    return "The vendor works again." if by_itself else "The connection's test passed."


@receiver(connection_set)
def record_connection(connection: Connection, actor: str, secrets: list[str], voided: bool, **_: Any) -> None:
    """Evidence of who changed what."""
    facts = {"connection": connection.slug, "secrets": secrets, "voided": voided}
    audit.record_global("integrations.connection.set", actor=actor, data=facts)


@receiver(endpoint_changed)
def record_endpoint(endpoint: WebhookEndpoint, what: str, actor: str, facts: dict[str, Any], **_: Any) -> None:
    """Evidence of who lets what be told to whom."""
    data = {"endpoint": endpoint.pk, "url": endpoint.url, "types": endpoint.types, "paused": bool(endpoint.paused_at)}
    audit.record_global(f"integrations.endpoint.{what}", actor=actor, data={**data, **facts})


@receiver(event_failed)
def open_event_ticket(event: InboundEvent, message: str, **_: Any) -> None:
    lifecycle.for_connection(
        event.connection,
        category=Category.INTERNAL_ERROR,
        topic=Topic.EVENT,
        message=f"The event {event.external_id} ({event.type}) is stored but could not be processed: {message}",
    )


@receiver(event_recovered)
def resolve_event_ticket(event: InboundEvent, **_: Any) -> None:
    """The ticket closes with the last failed event of its connection."""
    _events_recovered(event.connection, except_pk=event.pk, resolution="Every stored event has been processed.")


@receiver(deals_not_looked_up)
def open_lookup_ticket(connection: Connection, message: str, **_: Any) -> None:
    """Of the same topic: what the vendor would tell is not known here."""
    lifecycle.for_connection(
        connection,
        category=Category.INTERNAL_ERROR,
        topic=Topic.EVENT,
        message=f"Won deals of which no webhook told cannot be looked for: {message}",
    )


@receiver(deals_looked_up)
def resolve_lookup_ticket(connection: Connection, **_: Any) -> None:
    _events_recovered(connection, resolution="Won deals are looked for again.")


def _events_recovered(connection: Connection, *, resolution: str, except_pk: int | None = None) -> None:
    failed = InboundEvent.objects.filter(connection=connection, state=EventState.FAILED)
    others = failed if except_pk is None else failed.exclude(pk=except_pk)
    if not others.exists():
        lifecycle.resolve(Ticket.objects.filter(connection=connection, topic=Topic.EVENT), resolution=resolution)


@receiver(signals.audit_finding_kept)
def open_finding_ticket(finding: AuditFinding, **_: Any) -> None:
    lifecycle.for_finding(finding)


@receiver(signals.mail_bounced)
def open_mail_ticket(mapping: ObjectMapping, message: str, problems: list[dict[str, str]], **_: Any) -> None:
    lifecycle.for_mapping(mapping, message=message, topic=Topic.MAIL, problems=problems)


@receiver(pre_delete, sender=ObjectMapping)
def resolve_mapping_tickets(instance: ObjectMapping, **_: Any) -> None:
    """The run has nothing to do with the object any more; the tickets about it stay, as the run's."""
    lifecycle.resolve(Ticket.objects.filter(mapping=instance), resolution="The run is no longer linked to it.")
