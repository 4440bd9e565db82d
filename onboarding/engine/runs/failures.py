"""When a failed step is tried again, and how it comes to be blocked with a ticket."""

import random
from datetime import datetime

from django.conf import settings

from integrations import clock
from integrations.enums import Breaker
from integrations.failpoints import failpoint
from onboarding import audit, working_set
from onboarding.engine import policy
from onboarding.engine.claiming import Claim
from onboarding.engine.outcomes import Failed
from onboarding.enums import Category
from onboarding.models import OnboardingTransaction, Step
from onboarding.signals import step_blocked, step_retrying
from onboarding.sla_targets import p1_at_risk_from


def step_has_ticket(step: Step) -> bool:
    """A step with a failure that people were told of stays blocked until it has passed."""
    return bool(step.category)


def policy_for(claim: Claim, outcome: Failed, attempts: int, *, parked: bool = False) -> policy.Decision:
    now = clock.now()
    began = claim.step.first_failed_at or now
    facts = policy.Circumstances(
        attempts=attempts,
        elapsed=(now - began).total_seconds(),
        at_risk=now >= p1_at_risk_from(claim.run) and claim.run.provisioned_at is None,
        jitter=random.random(),  # noqa: S311  (jitter)
        base=settings.RETRY_BASE_SECONDS,
        parked=parked,
    )
    return policy.decide(outcome.error, facts)


def category_of(run: OnboardingTransaction, category: Category) -> Category:
    """A compensation that fails is a ticket of its own kind, unless the account itself is the matter."""
    if not run.is_rolling_back or category in (Category.AUTH_ERROR, Category.NOT_CONFIGURED):
        return category
    return Category.ROLLBACK_FAILED


def is_parked(run: OnboardingTransaction, step: Step) -> bool:
    """Whether its connection's ticket covers the failure. A half-open breaker that it did not open again left it to the step."""
    return working_set.of(run).breaker_of(step) == Breaker.OPEN


def block(
    run: OnboardingTransaction,
    step: Step,
    category: Category,
    message: str,
    *,
    due_at: datetime | None = None,
    fallback: bool = False,
) -> None:
    again = step_has_ticket(step) and step.category == category
    step.category, step.message = category, message
    step.block(due_at=due_at)
    working_set.of(run).save(step)
    failpoint("opening-exception")
    audit.record(
        run, "onboarding.step.blocked", data={"step": step.key, "category": category, "status": step.http_status}
    )
    if again and not fallback:
        step_retrying.send(Step, step=step, requested=False)
    else:
        step_blocked.send(Step, step=step, fallback=fallback)
    failpoint("exception-opened")
