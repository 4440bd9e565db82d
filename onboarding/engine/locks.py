"""The one lock order: the run first, then everything else; and whole transactions tried again when a database refuses."""

import functools
import logging
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.db import IntegrityError, InterfaceError, OperationalError, close_old_connections, connection

from onboarding.models import OnboardingTransaction


class TryAgain(Exception):
    """What was looked up changed before the lock was taken: undo, and run the whole transaction again."""


P = ParamSpec("P")
R = TypeVar("R")
TRIES = 6

log = logging.getLogger(__name__)


def lock_run(pk: int) -> OnboardingTransaction:
    """The run, locked until the transaction ends. ``no_key``: children may be inserted meanwhile by others."""
    return OnboardingTransaction.objects.select_for_update(no_key=True).get(pk=pk)


def retried(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function that is one whole database transaction, again after a deadlock, a lock timeout or a lost insert race.

    Inside an outer transaction nothing can be tried again: the error goes to whoever opened that one.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if connection.in_atomic_block:
            return function(*args, **kwargs)
        for attempt in range(1, TRIES):
            close_old_connections()
            try:
                return function(*args, **kwargs)
            except (OperationalError, InterfaceError, IntegrityError, TryAgain) as error:
                log.info(
                    "%s: trying the transaction again (%d) after %s",
                    function.__qualname__,
                    attempt,
                    type(error).__name__,
                )
                time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311  (jitter)
        close_old_connections()
        return function(*args, **kwargs)

    return wrapper
