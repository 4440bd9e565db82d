"""The promises. P1: paid to provisioned in 30 minutes, round the clock. P2: provisioned to kickoff scheduled in one business day.
Invoice readiness, where the playbook has a step for it: provisioned to an order that can be invoiced in one business day.

What counts as business time is the calendar's to say, which the clocks above this app hold.
"""

from datetime import datetime, timedelta

from onboarding.models import OnboardingTransaction

P1_TARGET = timedelta(minutes=30)
P1_AT_RISK_PERCENT = 50
P1_AT_RISK = P1_TARGET * P1_AT_RISK_PERCENT / 100

P2_TARGET = timedelta(minutes=480)
"""Business time."""
P2_AT_RISK_PERCENT = 75

INVOICE_TARGET = timedelta(minutes=480)
"""Business time."""

KICKOFF = "kickoff.task"
"""The handler of the step that is done when the kickoff is scheduled."""
INVOICE = "erp.invoice-ready"
"""The handler of the step that is done when the order can be invoiced."""


def p1_due(run: OnboardingTransaction) -> datetime:
    return run.occurred_at + P1_TARGET


def p1_at_risk_from(run: OnboardingTransaction) -> datetime:
    return run.occurred_at + P1_AT_RISK
