"""What we know of the outside world: accounts at vendors, what they sent us, and every call that we made."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from types import MappingProxyType

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import connection as database
from django.db import models
from django_fsm import FSMField, transition

from integrations import crypto
from integrations.database.process_cache import ProcessCache
from integrations.enums import STOPPED, Breaker, BreakerCause, Environment, EventState, System

SLUG = RegexValidator(
    r"^[a-z0-9][a-z0-9-]{0,62}$", "Lower-case letters, digits and hyphens, starting with a letter or digit."
)

_decrypted: ProcessCache[tuple[int, str], tuple[object, list[str]]] = ProcessCache(512)
"""(connection, name) -> (what the values were read under, the values)."""


class Connection(models.Model):
    """One configured account at one vendor: its address, secrets, breaker and concurrency limit."""

    slug = models.CharField(max_length=63, unique=True, validators=[SLUG])
    system = models.CharField(max_length=16, choices=System)
    provider = models.CharField(max_length=32)
    base_url = models.URLField(blank=True, max_length=500)
    environment = models.CharField(max_length=16, choices=Environment, default=Environment.PRODUCTION)
    enabled = models.BooleanField(default=True)
    options = models.JSONField(
        default=dict, blank=True, help_text="Provider options, such as Asana's template and team."
    )

    breaker = FSMField(default=Breaker.CLOSED, choices=Breaker.choices, protected=True, editable=False)
    breaker_reason = models.CharField(max_length=500, blank=True, editable=False)
    breaker_changed_at = models.DateTimeField(null=True, editable=False)
    breaker_cause = models.CharField(
        max_length=16, choices=BreakerCause, blank=True, editable=False, help_text="Of the last time that it opened."
    )
    failures = models.PositiveSmallIntegerField(
        default=0, editable=False, help_text="Server errors, timeouts and broken connections since the last success."
    )
    failures_of = models.CharField(
        max_length=64, blank=True, editable=False, help_text="The step that had all of these; empty for several."
    )
    probe_at = models.DateTimeField(null=True, editable=False)
    """When an open breaker is tried again by itself; null where only people can fix it."""
    probed_at = models.DateTimeField(null=True, editable=False)
    failed_probes = models.PositiveSmallIntegerField(default=0, editable=False)
    """In a row since it opened: each doubles the wait for the next."""
    credentials_version = models.PositiveIntegerField(default=1, editable=False)
    """Rises with every change of a secret or of the base URL: a 401 earned with older credentials opens no breaker."""

    max_concurrency = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Concurrent calls; empty for no limit."
    )
    concurrency_limit = models.PositiveSmallIntegerField(null=True, editable=False)
    """Steps at once as lowered by 429 answers or by a breaker; null while ``max_concurrency`` alone rules."""
    concurrency_changed_at = models.DateTimeField(null=True, editable=False)
    lowered_at = models.DateTimeField(null=True, editable=False)
    """When a 429 last lowered the concurrency limit."""
    refusals = models.PositiveSmallIntegerField(default=0, editable=False)
    """429 answers without a success between them."""
    paused_until = models.DateTimeField(null=True, editable=False)
    slow_start = models.BooleanField(default=False, editable=False)
    """Since a breaker closed, until the limit itself rules again or a 429 comes."""
    released_at = models.DateTimeField(null=True, editable=False)
    release_total = models.PositiveIntegerField(
        default=0, editable=False, help_text="Runs that were parked when the breaker last closed."
    )

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["system", "slug"]
        permissions = [
            ("test_connection", "Can test a connection"),
            ("enter_credentials", "Can enter credentials"),
            ("use_sandbox", "Can break and fix the sandbox's vendors"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(environment__in=Environment.values), name="connection_environment_known"
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    @property
    def limit(self) -> int | None:
        """Calls at once allowed now; None for no limit."""
        return min((each for each in (self.concurrency_limit, self.max_concurrency) if each is not None), default=None)

    candidate_secrets: Mapping[str, list[str]] = MappingProxyType({})
    """Secrets that this instance alone uses in place of the stored ones, to test them before they are kept."""

    def secrets(self, name: str) -> list[str]:
        """The active values of one secret, newest first (several during a rotation). Raises ``crypto.SecretUnreadable``.

        Kept in the process for as long as the instances that ask have the same ``credentials_version``: a change of a secret
        raises it in the same transaction. Inside a transaction, which may be undone, they are read.
        """
        if name in self.candidate_secrets:
            return list(self.candidate_secrets[name])
        version = (self.credentials_version, tuple(settings.FIELD_ENCRYPTION_KEYS))
        known = None if database.in_atomic_block else _decrypted.get((self.pk, name))
        if known is not None and known[0] == version:
            return list(known[1])
        rows = self.secret_rows.filter(name=name, active=True).order_by("-pk")
        values = [crypto.decrypt(ciphertext) for ciphertext in rows.values_list("ciphertext", flat=True)]
        if not database.in_atomic_block:
            _decrypted.put((self.pk, name), (version, values))
        return list(values)

    def readable_secrets(self, name: str) -> tuple[list[str], bool]:
        """(the active values that a configured key decrypts, newest first; whether there are others)."""
        found: list[str] = []
        rows = list(self.secret_rows.filter(name=name, active=True).order_by("-pk"))
        for row in rows:
            with suppress(crypto.SecretUnreadable):
                found.append(crypto.decrypt(row.ciphertext))
        return found, len(found) < len(rows)

    @property
    def is_stopped(self) -> bool:
        """What needs it is parked."""
        return self.breaker in STOPPED

    @transition(field=breaker, source=[Breaker.CLOSED, Breaker.HALF_OPEN, Breaker.OPEN], target=Breaker.OPEN)
    def open_breaker(
        self,
        *,
        reason: str,
        at: datetime,
        cause: BreakerCause = BreakerCause.AUTH,
        probe_at: datetime | None = None,
    ) -> None:
        """From OPEN where the cause became another: a vendor that did not answer now refuses our credentials."""
        self.breaker_reason, self.breaker_cause = reason[:500], cause
        self.breaker_changed_at, self.probe_at = at, probe_at

    @transition(field=breaker, source=Breaker.OPEN, target=Breaker.HALF_OPEN)
    def half_open(self, *, at: datetime, probe_at: datetime) -> None:
        """The vendor answers a probe: one real step shows whether it works. Looked at again at ``probe_at``."""
        self.breaker_changed_at, self.probe_at = at, probe_at

    @transition(field=breaker, source=[Breaker.OPEN, Breaker.HALF_OPEN], target=Breaker.CLOSED)
    def close_breaker(self, *, at: datetime) -> None:
        self.breaker_reason = ""
        self.breaker_changed_at, self.probe_at, self.failed_probes = at, None, 0


class ConnectionSecret(models.Model):
    """One secret of a connection, encrypted; never shown again after it was saved."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="secret_rows", db_index=False)
    name = models.CharField(max_length=32)
    ciphertext = models.TextField()
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["connection", "name"])]

    def __str__(self) -> str:
        return f"{self.connection.slug}: {self.name}"


class ConnectionSlot(models.Model):
    """A leased slot among a limited connection's concurrent calls."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="slots", db_index=False)
    number = models.PositiveSmallIntegerField()
    holder = models.CharField(max_length=64, blank=True)
    leased_until = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "number"], name="slot_once")]

    def __str__(self) -> str:
        return f"{self.connection_id}/{self.number}"


class InboundEvent(models.Model):
    """A vendor's event as it came, stored before we answered; processed separately."""

    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="events", db_index=False)
    external_id = models.CharField(max_length=255)
    type = models.CharField(max_length=100, blank=True)
    body = models.TextField(help_text="The raw body, encrypted: it holds personal data.")
    occurred_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField()
    state = FSMField(default=EventState.RECEIVED, choices=EventState.choices, protected=True)
    due_at = models.DateTimeField(null=True, help_text="When to process it; empty once done.")
    enqueued_until = models.DateTimeField(
        null=True, help_text="A message for it is in the broker; until then the sweep publishes no other."
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    outcome = models.CharField(max_length=500, blank=True)
    processed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [models.UniqueConstraint(fields=["connection", "external_id"], name="inbound_event_once")]
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="inbound_event_due"),
            models.Index(
                fields=["connection"], condition=models.Q(state=EventState.FAILED), name="inbound_event_failed"
            ),
            models.Index(fields=["processed_at"], name="inbound_event_processed"),
            models.Index(fields=["external_id"]),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.external_id}"

    @property
    def raw(self) -> str:
        return crypto.decrypt(self.body)

    @transition(field=state, source=[EventState.RECEIVED, EventState.FAILED], target=EventState.HELD)
    def hold(self, *, until: datetime, outcome: str) -> None:
        self.due_at, self.enqueued_until, self.outcome = until, None, outcome[:500]

    @transition(
        field=state, source=[EventState.RECEIVED, EventState.HELD, EventState.FAILED], target=EventState.PROCESSED
    )
    def process(self, *, outcome: str, at: datetime) -> None:
        self.due_at, self.outcome, self.processed_at = None, outcome[:500], at

    @transition(
        field=state, source=[EventState.RECEIVED, EventState.HELD, EventState.FAILED], target=EventState.IGNORED
    )
    def ignore(self, *, outcome: str, at: datetime) -> None:
        self.due_at, self.outcome, self.processed_at = None, outcome[:500], at

    @transition(field=state, source=EventState.IGNORED, target=EventState.RECEIVED)
    def reconsider(self, *, at: datetime) -> None:
        """What it was ignored for has proved wrong: it is processed again."""
        self.due_at, self.enqueued_until, self.processed_at, self.outcome = at, None, None, ""

    @transition(field=state, source=[EventState.RECEIVED, EventState.HELD, EventState.FAILED], target=EventState.FAILED)
    def fail(self, *, outcome: str, retry_at: datetime | None) -> None:
        self.due_at, self.enqueued_until, self.outcome = retry_at, None, outcome[:500]
        self.attempts += 1


class DealCursor(models.Model):
    """How far a CRM has been asked for won deals, and when it is asked next."""

    connection = models.OneToOneField(
        Connection, primary_key=True, on_delete=models.CASCADE, related_name="deal_cursor"
    )
    began_at = models.DateTimeField(help_text="What was won earlier is history.")
    reached_at = models.DateTimeField(help_text="The vendor's time of the last change that was seen.")
    is_behind = models.BooleanField(default=False, help_text="The last look took all that it may, and there is more.")
    due_at = models.DateTimeField()
    looked_at = models.DateTimeField(null=True)
    failures = models.PositiveSmallIntegerField(default=0, help_text="In a row.")
    outcome = models.CharField(max_length=500, blank=True)

    def __str__(self) -> str:
        return f"{self.connection_id}: {self.reached_at:%Y-%m-%d %H:%M:%S}"


class ApiCall(models.Model):
    """One outbound call as it went over the wire, redacted. Written outside the engine's transactions, best effort."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="calls")
    subject = models.CharField(max_length=100, blank=True, help_text="What it was made for, such as step:12.")
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=500)
    status = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=500, blank=True)
    request = models.JSONField(null=True)
    response = models.JSONField(null=True)
    duration_ms = models.PositiveIntegerField()
    at = models.DateTimeField()

    class Meta:
        ordering = ["-pk"]
        verbose_name = "API call"
        indexes = [models.Index(fields=["subject"]), models.Index(fields=["at"])]

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status or self.error}"


class DeliveryState(models.TextChoices):
    PENDING = "pending", "Pending"
    SENDING = "sending", "Sending"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"


class WebhookEndpoint(models.Model):
    """A company's own address that is told what happens here, signed by Standard Webhooks with a secret of its own.

    One that was removed stays as a row: what is being written for it at that moment must not fail.
    """

    url = models.CharField("URL", max_length=500)
    description = models.CharField(max_length=200, blank=True)
    types = models.JSONField(default=list, help_text="Of events that it is told of.")
    secret = models.TextField(editable=False, help_text="Encrypted.")
    former_secret = models.TextField(
        blank=True,
        editable=False,
        help_text="Encrypted; deliveries are signed with it too, for a day after the change.",
    )
    former_until = models.DateTimeField(null=True, editable=False)
    paused_at = models.DateTimeField(null=True, editable=False)
    paused_by = models.CharField(max_length=150, blank=True, editable=False)
    removed_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["pk"]
        permissions = [("operate_webhookendpoint", "Can pause a webhook endpoint and replay its deliveries")]

    def __str__(self) -> str:
        return self.url


class WebhookDelivery(models.Model):
    """One event for one endpoint: an outbox, written in the transaction of what it tells of. Holds no personal data."""

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    event_id = models.CharField(max_length=64, help_text="The same in each try and replay.")
    type = models.CharField(max_length=64)
    body = models.JSONField()
    state = models.CharField(max_length=16, choices=DeliveryState, default=DeliveryState.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)
    log = models.JSONField(default=list, help_text="Of each try: when, the status or the error, and how long it took.")

    class Meta:
        ordering = ["-pk"]
        verbose_name_plural = "webhook deliveries"
        constraints = [models.UniqueConstraint(fields=["endpoint", "event_id"], name="webhook_delivery_once")]
        indexes = [
            models.Index(fields=["due_at"], condition=models.Q(due_at__isnull=False), name="webhook_delivery_due"),
            models.Index(fields=["created_at"], name="webhook_delivery_created"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"
