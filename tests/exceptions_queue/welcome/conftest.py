"""A customer who was welcomed on a Thursday, with the built-in playbook and sequences."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from exceptions_queue.sla import business_calendar
from exceptions_queue.welcome import sending, sequences
from integrations import clock
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding.enums import StepState
from onboarding.models import OnboardingTransaction, ScheduledMail
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, step_of

THURSDAY = datetime(2027, 3, 4, 12, 0, tzinfo=UTC)
FIRST_STEPS = datetime(2027, 3, 9, 9, 0, tzinfo=UTC)
"""Three business days later, over a weekend: when the built-in calendar opens on Tuesday."""
CHECK_IN = datetime(2027, 3, 15, 9, 0, tzinfo=UTC)
"""Seven business days later."""
Welcome = Callable[..., OnboardingTransaction]


def go_to(instant: datetime) -> None:
    clock.shift(instant - clock.now())


def deliver_at(instant: datetime) -> int:
    go_to(instant)
    return sending.deliver()


def mail_of(run: OnboardingTransaction, key: str = "first-steps") -> ScheduledMail:
    return run.scheduled_mails.get(key=key)


def states(run: OnboardingTransaction) -> dict[str, str]:
    return dict(run.scheduled_mails.values_list("key", "state"))


def subjects(sandbox: SandboxControl) -> list[str]:
    """Of all mails that arrived, oldest first."""
    return [each["body"]["subject"] for each in sandbox.objects("mail", "messages")]


@pytest.fixture(autouse=True)
def fresh_sequences(whole_playbook: None, settings: Any) -> Any:
    sequences.sequences.cache_clear()
    business_calendar.load.cache_clear()
    yield
    sequences.sequences.cache_clear()
    business_calendar.load.cache_clear()


@pytest.fixture
def welcome(accept: Accept, drain: Drain, connections: dict[str, Connection], smtp: Connection) -> Welcome:
    """``welcome(**overrides)``: the run of that payload, whose welcome went out on Thursday at noon."""

    def run(**overrides: Any) -> OnboardingTransaction:
        go_to(THURSDAY)
        accepted = accept(**overrides)
        drain()
        go_to(THURSDAY)
        assert step_of(accepted, "welcome.mail").state == StepState.SUCCEEDED
        return accepted

    return run
