"""The onboarding transaction and all that hangs on it."""

from onboarding.models.access import ApiKey
from onboarding.models.approvals import Approval
from onboarding.models.archive import ArchiveBatch, ArchivedRun
from onboarding.models.audit import AuditAnchor, AuditEntry, AuditFinding, AuditHead
from onboarding.models.correlation import (
    BillingSubscription,
    CorrelationKey,
    InvoicePaymentLink,
    PaymentTrace,
    PaymentTraceKey,
    UnmatchedEvent,
)
from onboarding.models.hand_overs import HandOverReport
from onboarding.models.mails import MailState, ScheduledMail, StopCause
from onboarding.models.objects import Attempt, Intent, MatchChoice, ObjectMapping, RejectedMatch, Reservation, StepPoll
from onboarding.models.owners import ImplementationOwner
from onboarding.models.playbook import PinnedPlaybook, PlanPrice
from onboarding.models.steps import RunEvent, Step
from onboarding.models.transaction import AcceptedContent, ChangeRequest, OnboardingTransaction, PayloadSnapshot

__all__ = [
    "AcceptedContent",
    "ApiKey",
    "Approval",
    "ArchiveBatch",
    "ArchivedRun",
    "Attempt",
    "AuditAnchor",
    "AuditEntry",
    "AuditFinding",
    "AuditHead",
    "BillingSubscription",
    "ChangeRequest",
    "CorrelationKey",
    "HandOverReport",
    "ImplementationOwner",
    "Intent",
    "InvoicePaymentLink",
    "MailState",
    "MatchChoice",
    "ObjectMapping",
    "OnboardingTransaction",
    "PayloadSnapshot",
    "PaymentTrace",
    "PaymentTraceKey",
    "PinnedPlaybook",
    "PlanPrice",
    "RejectedMatch",
    "Reservation",
    "RunEvent",
    "ScheduledMail",
    "Step",
    "StepPoll",
    "StopCause",
    "UnmatchedEvent",
]
