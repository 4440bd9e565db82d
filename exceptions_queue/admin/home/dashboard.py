"""Where people land: what waits for them, what is late, which vendors work, and how today goes.

Each card is asked for only where its reader may see what it shows, with a number of queries that does not grow with the rows.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db.models import Case, Count, F, IntegerField, OuterRef, Q, QuerySet, Subquery, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from exceptions_queue import roles
from exceptions_queue.admin.connections import health
from exceptions_queue.admin.home import live_updates
from exceptions_queue.admin.runs import changes
from exceptions_queue.admin.tickets import texts
from exceptions_queue.admin.tickets.filters import of_my_queues
from exceptions_queue.admin.ui import badges
from exceptions_queue.admin.ui.display_names import Names
from exceptions_queue.models import Ticket, TicketStatus, is_blocked, needs_no_action
from exceptions_queue.roles import SEE_PERSONAL
from exceptions_queue.sla.state import SlaState, clocks_in
from exceptions_queue.tickets import naming
from integrations import clock
from integrations.models import Connection
from onboarding.enums import NOT_PROVISIONED, UNDER_WAY, WITHDRAWN, Status, StepState, WaitsFor
from onboarding.models import OnboardingTransaction, Step
from onboarding.queues import QUEUES

SHOWN = 6
SEE_TICKETS = "exceptions_queue.view_ticket"
SEE_RUNS = "onboarding.view_onboardingtransaction"
SEE_CONNECTIONS = "integrations.view_connection"


@dataclass(frozen=True)
class TicketLine:
    """One ticket: ``todo`` is what a person does about it, or that nobody need do anything now."""

    headline: str
    todo: str
    sla: badges.Sla
    owner: str
    link: str


@dataclass(frozen=True)
class RunLine:
    customer: str
    sla: badges.Sla
    state: str
    link: str


@dataclass(frozen=True)
class ConnectionLine:
    name: str
    vendor: str
    health: SafeString
    note: str
    link: str


@dataclass(frozen=True)
class ChangeLine:
    customer: str
    asked: str
    since: SafeString | str
    link: str


@dataclass(frozen=True)
class Tile:
    """A number with what it counts, in the reader's words, and the list that it was counted from."""

    count: int
    label: str
    meaning: str
    link: str


@dataclass(frozen=True)
class QueueLine:
    name: str
    waiting: int
    late: int
    link: str


@dataclass(frozen=True)
class Backlog:
    """``steps`` wait for this connection, not for a person or another run; ``runs`` are those that a ticket of its counts."""

    steps: int = 0
    runs: int = 0


def callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """UNFOLD["DASHBOARD_CALLBACK"]."""
    user = request.user
    context |= {"title": "Home", "nothing_to_see": True}
    if not isinstance(user, User):
        return context
    context["version"] = live_updates.home_version(user)
    now = clock.now()
    behind = _backlog()
    if user.has_perm(SEE_TICKETS):
        context |= {"queue": _my_queue(user, behind), "nothing_to_see": False}
        if user.is_superuser or roles.LEADS in roles.queues_of(user):
            context["queues"] = _queues(now)
    if user.has_perm(SEE_RUNS):
        context |= {"late": _late(now), "today": _today(now), "nothing_to_see": False}
    if changes.may_decide(user) and user.has_perm(SEE_RUNS):
        context["changes"] = _changes(user)
    if user.has_perm(SEE_CONNECTIONS):
        context |= {"connections": _connections(behind), "nothing_to_see": False}
    return context


def _changes(user: User) -> dict[str, Any]:
    """Requests to change a run's data that this person may decide and nobody has yet."""
    found, names = changes.waiting_for(user), Names()
    shown = list(found[:SHOWN])
    base = reverse("admin:onboarding_onboardingtransaction_changelist")
    return {
        "lines": [
            ChangeLine(
                change.transaction.customer_name or change.transaction.onboarding_transaction_id,
                changes.asked_by(change, names),
                badges.moment(change.created_at),
                reverse("admin:onboarding_run_decide", args=[change.transaction_id, change.pk]),
            )
            for change in shown
        ],
        "count": found.count() if len(shown) == SHOWN else len(shown),
        "link": f"{base}?change=waits",
    }


def urgent(user: User) -> QuerySet[Ticket]:
    """This person's open tickets, the most urgent first. What waits for nobody comes last."""
    related = ("transaction__sla_clock", "step__connection", "connection", "owner", "mapping__connection")
    mine = of_my_queues(Ticket.objects.unresolved(), user).select_related(*related)
    # A condition on what a ticket may not have (a step, a snooze) is neither true nor false: it would sort as it likes.
    later = Case(When(needs_no_action(), then=1), default=0, output_field=IntegerField())
    return mine.alias(later=later).order_by("later", F("sla_due").asc(nulls_last=True), "pk")


def _my_queue(user: User, behind: dict[int, Backlog]) -> dict[str, Any]:
    tickets = urgent(user)
    lines = [_ticket_line(ticket, user, behind) for ticket in tickets[:SHOWN]]
    counts = tickets.aggregate(all=Count("pk"), later=Count("pk", filter=needs_no_action()))
    return {
        "lines": lines,
        "count": counts["all"] - counts["later"],
        "later": counts["later"],
        "all": counts["all"],
        "link": reverse("admin:exceptions_queue_ticket_changelist"),
    }


def _ticket_line(ticket: Ticket, user: User, behind: dict[int, Backlog]) -> TicketLine:
    waiting = behind.get(ticket.connection_id or 0, Backlog()).runs
    story = texts.story(ticket, waiting_runs=waiting, may_see=user.has_perm(SEE_PERSONAL))
    todo = story.todo
    if ticket.is_snoozed:
        todo = f"Snoozed by {ticket.snoozed_by} until {ticket.snoozed_until:%H:%M} UTC: {ticket.snooze_reason}"
    elif ticket.is_open and (held_up := naming.held_up(ticket)):
        todo = held_up
    elif ticket.status == TicketStatus.RETRYING:
        todo = "It is being retried now."
    elif ticket.next_retry:
        todo = f"Firstvalue retries automatically {badges.soon(ticket.next_retry)}. {todo}"
    return TicketLine(
        story.headline,
        todo,
        badges.ticket_sla(ticket),
        "yours" if ticket.owner == user else badges.person(ticket.owner) or ticket.get_queue_display(),
        reverse("admin:exceptions_queue_ticket_change", args=[ticket.pk]),
    )


def _queues(now: datetime) -> list[QueueLine]:
    late = Count("pk", filter=Q(sla_due__lte=now, transaction__provisioned_at=None))
    rows = Ticket.objects.unresolved().order_by().values("queue").annotate(n=Count("pk"), late=late)
    counted = {row["queue"]: (row["n"], row["late"]) for row in rows}
    base = reverse("admin:exceptions_queue_ticket_changelist")
    return [QueueLine(name, *counted.get(slug, (0, 0)), f"{base}?queue={slug}") for slug, name in QUEUES.items()]


def _late(now: datetime) -> dict[str, Any]:
    """Runs whose present clock is at risk or breached and still runs, the one due first first."""
    runs = OnboardingTransaction.objects.filter(clocks_in([SlaState.AT_RISK, SlaState.BREACHED], now))
    asked = Ticket.objects.filter(transaction=OuterRef("pk")).unresolved().order_by("pk").values("queue")
    told = runs.annotate(blocked=is_blocked(), asked=Subquery(asked[:1]))
    shown = list(told.select_related("sla_clock").order_by("sla_clock__due_at", "pk")[:SHOWN])
    base = reverse("admin:onboarding_onboardingtransaction_changelist")
    return {
        "lines": [_run_line(run) for run in shown],
        "count": runs.count() if len(shown) == SHOWN else len(shown),
        "link": f"{base}?sla=late",
    }


def _run_line(run: OnboardingTransaction) -> RunLine:
    if queue := getattr(run, "asked", None):
        state = f"Waiting for {QUEUES[queue]}"
    elif getattr(run, "blocked", False):
        state = "Blocked: waiting for a connection or another run"
    elif run.held_at:
        state = "On hold until somebody resumes it"
    elif run.status == Status.READY_FOR_KICKOFF:
        state = "Provisioned: waiting for the kickoff to be scheduled"
    else:
        state = f"{run.get_status_display()}: in progress"
    return RunLine(
        run.customer_name or run.onboarding_transaction_id,
        badges.run_sla(run),
        state,
        reverse("admin:onboarding_onboardingtransaction_change", args=[run.pk]),
    )


def _today(now: datetime) -> list[Tile]:
    """What became of the runs that were paid since midnight UTC."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    runs = OnboardingTransaction.objects.filter(occurred_at__gte=midnight)
    blocked = runs.under_way().filter(is_blocked())
    counts = runs.aggregate(
        paid=Count("pk"),
        complete=Count("pk", filter=Q(status=Status.COMPLETE)),
        open=Count("pk", filter=Q(status__in=UNDER_WAY)),
        held=Count("pk", filter=Q(status__in=UNDER_WAY, held_at__isnull=False)),
        kickoff=Count("pk", filter=Q(status=Status.READY_FOR_KICKOFF, held_at=None)),
        given_up=Count("pk", filter=Q(status__in=WITHDRAWN)),
    )
    stuck = blocked.aggregate(
        held=Count("pk", filter=Q(held_at__isnull=False)),
        kickoff=Count("pk", filter=Q(status=Status.READY_FOR_KICKOFF, held_at=None)),
        all=Count("pk"),
    )
    held, kickoff = counts["held"] - stuck["held"], counts["kickoff"] - stuck["kickoff"]
    since = {"occurred_at__gte": midnight.isoformat()}
    not_done = {"status__in": ",".join(UNDER_WAY)}
    base = reverse("admin:onboarding_onboardingtransaction_changelist")

    def tile(count: int, label: str, meaning: str, **query: str) -> Tile:
        return Tile(count, label, meaning, f"{base}?{urlencode(since | query)}")

    return [
        tile(counts["paid"], "paid today", "customers, since midnight UTC"),
        tile(counts["complete"], "complete", "provisioned, nothing left to do", status=Status.COMPLETE.value),
        tile(
            counts["open"] - stuck["all"] - held - kickoff,
            "in progress",
            "they continue automatically",
            blocked="no",
            held="no",
            status__in=",".join(NOT_PROVISIONED),
        ),
        tile(
            kickoff,
            "provisioned",
            "waiting for their kickoff",
            blocked="no",
            held="no",
            status=Status.READY_FOR_KICKOFF.value,
        ),
        tile(stuck["all"], "blocked", "blocked by an open ticket", blocked="yes", **not_done),
        *([tile(held, "on hold", "until somebody resumes them", blocked="no", held="yes", **not_done)] if held else []),
        *(
            [tile(counts["given_up"], "cancelled", "cancelled or rolled back", status__in=",".join(WITHDRAWN))]
            if counts["given_up"]
            else []
        ),
    ]


def _backlog() -> dict[int, Backlog]:
    due = Step.objects.startable().filter(connection__isnull=False)
    for_a_person = Q(state=StepState.BLOCKED, due_at=None)
    waiting = Count("pk", filter=~Q(state=StepState.RUNNING) & ~for_a_person & ~Q(waits_for=WaitsFor.RESERVATION))
    rows = due.order_by().values("connection").annotate(n=waiting, runs=Count("transaction", distinct=True))
    return {row["connection"]: Backlog(row["n"], row["runs"]) for row in rows}


def _connections(behind: dict[int, Backlog]) -> list[ConnectionLine]:
    rank = {badges.BAD: 0, badges.RISK: 1, badges.MUTED: 2, badges.OK: 3}
    rows = [(connection, health.of(connection)) for connection in Connection.objects.all()]
    rows.sort(key=lambda row: rank[row[1].tone])  # stable: within a rank in the connections' own order
    return [
        ConnectionLine(
            connection.slug,
            f"{connection.get_system_display()} · {naming.vendor(connection)}",
            how.badge,
            " · ".join(filter(None, (_waits(behind.get(connection.pk, Backlog()).steps), how.more))),
            reverse("admin:integrations_connection_change", args=[connection.pk]),
        )
        for connection, how in rows
    ]


def _waits(steps: int) -> str:
    return {0: "", 1: "1 step waits"}.get(steps, f"{steps} steps wait")
