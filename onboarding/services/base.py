"""What the services share: refusing, locking, and trying a step again."""

from collections.abc import Iterator
from contextlib import contextmanager

from integrations import clock
from integrations.connections.services import default_connection
from integrations.enums import System
from onboarding import audit
from onboarding.engine.advancing import make_due
from onboarding.engine.dispatch import enqueue_step
from onboarding.engine.locks import locked_run
from onboarding.engine.objects import hand_over
from onboarding.enums import Category
from onboarding.models import OnboardingTransaction, Step
from onboarding.payload.gate import Problem
from onboarding.signals import step_retrying
from onboarding.steps.registry import HANDLERS

LONGEST_REASON = 500


class Refused(Exception):
    """The action cannot be done; ``problems`` names fields where it is about those."""

    def __init__(self, message: str, problems: list[Problem] | None = None) -> None:
        super().__init__(message)
        self.problems = problems or []


def require_no(obstacle: str) -> None:
    """Raises ``Refused`` where there is one."""
    if obstacle:
        raise Refused(obstacle)


@contextmanager
def locked_step(step_pk: int) -> Iterator[tuple[OnboardingTransaction, Step]]:
    """A step and its run, as of ``locked_run``. Raises ``Step.DoesNotExist``."""
    with locked_run(Step.objects.values_list("transaction_id", flat=True).get(pk=step_pk)) as run:
        yield run, Step.objects.select_related("connection").get(pk=step_pk)


def try_again(run: OnboardingTransaction, step: Step, *, actor: str, name: str) -> None:
    now = clock.now()
    step.attempts, step.first_failed_at = 0, None
    handler = HANDLERS[step.uses]
    is_usable = step.connection is not None and step.connection.enabled
    if step.category == Category.NOT_CONFIGURED or not is_usable:
        step.connection = default_connection(System(step.system), handler.provider) or step.connection
    hand_over.begin_anew_if_decided(run, step)
    make_due(step, now)
    step.save()
    audit.record(run, name, actor=actor, data={"step": step.key})
    step_retrying.send(Step, step=step, requested=True)
    enqueue_step(step.pk)


def given_reason(reason: str) -> str:
    """The reason as it is kept. Raises ``Refused`` for none, or a longer one than fits."""
    text = " ".join(reason.replace("\0", "").split())
    if not text or len(text) > LONGEST_REASON:
        raise Refused(f"Give a reason of 1 to {LONGEST_REASON} characters.", [Problem("reason", "is missing")])
    return text
