"""The one lock order: the run first, then everything else; and whole transactions tried again when a database refuses."""

import functools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from django.db import IntegrityError, InterfaceError, OperationalError, close_old_connections, connection
from django.db import transaction as db

from onboarding import audit
from onboarding.log_context import about_run, set_run
from onboarding.models import OnboardingTransaction


class TryAgain(Exception):
    """What was looked up changed before the lock was taken: undo, and run the whole transaction again."""


P = ParamSpec("P")
R = TypeVar("R")
TRIES = 6
CHECK_EVERY_SECONDS = 5.0
"""How long a thread's connection counts as alive. One that died meanwhile fails its next statement, which is tried again."""
_checked = threading.local()

log = logging.getLogger(__name__)


def lock_run(pk: int) -> OnboardingTransaction:
    """The run, locked until the transaction ends. ``no_key``: children may be inserted meanwhile by others."""
    set_run(pk)
    return OnboardingTransaction.objects.select_for_update(no_key=True).get(pk=pk)


def lock_run_of(step_pk: int) -> OnboardingTransaction:
    """As ``lock_run``, for the run of a step. Raises ``OnboardingTransaction.DoesNotExist`` where there is no such step."""
    run = OnboardingTransaction.objects.select_for_update(no_key=True, of=("self",)).get(steps=step_pk)
    set_run(run.pk)
    return run


@contextmanager
def changing(lock: Callable[[int], OnboardingTransaction], pk: int) -> Iterator[OnboardingTransaction]:
    """One database transaction of the engine's: the run locked by ``lock``, and saved with its audit entries at the end."""
    with db.atomic():
        run = lock(pk)
        with audit.together(run):
            yield run


def retried(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function that is one whole database transaction, again after a deadlock, a lock timeout or a lost insert race.

    Inside an outer transaction nothing can be tried again: the error goes to whoever opened that one.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        if connection.in_atomic_block:
            return function(*args, **kwargs)
        for attempt in range(1, TRIES):
            _close_if_dead()
            try:
                with about_run():
                    return function(*args, **kwargs)
            except (OperationalError, InterfaceError, IntegrityError, TryAgain) as error:
                log.info(
                    "%s: trying the transaction again (%d) after %s",
                    function.__qualname__,
                    attempt,
                    type(error).__name__,
                )
                time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311  (jitter)
        _close_if_dead()
        with about_run():
            return function(*args, **kwargs)

    return wrapper


def _close_if_dead() -> None:
    """Django's own check costs a round trip (``CONN_HEALTH_CHECKS``): too much before every transaction."""
    now = time.monotonic()
    if connection.errors_occurred or now - getattr(_checked, "at", 0.0) > CHECK_EVERY_SECONDS:
        close_old_connections()
        _checked.at = now
