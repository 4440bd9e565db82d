"""Everything that a ticket's page shows, gathered with a fixed number of queries."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.urls import reverse

from exceptions_queue.admin.connections.health import left
from exceptions_queue.admin.tickets import cards as ticket_cards
from exceptions_queue.admin.tickets import facts as ticket_facts
from exceptions_queue.admin.tickets import texts
from exceptions_queue.admin.ui import badges
from exceptions_queue.admin.ui.display_names import Names
from exceptions_queue.admin.ui.timeline import entries, of_connection_ticket
from exceptions_queue.models import Ticket, TicketNote, TicketStatus
from exceptions_queue.roles import SEE_PERSONAL
from exceptions_queue.tickets import catalogue, naming
from exceptions_queue.tickets.declaration import Place
from integrations import clock
from integrations.enums import Breaker
from integrations.http.redaction import redact, redact_text
from integrations.models import ApiCall, Connection
from onboarding.archive.history import archived_history, attempts_of, calls_of, entries_of, named
from onboarding.enums import Category, ChangeStatus, Status, StepState, WaitsFor
from onboarding.models import Attempt, ObjectMapping, OnboardingTransaction, Step, StepPoll
from onboarding.payload import catalogue as fields
from onboarding.steps.base import Facts
from onboarding.steps.registry import HANDLERS

SOON = timedelta(seconds=15)
TAKEN_BACK, KEPT = "onboarding.object.taken-back", "onboarding.object.kept"


@dataclass(frozen=True)
class RollbackSummary:
    """What a rollback did with a step's objects: how many it removed, and how many it could not or must not."""

    removed: int = 0
    kept: int = 0
    sent: bool = False
    """What the step makes is a message, which nobody can undo."""

    @property
    def label(self) -> str:
        """The step's state in a word or two."""
        if self.removed:
            return "Removed"
        return ("Sent" if self.sent else "Kept") if self.kept else "Nothing created"

    @property
    def note(self) -> str:
        if self.sent and self.kept:
            return "was sent and cannot be undone"
        kept = f"{self.kept} kept, as others use it or this run only found it" if self.kept else ""
        if not self.removed:
            return kept.removeprefix("1 ") or "nothing was created, so there is nothing to remove"
        return f"{self.removed} removed, {kept}" if kept else "removed"


@dataclass(frozen=True)
class Row:
    """One step as the progress line shows it."""

    step: Step
    name: str
    icon: str
    tone: str
    note: str
    link: str = ""
    external_id: str = ""
    here: bool = False
    left: RollbackSummary | None = None
    """What a rollback left of it, once it is through with the step."""

    @property
    def vendor(self) -> str:
        return naming.vendor(self.step.connection)

    @property
    def parked(self) -> bool:
        """Ready, and kept back by its connection's open breaker."""
        return is_parked(self.step) and self.step.due_at is not None


def load(pk: int) -> Ticket:
    """Raises ``Ticket.DoesNotExist``."""
    related = (
        *("transaction__sla_clock", "step__connection", "connection", "change_request", "owner", "retry_of"),
        *("mapping__connection", "mapping__step", "finding"),
    )
    return Ticket.objects.select_related(*related).get(pk=pk)


def context(ticket: Ticket, user: User, *, forms: dict[str, Any] | None = None) -> dict[str, Any]:
    """``forms``: bound forms to show again with what was entered."""
    run = ticket.transaction
    may_see, names = user.has_perm(SEE_PERSONAL), Names()
    told = timeline(run, may_see=may_see) if run else _connection_timeline(ticket, may_see=may_see)
    message = ticket.message if may_see else redact_text(ticket.message)
    cards = ticket_cards.cards(ticket, user, message=message, bound=forms)
    return {
        **live(ticket, user),
        "cards": cards,
        "main_cards": ticket_cards.placed(cards, Place.MAIN),
        "other_cards": ticket_cards.placed(cards, Place.OTHER),
        "side_cards": ticket_cards.placed(cards, Place.SIDE),
        "decides": ticket.category == Category.APPROVAL_OVERDUE and "skip" in cards,
        "runbook": catalogue.runbook(ticket) if ticket.is_open else [],
        "decide_url": _decide_url(ticket, user),
        "rollback_url": _rollback_url(ticket) if "rollback" in cards else "",
        "message": message,
        "candidates": [_candidate(candidate, may_see=may_see) for candidate in ticket.candidates],
        "name_if_taken": _name_if_taken(ticket, may_see=may_see) if "choose-match" in cards else "",
        "kind": naming.kind(ticket),
        "kinds": naming.plural(naming.kind(ticket)),
        "vendor": naming.vendor_of(ticket),
        "other_problems": _other_problems(ticket, may_see=may_see),
        "connection_url": _connection_url(ticket, user),
        "mend_connection": ticket.is_open and ticket.category in (Category.AUTH_ERROR, Category.NOT_CONFIGURED),
        "attempts": _attempts(run, ticket.step, may_see=may_see) if run and ticket.step else [],
        "polled": polled(ticket.step) if ticket.step else "",
        "calls": _calls(ticket, user),
        "archived": archived_history(run).notes if run else [],
        "timeline": told,
        "notes": _notes(ticket, names, may_see=may_see),
        "held_up": held_up(ticket.connection) if ticket.connection and ticket.is_open else [],
        "facts": ticket_facts.facts(ticket, names, may_see=may_see),
        "details": ticket_facts.details(ticket),
        "links": ticket_facts.links(ticket),
    }


def _decide_url(ticket: Ticket, user: User) -> str:
    """Where the change that the ticket asks about is applied or rejected; empty for those who may not."""
    change = ticket.change_request
    if change is None or change.status != ChangeStatus.OPEN or not user.has_perm("onboarding.apply_change"):
        return ""
    return reverse("admin:onboarding_run_decide", args=[change.transaction_id, change.pk])


def live(ticket: Ticket, user: User) -> dict[str, Any]:
    """What changes while people look: the headline, the state and the steps."""
    rows = progress(ticket.transaction, ticket.step) if ticket.transaction else []
    waiting = waiting_runs(ticket.connection) if ticket.connection else 0
    version = [
        ticket.status,
        ticket.category,
        ticket.topic,
        ticket.problems,
        ticket.candidates,
        ticket.queue,
        ticket.owner_id,
    ]
    version += [ticket.snoozed_until, ticket.message, ticket.notes.count()]
    if run := ticket.transaction:
        version += [run.status, run.held_at, run.snapshot_version]
    return {
        "ticket": ticket,
        "story": texts.story(ticket, waiting_runs=waiting, may_see=user.has_perm(SEE_PERSONAL)),
        "customer": naming.customer(ticket),
        "sla": badges.ticket_sla(ticket),
        "category_badge": badges.category(ticket),
        "rows": rows,
        "now": state_of(ticket, rows),
        "moving": is_moving(ticket, rows),
        "said_by": naming.vendor(ticket.step.connection) if ticket.step and ticket.http_status else "",
        "version": hashlib.sha256(repr([*version, user.pk]).encode()).hexdigest()[:16],
    }


def state_of(ticket: Ticket, rows: list[Row]) -> dict[str, str]:
    """Where it stands, as a banner: tone, icon and sentence."""
    run = ticket.transaction
    if ticket.is_open:
        if text := naming.held_up(ticket):
            return {"tone": badges.RISK, "icon": "pause_circle", "text": text}
        if ticket.is_snoozed and ticket.snoozed_until:
            until = f"{ticket.snoozed_until:%H:%M} UTC ({badges.when(ticket.snoozed_until)})"
            text = f"Snoozed by {ticket.snoozed_by} until {until}: {ticket.snooze_reason}"
            return {"tone": badges.MUTED, "icon": "snooze", "text": text}
        if ticket.status == TicketStatus.RETRYING:
            return {
                "tone": badges.INFO,
                "icon": "sync",
                "text": "It is being retried now. This page updates by itself.",
            }
        if ticket.connection and ticket.connection.breaker == Breaker.HALF_OPEN:
            text = f"{naming.vendor(ticket.connection)} answers again; one trial step is running. This page updates by itself."
            return {"tone": badges.INFO, "icon": "sync", "text": text}
        if ticket.next_retry:
            text = f"Firstvalue retries automatically {badges.soon(ticket.next_retry)}."
            return {"tone": badges.INFO, "icon": "schedule", "text": text}
        return {
            "tone": badges.RISK,
            "icon": "front_hand",
            "text": f"Waiting for {badges.person(ticket.owner) or ticket.get_queue_display()}.",
        }
    done = f"Resolved {badges.when(ticket.resolved_at)}. {ticket.resolution}".strip()
    if ticket.connection and (still := left(ticket.connection)):
        return {"tone": badges.INFO, "icon": "sync", "text": f"{done} Parked runs resume: {still}."}
    if run is None or run.status == Status.COMPLETE:
        more = " The run is complete." if run else ""
        return {"tone": badges.OK, "icon": "check_circle", "text": f"{done}{more}"}
    if not run.may_advance:
        text = f"{done} The run is {run.get_status_display().lower()}; no further steps run."
        return {"tone": badges.INFO, "icon": "cancel", "text": text}
    stuck = [row.name for row in rows if row.step.state == StepState.BLOCKED]
    if not stuck and any(row.parked for row in rows):
        text = f"{done} The run waits until its connection works again."
        return {"tone": badges.RISK, "icon": "pause_circle", "text": text}
    passed = sum(row.step.is_done for row in rows)
    more = (
        f"The run continues: {passed} of {len(rows)} steps are done."
        if not stuck
        else f"Another step is blocked: {stuck[0]}."
    )
    return {"tone": badges.OK, "icon": "check_circle", "text": f"{done} {more}"}


def is_moving(ticket: Ticket, rows: list[Row]) -> bool:
    """Whether something is about to change by itself, so that the page should follow it."""
    if ticket.is_open and ticket.status == TicketStatus.RETRYING and not held_back(ticket):
        return True
    if ticket.connection and (ticket.connection.probe_at if ticket.is_open else left(ticket.connection)):
        return True
    soon = clock.now() + SOON
    going = [row.step for row in rows if row.step.due_at is not None and not is_held_back(row.step)]
    due = [step for step in going if step.due_at is not None and step.due_at <= soon]
    return bool(due) or any(row.step.state == StepState.RUNNING for row in rows)


def progress(run: OnboardingTransaction, here: Step | None = None) -> list[Row]:
    """The run's steps in playbook order."""
    steps = list(run.steps.select_related("connection", "poll").order_by("position"))
    done = {step.key for step in steps if step.is_done}
    names = {step.key: naming.title(step) for step in steps}
    mappings: dict[int, list[ObjectMapping]] = {}
    for mapping in run.mappings.exclude(item__startswith=ObjectMapping.FORMER).order_by("pk"):
        mappings.setdefault(mapping.step_id, []).append(mapping)
    rows, ended = [], _rolled_back(run) if run.rollback_at else {}
    for step in steps:
        icon, tone = step_badge(step)
        mine = mappings.get(step.pk, [])
        left = _rollback_summary(step, mine, ended) if step.state == StepState.COMPENSATED else None
        only = mine[0] if len(mine) == 1 else None
        rows.append(
            Row(
                step,
                names[step.key],
                icon,
                tone,
                left.note
                if left
                else _note(step, [names[key] for key in step.after if key not in done and key in names], mine),
                link=safe_link(only.url) if only else "",
                external_id=only.external_id if only else "",
                here=bool(here and here.pk == step.pk),
                left=left,
            )
        )
    return rows


def _rolled_back(run: OnboardingTransaction) -> dict[tuple[str, str], int]:
    """How many objects the rollback removed and how many it kept, by the step's key and the audit entry's name."""
    return Counter((str(entry.data.get("step", "")), entry.name) for entry in named(run, TAKEN_BACK, KEPT))


def _rollback_summary(step: Step, mappings: list[ObjectMapping], ended: dict[tuple[str, str], int]) -> RollbackSummary:
    sent = HANDLERS[step.uses].irrevocable
    return RollbackSummary(ended.get((step.key, TAKEN_BACK), 0), ended.get((step.key, KEPT), 0) + len(mappings), sent)


def step_badge(step: Step) -> tuple[str, str]:
    """Icon and tone of a step's state."""
    if is_parked(step) and step.due_at is not None:
        return "pause_circle", badges.RISK
    return badges.STEP_BADGES.get(StepState(step.state), ("help", badges.MUTED))


def _note(step: Step, before: list[str], mappings: list[ObjectMapping]) -> str:
    match step.state:
        case StepState.SUCCEEDED if mappings:
            return _made(mappings)
        case StepState.SUCCEEDED:
            return "done"
        case StepState.SKIPPED:
            return "skipped"
        case StepState.RUNNING:
            return "in progress"
        case StepState.COMPENSATING:
            return "being removed" if step.lease_until else "removed after the later steps"
        case _ if is_parked(step) and not before:
            return f"parked: {naming.why_stopped(step.connection)}"
        case StepState.BLOCKED if is_held_back(step):
            return f"blocked ({step.get_category_display().lower()}); waits for the connection {step.connection}"
        case StepState.BLOCKED if step.due_at:
            return f"blocked ({step.get_category_display().lower()}); retried {badges.soon(step.due_at)}"
        case StepState.BLOCKED:
            return f"blocked: {step.get_category_display().lower()}"
        case StepState.WAITING if step.waits_for == WaitsFor.REPORT:
            return f"waits until it is reported: {naming.lowered(step.get_awaits_display())}"
        case StepState.WAITING:
            what = step.get_waits_for_display().lower() if step.waits_for else "a free slot"
            return "; ".join(part for part in (f"waits for {what}", polled(step)) if part)
    return f"then, after: {naming.lowered(before[0])}" if before else "about to begin"


def polled(step: Step) -> str:
    """How often the vendor was asked whether what the step awaits is done: ``checked 12 times, last 4 min ago``."""
    poll: StepPoll | None = getattr(step, "poll", None)
    if poll is None or not poll.count:
        return ""
    return f"checked {poll.count} time{'s' if poll.count > 1 else ''}, last {badges.when(poll.last_at)}"


def _made(mappings: list[ObjectMapping]) -> str:
    if len(mappings) == 1:
        return how(mappings[0])
    made = sum(mapping.created_by_us for mapping in mappings)
    return f"{made} created, {len(mappings) - made} found" if made < len(mappings) else f"{made} created"


def how(mapping: ObjectMapping) -> str:
    return "created" if mapping.created_by_us else f"found ({mapping.how})"


def is_parked(step: Step) -> bool:
    broken = step.connection is not None and step.connection.is_stopped
    return broken and step.state != StepState.BLOCKED and not step.is_done


def is_held_back(step: Step) -> bool:
    """It would be tried again by itself, were it not for its connection's open breaker."""
    broken = step.connection is not None and step.connection.breaker == Breaker.OPEN
    return broken and step.due_at is not None and not step.is_done


def held_back(ticket: Ticket) -> Connection | None:
    """The connection whose open breaker keeps the ticket's step from being tried again."""
    return ticket.step.connection if ticket.step and is_held_back(ticket.step) else None


def safe_link(url: str) -> str:
    """Links come from vendors' answers: only web addresses become links."""
    return url if url.startswith(("https://", "http://")) else ""


def _other_problems(ticket: Ticket, *, may_see: bool) -> list[dict[str, str]]:
    """What the vendor refused and no field of ours stands for."""
    found = [problem for problem in ticket.problems if problem.get("path", "") not in fields.BY_PATH]
    return found if may_see else [{**each, "reason": redact_text(each["reason"])} for each in found]


def _candidate(found: dict[str, Any], *, may_see: bool) -> dict[str, Any]:
    if not may_see:
        found = {**found, "label": redact_text(found.get("label", "")), "evidence": redact(found.get("evidence", {}))}
    evidence = {name: badges.readable(value) for name, value in found.get("evidence", {}).items()}
    return {**found, "evidence": evidence, "link": safe_link(found.get("url", ""))}


def _attempts(run: OnboardingTransaction, step: Step, *, may_see: bool) -> list[tuple[Attempt, str]]:
    found = attempts_of(run, step)[:-21:-1]
    for attempt in found if not may_see else ():
        attempt.message = redact_text(attempt.message)
    return [(attempt, texts.outcome(attempt)) for attempt in found]


def _notes(ticket: Ticket, names: Names, *, may_see: bool) -> list[tuple[TicketNote, str, str]]:
    """Each with its author's name and its text."""
    return [
        (note, names.person(note.author), note.text if may_see else redact_text(note.text, len(note.text) + 20))
        for note in ticket.notes.all()
    ]


def _name_if_taken(ticket: Ticket, *, may_see: bool) -> str:
    if ticket.step is None or ticket.transaction is None:
        return ""
    run = ticket.transaction
    name = HANDLERS[ticket.step.uses].name_if_taken(
        Facts(run.payload, run.onboarding_transaction_id, item=ticket.step.item)
    )
    return name if may_see else redact_text(name)


def _rollback_url(ticket: Ticket) -> str:
    """Where the run's rollback is asked about, with a preview; none while one is under way."""
    if ticket.transaction is None or ticket.transaction.is_rolling_back:
        return ""
    return reverse("admin:onboarding_run_act", args=[ticket.transaction.pk, "rollback"])


def _calls(ticket: Ticket, user: User) -> list[dict[str, Any]]:
    if not user.has_perm("integrations.view_apicall"):
        return []
    if ticket.step and ticket.transaction:
        return badges.calls(calls_of(ticket.transaction, [f"step:{ticket.step_id}"], 20))
    return (
        badges.calls(ApiCall.objects.filter(connection=ticket.connection).order_by("-pk")[:10])
        if ticket.connection
        else []
    )


def timeline(run: OnboardingTransaction, *, may_see: bool) -> list[dict[str, Any]]:
    return entries(entries_of(run, 60), may_see=may_see)


def _connection_timeline(ticket: Ticket, *, may_see: bool) -> list[dict[str, Any]]:
    return entries(of_connection_ticket(ticket)[:60], may_see=may_see)


def waiting_runs(connection: Connection | None) -> int:
    """Runs with a step that is due or blocked at this connection."""
    return _waiting(connection).values("transaction").distinct().count()


def held_up(connection: Connection) -> list[tuple[str, str]]:
    """Those runs, the most urgent first: (customer, address)."""
    runs = OnboardingTransaction.objects.filter(pk__in=_waiting(connection).values("transaction")).order_by(
        "occurred_at"
    )
    return [(run.customer_name or run.onboarding_transaction_id, run_url(run)) for run in runs[:20]]


def _waiting(connection: Connection | None) -> QuerySet[Step]:
    return Step.objects.startable().filter(connection=connection)


def run_url(run: OnboardingTransaction) -> str:
    return reverse("admin:onboarding_onboardingtransaction_change", args=[run.pk])


def _connection_url(ticket: Ticket, user: User) -> str:
    connection = ticket.connection or (ticket.step.connection if ticket.step else None)
    if connection is None or not user.has_perm("integrations.view_connection"):
        return ""
    return reverse("admin:integrations_connection_change", args=[connection.pk])
