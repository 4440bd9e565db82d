"""Opening, renewing and resolving tickets, inside the database transaction of what they are about."""

from datetime import datetime
from typing import Any

from django.db import transaction as db

from exceptions_queue.models import PARTS, Milestone, SlaClock, Ticket, TicketQuerySet, TicketStatus
from exceptions_queue.notifications import alerts, webhooks
from exceptions_queue.roles import LEADS
from exceptions_queue.tickets import catalogue, routing
from exceptions_queue.tickets.catalogue_entry import ENGINEERING
from integrations import clock
from integrations.enums import System
from integrations.models import Connection
from integrations.outbound.events import EventType
from onboarding import audit
from onboarding.enums import Category, Topic
from onboarding.models import AuditFinding, ChangeRequest, ObjectMapping, OnboardingTransaction, Step
from onboarding.payload import catalogue as fields_of
from onboarding.payload.schema import declared
from onboarding.sla_targets import INVOICE, KICKOFF, p1_due


def for_step(step: Step, *, fallback: bool = False) -> Ticket:
    """Open or renew the step's ticket. ``fallback``: routing failed before, so only what cannot fail is used."""
    run = step.transaction
    topic = Topic.APPROVAL if step.category == Category.APPROVAL_OVERDUE else Topic.NONE
    queue = ENGINEERING
    if not fallback:
        queue = routing.queue_for(step.category, step.system, step.problems, _queue_of(step), topic)
    return _open(
        {"step": step},
        run=run,
        topic=topic,
        fields={
            "transaction": run,
            "category": step.category,
            "system": step.system,
            "queue": queue,
            "owner": None if fallback else routing.owner_for(queue, run),
            "message": step.message,
            "http_status": step.http_status,
            "problems": step.problems,
            "candidates": step.candidates,
            "sla_due": _due_of_step(step),
            "fingerprint": routing.fingerprint(step.system, step.key, step.category, step.http_status, step.message),
        },
    )


def for_run(
    run: OnboardingTransaction,
    *,
    category: str,
    message: str,
    problems: list[dict[str, str]],
    topic: Topic = Topic.NONE,
) -> Ticket:
    """Open or renew the run's own ticket of this topic. Said again in the same words, by the watchdog say, it is no news."""
    there = Ticket.objects.of_run_itself().unresolved().filter(transaction=run, topic=topic).first()
    told = (category, message, problems, TicketStatus.OPEN)
    if there and (there.category, there.message, there.problems, there.status) == told:
        return there
    queue = routing.queue_for(category, System.WORKFLOW, problems, topic=topic)
    return _open(
        {"transaction": run, **dict.fromkeys(PARTS)},
        run=run,
        topic=topic,
        fields={
            "category": category,
            "system": System.WORKFLOW,
            "queue": queue,
            "owner": routing.owner_for(queue, run),
            "message": message,
            "problems": problems,
            "sla_due": due_of(run),
            "fingerprint": routing.fingerprint(System.WORKFLOW, "gate", category, None, message),
        },
    )


def for_change(request: ChangeRequest, *, by_hand: list[str], due: datetime) -> Ticket:
    """Open the ticket of a change request that waits for a decision; or, with ``by_hand``, for somebody at the vendor."""
    run = request.transaction
    category = Category.VALIDATION_ERROR if by_hand else Category.APPROVAL_OVERDUE
    changed = [{"path": path} for path in request.paths]
    queue = routing.queue_for(category, System.WORKFLOW, changed, topic=Topic.CHANGE)
    fields = fields_of.labels(declared(request.paths))
    message = " ".join(by_hand) if by_hand else f"Apply or reject the change of: {fields}."
    return _open(
        {"change_request": request},
        run=run,
        topic=Topic.CHANGE,
        fields={
            "transaction": run,
            "category": category,
            "system": System.WORKFLOW,
            "queue": queue,
            "owner": routing.owner_for(queue, run),
            "message": message,
            "sla_due": due,
            "fingerprint": routing.fingerprint(System.WORKFLOW, "change", category, None, message),
        },
    )


def for_mapping(
    mapping: ObjectMapping,
    *,
    message: str,
    topic: Topic = Topic.OBJECT,
    problems: list[dict[str, str]] | None = None,
) -> Ticket:
    """An object at a vendor is not what the run has on record, or a mail did not arrive. It holds nothing up."""
    run, system = mapping.transaction, mapping.connection.system
    queue = routing.queue_for(Category.VALIDATION_ERROR, system, problems or [], topic=topic)
    return _open(
        {"mapping": mapping},
        run=run,
        topic=topic,
        fields={
            "transaction": run,
            "category": Category.VALIDATION_ERROR,
            "system": system,
            "queue": queue,
            "owner": routing.owner_for(queue, run),
            "message": message,
            "problems": problems or [],
            "fingerprint": routing.fingerprint(system, mapping.step.key, Category.VALIDATION_ERROR, None, message),
        },
    )


def for_finding(finding: AuditFinding) -> Ticket:
    """The audit trail is not as it was written; a person looks into it. It holds nothing up."""
    queue = routing.queue_for(Category.INTERNAL_ERROR, System.WORKFLOW, [], topic=Topic.AUDIT)
    return _open(
        {"finding": finding},
        run=finding.transaction,
        topic=Topic.AUDIT,
        fields={
            "transaction": finding.transaction,
            "category": Category.INTERNAL_ERROR,
            "system": System.WORKFLOW,
            "queue": queue,
            "message": finding.text,
            "fingerprint": routing.fingerprint(System.WORKFLOW, "audit", Category.INTERNAL_ERROR, None, finding.text),
        },
    )


def for_connection(
    connection: Connection,
    *,
    category: str,
    message: str,
    http_status: int | None = None,
    topic: Topic = Topic.CONNECTION,
) -> Ticket:
    return _open(
        {"connection": connection},
        run=None,
        topic=topic,
        fields={
            "category": category,
            "system": connection.system,
            "queue": routing.queue_for(category, connection.system, [], topic=topic),
            "message": message,
            "http_status": http_status,
            "sla_due": earliest_due(connection),
            "fingerprint": routing.fingerprint(connection.system, connection.slug, category, http_status, message),
        },
    )


def _queue_of(step: Step) -> str:
    """The playbook's word; a kickoff that nobody schedules is no vendor's failure, so without one the leads chase it."""
    return step.queue or (LEADS if step.uses == KICKOFF and step.category == Category.STALLED else "")


def due_of(run: OnboardingTransaction) -> datetime:
    """When the run's present clock is due."""
    current = SlaClock.objects.filter(current_of=run).first()
    return current.due_at if current else p1_due(run)


def _due_of_step(step: Step) -> datetime:
    """When the run's present clock is due; of the step that has a clock of its own beside it, when that is."""
    own = SlaClock.objects.filter(transaction=step.transaction_id, milestone=Milestone.INVOICE, ended_at=None)
    running = own.first() if step.uses == INVOICE else None
    return running.due_at if running else due_of(step.transaction)


def earliest_due(connection: Connection) -> datetime | None:
    """When the first of the runs that need this connection is due; None where none waits."""
    waiting = Step.objects.filter(connection=connection, finished_at=None).values("transaction")
    first = SlaClock.objects.filter(transaction__in=waiting, ended_at=None).order_by("due_at").first()
    return first.due_at if first else None


def resolve(tickets: TicketQuerySet, *, resolution: str = "") -> None:
    """Close open tickets; their subject has passed. Without a ``resolution`` each says what its catalogue entry calls that."""
    found = list(tickets.unresolved().select_related("transaction"))
    for ticket in found:
        ticket.resolve(at=clock.now(), resolution=resolution or catalogue.of(ticket).passed)
        ticket.save()
    for ticket in found:
        webhooks.tell_of_ticket(ticket, EventType.EXCEPTION_RESOLVED)
    for ticket in found:  # after all of them: no ticket is locked once the audit trail's own chain is
        _audit(ticket, ticket.transaction, "exceptions.ticket.resolved")


def _open(
    subject: dict[str, Any], *, run: OnboardingTransaction | None, topic: Topic, fields: dict[str, Any]
) -> Ticket:
    with db.atomic():
        about = Ticket.objects.filter(**subject, topic=topic)
        ticket = about.unresolved().first()
        if ticket:
            name = "exceptions.ticket.renewed"
            _renew(ticket, fields)
        else:
            name = "exceptions.ticket.opened"
            before = about.order_by("-pk").first()
            ticket = Ticket(**{**subject, **fields}, topic=topic, retry_of=before, opened_at=clock.now())
            ticket.save(force_insert=True)
            webhooks.tell_of_ticket(ticket, EventType.EXCEPTION_OPENED)
            alerts.queue_failure(ticket)
        _audit(ticket, run, name)
        alerts.queue_late(ticket)
        return ticket


def _renew(ticket: Ticket, fields: dict[str, Any]) -> None:
    if ticket.owner_id or ticket.category == fields["category"]:
        fields.pop("owner", None)  # a person keeps what was given to them
    if ticket.category != fields["category"] or ticket.problems != fields.get("problems", ticket.problems):
        ticket.unsnooze()  # it was put aside for something else
    if ticket.category == fields["category"]:
        fields.pop("queue")  # and a queue too: the same trouble stays where somebody sent it
    for name, value in fields.items():
        setattr(ticket, name, value)
    ticket.renew()
    ticket.save()


def follow(ticket: Ticket, step: Step, *, requested: bool) -> None:
    """The step is about to be tried again, or was and failed in the same way."""
    ticket.message, ticket.http_status = step.message or ticket.message, step.http_status
    if requested:
        ticket.unsnooze()
        ticket.retry()
    else:
        ticket.renew()
    ticket.save()
    _audit(ticket, ticket.transaction, f"exceptions.ticket.{'retrying' if requested else 'renewed'}")


def _audit(ticket: Ticket, run: OnboardingTransaction | None, name: str) -> None:
    if run:
        audit.record(run, name, data=_facts(ticket))
    else:
        audit.record_global(name, actor=audit.SYSTEM, data=_facts(ticket))


def _facts(ticket: Ticket) -> dict[str, Any]:
    about = {"topic": ticket.topic} if ticket.topic else {}
    return {
        **about,
        "ticket": ticket.pk,
        "category": ticket.category,
        "queue": ticket.queue,
        "owner": str(ticket.owner or ""),
    }
