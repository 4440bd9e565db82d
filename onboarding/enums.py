"""The fixed words that other systems rely on: in REST, in filters, in exports."""

from django.db.models import TextChoices


class Status(TextChoices):
    QUEUED = "queued", "Queued"
    AWAITING_DATA = "awaiting-data", "Awaiting data"
    PROVISIONING = "provisioning", "Provisioning"
    READY_FOR_KICKOFF = "ready-for-kickoff", "Ready for kickoff"
    COMPLETE = "complete", "Complete"
    CANCELLED = "cancelled", "Cancelled"
    ROLLING_BACK = "rolling-back", "Rolling back"
    ROLLED_BACK = "rolled-back", "Rolled back"


NOT_BEGUN = (Status.QUEUED, Status.AWAITING_DATA)
"""Statuses in which no vendor has been asked for anything."""
NOT_PROVISIONED = (*NOT_BEGUN, Status.PROVISIONING)
UNDER_WAY = (*NOT_PROVISIONED, Status.READY_FOR_KICKOFF)
"""Statuses on the way to complete."""
UNFINISHED = (*UNDER_WAY, Status.ROLLING_BACK)
"""All but ``FINAL``, by name: a condition on what runs are not reads the whole history."""
CHANGEABLE = (*UNDER_WAY, Status.COMPLETE)
"""Statuses in which a changed payload is still carried to the vendors."""
WITHDRAWN = (Status.CANCELLED, Status.ROLLING_BACK, Status.ROLLED_BACK)
FINAL = (Status.COMPLETE, Status.CANCELLED, Status.ROLLED_BACK)
"""Statuses in which nothing is begun any more, but for telling others how it ended."""
ADVANCED_BY_ENGINE = (Status.QUEUED, Status.PROVISIONING, Status.READY_FOR_KICKOFF, Status.ROLLING_BACK)
"""Statuses in which steps are done, or should be: a run that waits for data is not among them."""


class StepState(TextChoices):
    PENDING = "pending", "Pending"
    RUNNING = "running", "Running"
    WAITING = "waiting", "Waiting"
    BLOCKED = "blocked", "Blocked"
    SUCCEEDED = "succeeded", "Succeeded"
    SKIPPED = "skipped", "Skipped"
    COMPENSATING = "compensating", "Compensating"
    COMPENSATED = "compensated", "Compensated"


LEASED = (StepState.RUNNING, StepState.COMPENSATING)
"""States in which a worker may hold the step."""
OVER = (StepState.SUCCEEDED, StepState.SKIPPED, StepState.COMPENSATED)
"""States in which nothing is left to do for the step."""


class Category(TextChoices):
    MISSING_DATA = "missing-data", "Missing data"
    AMBIGUOUS_MATCH = "ambiguous-match", "Ambiguous match"
    RATE_LIMIT = "rate-limit", "Rate limit"
    SERVER_ERROR = "server-error", "Server error"
    AUTH_ERROR = "auth-error", "Authentication error"
    VALIDATION_ERROR = "validation-error", "Validation error"
    NOT_CONFIGURED = "not-configured", "Not configured"
    UNKNOWN_OUTCOME = "unknown-outcome", "Unknown outcome"
    APPROVAL_OVERDUE = "approval-overdue", "Decision due"
    STALLED = "stalled", "Stalled"
    ROLLBACK_FAILED = "rollback-failed", "Rollback failed"
    INTERNAL_ERROR = "internal-error", "Internal error"


class Topic(TextChoices):
    """What a ticket of a category asks in particular. One subject may have an open ticket for each."""

    NONE = "", "The failure itself"
    REFUND = "refund", "Refund"
    PAYMENT = "payment", "Which payment"
    KICKOFF = "kickoff", "Kickoff"
    CHANGE = "change", "Change of the data"
    APPROVAL = "approval", "Approval"
    CONNECTION = "connection", "Connection"
    EVENT = "event", "Event"
    OBJECT = "object", "Object at the vendor"
    TWO_RUNS = "two-runs", "Two runs of one order"
    SURPLUS = "surplus", "Objects of a joined run"
    AUDIT = "audit", "Audit trail"
    MAIL = "mail", "Mail that did not arrive"


class SafeAction(TextChoices):
    RETRY = "retry", "Retry"
    REPLAY_FROM_STEP = "replay-from-step", "Replay from step"
    ROLLBACK = "rollback", "Roll back"
    MANUAL_FIX = "manual-fix-then-retry", "Fix, then retry"


class ChangeStatus(TextChoices):
    OPEN = "open", "Open"
    APPLIED = "applied", "Applied"
    REJECTED = "rejected", "Rejected"
    SUPERSEDED = "superseded", "Superseded"


class OriginKind(TextChoices):
    """What something came from. Set by us alone: a sender's own text is a label, which nothing interprets."""

    BILLING_EVENT = "billing-event", "Billing event"
    ESIGN_EVENT = "esign-event", "E-signature event"
    CRM_EVENT = "crm-event", "CRM event"
    REST = "rest", "REST source"
    IMPORT = "import", "Import"
    PERSON = "person", "Person"
    LOOKUP = "lookup", "Look-up"
    DERIVED = "derived", "Derived"
    RULE = "rule", "Rule"
    DEFAULT = "default", "Default"
    CHANGE = "change", "Change request"


class RunEventType(TextChoices):
    """Later business events of a run, as other systems report them."""

    ORDER_SIGNED = "order.signed", "The order was signed"
    CONTRACT_APPROVED = "contract.approved", "The contract was approved"
    DEAL_WON = "deal.won", "The deal was won"
    SECURITY_APPROVED = "security.approved", "The security review was approved"
    TENANT_PROVISIONED = "tenant.provisioned", "The tenant was provisioned"
    KICKOFF_SCHEDULED = "kickoff.scheduled", "The kickoff is scheduled"
    KICKOFF_CANCELLED = "kickoff.cancelled", "The kickoff was cancelled"
    FIRST_VALUE_REACHED = "first_value.reached", "The customer has reached first value"
    PAYMENT_REFUNDED = "payment.refunded", "The payment was refunded"


class Mode(TextChoices):
    """How far a playbook, or a step, is rolled out."""

    OBSERVE = "observe", "Observe"
    """Nothing is written: what would be done is noted, and the step is skipped."""
    ASSIST = "assist", "Assist"
    """A person approves each step before it is done."""
    AUTOMATE = "automate", "Automate"


class ApprovalState(TextChoices):
    OPEN = "open", "Open"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    WITHDRAWN = "withdrawn", "Withdrawn"


class UnmatchedState(TextChoices):
    """Of an event that came before its run."""

    WAITING = "waiting", "Waiting for its run"
    APPLIED = "applied", "Applied"
    EXPIRED = "expired", "Its run never came"


class Scope(TextChoices):
    INTAKE = "intake", "Intake"
    READ = "read", "Read"
    OPERATE = "operate", "Operate"


class IntentState(TextChoices):
    INDETERMINATE = "indeterminate", "Indeterminate"
    """Written before a send: it may or may not have been carried out."""
    ACCEPTED = "accepted", "Accepted"
    """The vendor took a job that we poll."""
    NO_EFFECT = "no-effect", "No effect"
    """Definitely not carried out: its parameters may be replaced."""
    DONE = "done", "Done"


INDETERMINATE = (IntentState.INDETERMINATE, IntentState.ACCEPTED)
"""States of an intent whose outcome is indeterminate: its create may have been carried out."""


class WaitsFor(TextChoices):
    NOTHING = "", "Nothing"
    RETRY = "retry", "A retry"
    HOLD_OFF = "hold-off", "The vendor's search to catch up"
    JOB = "job", "A job at the vendor"
    RESERVATION = "reservation", "Another run of this customer"
    EVENT = "event", "Somebody to do it, or to tell us that it is done"
    REPORT = "report", "An event that other systems report"
    SLOT = "slot", "A free slot at the vendor"
    CONNECTION = "connection", "The connection"
