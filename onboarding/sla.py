"""The P1 promise: paid to provisioned in 30 minutes, round the clock, never paused."""

from datetime import datetime, timedelta

from onboarding.models import OnboardingTransaction

P1_TARGET = timedelta(minutes=30)
P1_AT_RISK = P1_TARGET / 2


def p1_due(run: OnboardingTransaction) -> datetime:
    return run.occurred_at + P1_TARGET


def p1_at_risk_from(run: OnboardingTransaction) -> datetime:
    return run.occurred_at + P1_AT_RISK
