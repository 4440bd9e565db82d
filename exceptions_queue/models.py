"""What people must decide: tickets, the SLA clocks of each run, and the alerts that were sent."""

from datetime import datetime
from itertools import combinations
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Coalesce
from django.urls import reverse
from django_fsm import FSMField, transition

from integrations import clock as clocks
from integrations.models import Connection
from integrations.words import STOPPED, Breaker, System
from onboarding.models import Attempt, AuditFinding, ChangeRequest, ObjectMapping, OnboardingTransaction, Step
from onboarding.queues import QUEUES
from onboarding.sla import KICKOFF
from onboarding.words import Category, ChangeStatus, StepState, Topic, WaitsFor


class TicketStatus(models.TextChoices):
    OPEN = "open", "Open"
    RETRYING = "retrying", "Retrying"
    RESOLVED = "resolved", "Resolved"


UNRESOLVED = (TicketStatus.OPEN, TicketStatus.RETRYING)


class Queue(models.Model):
    """A team that owns tickets; its members are the users in the group of the same name."""

    slug = models.CharField(max_length=32, unique=True, choices=list(QUEUES.items()), editable=False)
    email = models.EmailField(blank=True, help_text="Where mail for the whole team goes; empty: to each member.")

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return QUEUES.get(self.slug, self.slug)


class CrmOwner(models.Model):
    """Which of our people an owner in the CRM is."""

    crm_owner_id = models.CharField("CRM owner id", max_length=100, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="crm_owner_ids")

    class Meta:
        verbose_name = "CRM owner"

    def __str__(self) -> str:
        return f"{self.crm_owner_id}: {self.user}"


PARTS = ("step", "change_request", "mapping", "finding")
"""What of a run a ticket may be about, at most one of them."""
HOLD_NOTHING_UP = ("change_request", "mapping", "finding")


def _none_of(*names: str) -> Q:
    return Q(**{f"{name}__isnull": True for name in names})


def _at_most_one_of(*names: str) -> Q:
    pairs = Q()
    for one, other in combinations(names, 2):
        pairs &= Q(**{f"{one}__isnull": True}) | Q(**{f"{other}__isnull": True})
    return pairs


class TicketQuerySet(models.QuerySet["Ticket"]):
    def unresolved(self) -> Self:
        return self.filter(status__in=UNRESOLVED)

    def of_run_itself(self) -> Self:
        """About a run as a whole, and not about one of its parts."""
        return self.filter(_none_of("connection", *PARTS))

    def holding_up(self) -> Self:
        """Those without which something would go on."""
        return self.filter(_none_of(*HOLD_NOTHING_UP))


class Ticket(models.Model):
    """One exception that a person owns.

    Its subject is exactly one run or one part of it (a step, a change request, an object's mapping), one connection, or one finding
    of an audit (which may be about a run). A subject has at most one open ticket a topic.

    What changes while it is open (attempts, next retry, the vendor's last message) is read from its subject; what it said when it
    was opened or last renewed stands here.
    """

    transaction = models.ForeignKey(OnboardingTransaction, on_delete=models.CASCADE, null=True, related_name="tickets")
    step = models.ForeignKey(Step, on_delete=models.CASCADE, null=True, related_name="tickets")
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, null=True, related_name="tickets")
    change_request = models.ForeignKey(ChangeRequest, on_delete=models.CASCADE, null=True, related_name="tickets")
    """To be decided on, or applied and still to be written by hand. It holds nothing of the run up."""

    mapping = models.ForeignKey(ObjectMapping, on_delete=models.SET_NULL, null=True, related_name="tickets")
    finding = models.ForeignKey(AuditFinding, on_delete=models.CASCADE, null=True, related_name="tickets")

    status = FSMField(default=TicketStatus.OPEN, choices=TicketStatus.choices, protected=True)
    category = models.CharField(max_length=32, choices=Category)
    topic = models.CharField(max_length=32, choices=Topic, default=Topic.NONE, blank=True)
    system = models.CharField(max_length=16, choices=System)
    queue = models.CharField(max_length=32, choices=list(QUEUES.items()))
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="tickets"
    )
    message = models.TextField()
    http_status = models.PositiveSmallIntegerField("HTTP status", null=True)
    problems = models.JSONField(default=list)
    candidates = models.JSONField(default=list)
    fingerprint = models.CharField(max_length=64)
    retry_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, related_name="+")
    opened_at = models.DateTimeField()
    sla_due = models.DateTimeField("SLA due", null=True)
    resolved_at = models.DateTimeField(null=True)
    resolution = models.CharField(max_length=200, blank=True)
    snoozed_until = models.DateTimeField(null=True, help_text="Put aside by a person until then; it is nobody's next.")
    snoozed_by = models.CharField(max_length=150, blank=True)
    snooze_reason = models.CharField(max_length=500, blank=True)

    objects = TicketQuerySet.as_manager()

    class Meta:
        ordering = ["sla_due", "pk"]
        constraints = [
            models.CheckConstraint(
                name="ticket_one_subject",
                condition=(Q(transaction__isnull=False, connection__isnull=True) & _at_most_one_of(*PARTS))
                | (Q(transaction__isnull=True, connection__isnull=False) & _none_of(*PARTS))
                | (Q(transaction__isnull=True, connection__isnull=True, finding__isnull=False) & _none_of(*PARTS[:-1])),
            ),
            models.UniqueConstraint(
                name="ticket_open_once_per_run",
                fields=["transaction", "topic"],
                condition=_none_of(*PARTS) & Q(status__in=UNRESOLVED),
            ),
            *(
                models.UniqueConstraint(
                    name=f"ticket_open_once_per_{name}",
                    fields=[subject, "topic"],
                    condition=Q(status__in=UNRESOLVED),
                )
                for subject, name in (
                    ("change_request", "change"),
                    ("step", "step"),
                    ("connection", "connection"),
                    ("mapping", "mapping"),
                    ("finding", "finding"),
                )
            ),
            models.CheckConstraint(name="ticket_has_a_queue", condition=~Q(queue="")),
        ]
        indexes = [
            # Open ones are found by any of the constraints above.
            models.Index(fields=["sla_due", "id"], name="ticket_by_due"),
            models.Index(fields=["opened_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.get_category_display()}: {self.subject_name}"

    @property
    def subject_name(self) -> str:
        if self.connection:
            return self.connection.slug
        if self.mapping:
            return f"{self.mapping.transaction.customer_name}, {self.mapping}"
        if self.transaction is None:
            return "the audit trail"
        name = self.transaction.customer_name or self.transaction.onboarding_transaction_id
        return f"{name}, {self.step.key}" if self.step else name

    @property
    def is_open(self) -> bool:
        return self.status in UNRESOLVED

    @property
    def is_snoozed(self) -> bool:
        return self.is_open and self.snoozed_until is not None and self.snoozed_until > clocks.now()

    def wake(self) -> None:
        """It is no longer put aside."""
        self.snoozed_until, self.snoozed_by, self.snooze_reason = None, "", ""

    @property
    def attempts(self) -> int:
        return tries(self.step).count() if self.step else 0

    @property
    def next_retry(self) -> datetime | None:
        """When the engine tries again by itself; None where it waits for a person."""
        if self.connection and self.is_open and self.category == Category.SERVER_ERROR:
            return self.connection.probe_at if self.connection.breaker == Breaker.OPEN else None
        if not self.step or not self.is_open or self.step.state not in (StepState.BLOCKED, StepState.WAITING):
            return None
        return self.step.due_at

    @property
    def is_by_hand(self) -> bool:
        """A person does what is to be done, at a vendor say, and says so: nothing here notices it."""
        if self.mapping_id or self.finding_id:
            return True
        return self.change_request is not None and self.change_request.status == ChangeStatus.APPLIED

    @property
    def shown_topic(self) -> str | None:
        return self.topic or None

    @property
    def holds_up(self) -> bool:
        """Something would go on without it."""
        return not any(getattr(self, f"{name}_id") for name in HOLD_NOTHING_UP)

    @property
    def failed_step(self) -> str:
        if self.connection and self.category == Category.SERVER_ERROR:
            return "connection"
        if self.change_request_id:
            return "change request"
        if self.finding_id:
            return "audit trail"
        if self.mapping:
            return self.mapping.step.key
        return self.step.key if self.step else "gate" if self.transaction else "credentials"

    @property
    def url(self) -> str:
        return settings.PUBLIC_URL + reverse("ticket", args=[self.pk])

    @transition(field=status, source=[TicketStatus.OPEN, TicketStatus.RETRYING], target=TicketStatus.RETRYING)
    def retry(self) -> None: ...

    @transition(field=status, source=[TicketStatus.OPEN, TicketStatus.RETRYING], target=TicketStatus.OPEN)
    def renew(self) -> None: ...

    @transition(field=status, source=[TicketStatus.OPEN, TicketStatus.RETRYING], target=TicketStatus.RESOLVED)
    def resolve(self, *, at: datetime, resolution: str) -> None:
        self.resolved_at, self.resolution = at, resolution[:200]


class TicketNote(models.Model):
    """What a person wrote on a ticket."""

    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, related_name="notes")
    author = models.CharField(max_length=150)
    text = models.TextField(max_length=4000)
    at = models.DateTimeField()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"{self.author}: {self.text[:40]}"


class ClockState(models.TextChoices):
    RUNNING = "running", "Running"
    BREACHED = "breached", "Breached"
    MET = "met", "Met"
    MET_LATE = "met_late", "Met late"
    CANCELLED = "cancelled", "Cancelled"


class Milestone(models.TextChoices):
    P1 = "P1", "Paid to set up"
    P2 = "P2", "Set up to kickoff"
    CHANGE = "CR", "Change asked for to done"


class SlaClock(models.Model):
    """A run's clock for one milestone, with the policy that it was started under.

    P1, paid to provisioned, goes round the clock; P2, provisioned to kickoff scheduled, counts the business time of a calendar,
    and so does that of each change request, until it is decided and whatever is by hand is done.
    """

    transaction = models.ForeignKey(OnboardingTransaction, on_delete=models.CASCADE, related_name="clocks")
    milestone = models.CharField(max_length=2, choices=Milestone)
    change_request = models.OneToOneField(ChangeRequest, on_delete=models.CASCADE, null=True, related_name="sla_clock")
    current_of = models.OneToOneField(
        OnboardingTransaction,
        on_delete=models.CASCADE,
        null=True,
        related_name="sla_clock",
        help_text="Set on the run's latest clock alone, so that lists join one row a run.",
    )
    target_minutes = models.PositiveIntegerField(help_text="Of the calendar's business time, where it has one.")
    at_risk_percent = models.PositiveSmallIntegerField()
    calendar = models.CharField(
        max_length=32, blank=True, help_text="Digest of the business calendar; empty: round the clock."
    )
    state = FSMField(default=ClockState.RUNNING, choices=ClockState.choices, protected=True)
    started_at = models.DateTimeField()
    at_risk_at = models.DateTimeField()
    due_at = models.DateTimeField()
    at_risk_seen = models.BooleanField(default=False, help_text="The at-risk rung has been taken.")
    breached_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    next_transition_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                name="clock_once_per_milestone",
                fields=["transaction", "milestone"],
                condition=Q(change_request__isnull=True),
            ),
            models.CheckConstraint(
                name="clock_current_of_its_run",
                condition=Q(current_of__isnull=True) | Q(current_of=F("transaction")),
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_transition_at"],
                condition=Q(next_transition_at__isnull=False),
                name="clock_next_transition",
            ),
            models.Index(fields=["due_at"], condition=Q(ended_at__isnull=True), name="clock_not_ended"),
        ]

    def __str__(self) -> str:
        return f"{self.milestone} of {self.transaction_id}: {self.state}"

    @transition(field=state, source=ClockState.RUNNING, target=ClockState.BREACHED)
    def breach(self) -> None:
        """The breach is the due instant, however late it is noticed; it never clears."""
        self.breached_at = self.due_at
        self.next_transition_at = None

    @transition(field=state, source=ClockState.RUNNING, target=ClockState.MET)
    def meet(self, *, at: datetime) -> None:
        self.ended_at, self.next_transition_at = at, None

    @transition(field=state, source=ClockState.BREACHED, target=ClockState.MET_LATE)
    def meet_late(self, *, at: datetime) -> None:
        self.ended_at, self.next_transition_at = at, None

    @transition(field=state, source=[ClockState.RUNNING, ClockState.BREACHED], target=ClockState.CANCELLED)
    def cancel(self, *, at: datetime) -> None:
        """A breach that was stays on record in ``breached_at``."""
        self.ended_at, self.next_transition_at = at, None


class AlertState(models.TextChoices):
    PENDING = "pending", "Pending"
    SENDING = "sending", "Sending"
    SENT = "sent", "Sent"
    NOT_NEEDED = "not-needed", "Not needed any more"
    FAILED = "failed", "Failed"


class Alert(models.Model):
    """The outbox of alerts: at most one a clock, rung, channel and recipient."""

    clock = models.ForeignKey(SlaClock, on_delete=models.CASCADE, related_name="alerts", db_index=False)
    ticket = models.ForeignKey(Ticket, on_delete=models.SET_NULL, null=True, related_name="alerts")
    rung = models.CharField(max_length=16, default="at-risk")
    channel = models.CharField(max_length=16, default="email")
    recipient = models.CharField(max_length=254)
    state = models.CharField(max_length=16, choices=AlertState, default=AlertState.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["clock", "rung", "channel", "recipient"], name="alert_once")]
        indexes = [models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="alert_due")]

    def __str__(self) -> str:
        return f"{self.rung} to {self.recipient}: {self.state}"


def open_tickets(run: OnboardingTransaction) -> TicketQuerySet:
    """Those that cover the run, and those that hold nothing up."""
    return _open_tickets(run, None)


def covering(run: OnboardingTransaction, steps: models.QuerySet[Step] | None = None) -> TicketQuerySet:
    """The open tickets that cover a run: its own, its steps', those of connections that it is parked behind, and those of the
    steps of other runs whose turn it waits for. ``steps``: only those of the run's steps count.
    """
    return _open_tickets(run, steps).holding_up()


def _open_tickets(run: OnboardingTransaction, steps: models.QuerySet[Step] | None) -> TicketQuerySet:
    own = Q(transaction=run) if steps is None else Q(transaction=run, step=None) | Q(step__in=steps)
    steps = run.steps.all() if steps is None else steps
    parked = steps.filter(connection__breaker__in=STOPPED, finished_at=None).values("connection")
    ahead = steps.filter(waits_for=WaitsFor.RESERVATION).values("waits_on")
    return Ticket.objects.filter(own | Q(connection__in=parked) | Q(step__in=ahead)).unresolved()


def steps_towards(clock: SlaClock) -> models.QuerySet[Step]:
    """The run's steps that this clock waits for: P2 for the kickoff and what must be done before it, P1 for all but the kickoff."""
    steps = clock.transaction.steps.all()
    if clock.milestone == Milestone.CHANGE:
        return steps.none()
    if clock.milestone == Milestone.P1:
        return steps.exclude(uses=KICKOFF)
    after = dict(steps.values_list("key", "after"))
    keys: set[str] = set()
    found = set(steps.filter(uses=KICKOFF).values_list("key", flat=True))
    while found:
        keys |= found
        found = {before for key in found for before in after.get(key, ())} - keys
    return steps.filter(key__in=keys)


def is_blocked() -> Q:
    """The same as a condition on runs: an open ticket covers them."""
    own = Ticket.objects.filter(transaction=OuterRef("pk")).holding_up().unresolved()
    steps = Step.objects.filter(transaction=OuterRef("pk"), finished_at=None)
    parked = steps.filter(connection__breaker__in=STOPPED, connection__tickets__status__in=UNRESOLVED)
    ahead = steps.filter(waits_for=WaitsFor.RESERVATION, waits_on__tickets__status__in=UNRESOLVED)
    return Q(Exists(own)) | Q(Exists(parked)) | Q(Exists(ahead))


def blocked_runs() -> models.QuerySet[Any]:
    """The same as primary keys of runs, found from the open tickets: without a look at every run."""
    tickets = Ticket.objects.unresolved()
    steps = Step.objects.filter(finished_at=None)
    own = tickets.holding_up().filter(transaction__isnull=False).values("transaction")
    parked = steps.filter(
        connection__breaker__in=STOPPED, connection__in=tickets.filter(connection__isnull=False).values("connection")
    ).values("transaction")
    ahead = steps.filter(
        waits_for=WaitsFor.RESERVATION, waits_on__in=tickets.filter(step__isnull=False).values("step")
    ).values("transaction")
    return own.order_by().union(parked.order_by(), ahead.order_by())


def waits_for_nobody() -> Q:
    """Open tickets on which nobody need do anything now: tried again just now, kept back by a connection, or put aside."""
    kept_back = Q(step__connection__breaker=Breaker.OPEN, step__due_at__isnull=False)
    snoozed = Q(snoozed_until__isnull=False, snoozed_until__gt=clocks.now())
    return Q(status=TicketStatus.RETRYING) | kept_back | Q(connection__breaker=Breaker.HALF_OPEN) | snoozed


NO_TRY = ("waiting", "")
"""Outcomes of attempts that tried nothing."""


def tries(step: Any) -> models.QuerySet[Attempt]:
    """The attempts at a step (or an ``OuterRef`` to one) that tried something: waiting and polling are none."""
    return Attempt.objects.filter(step=step).exclude(outcome__in=NO_TRY)


def tries_counted() -> Coalesce:
    """``tries`` of a ticket's step, as a column of a list."""
    counted = tries(OuterRef("step")).order_by().values("step").annotate(n=models.Count("pk")).values("n")
    return Coalesce(models.Subquery(counted, output_field=models.IntegerField()), 0)
