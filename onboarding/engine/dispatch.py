"""Publishing messages. Each carries one primary key; losing it costs time, never work (the sweep finds every due row)."""

import functools
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from threading import Lock

from celery import current_app
from django.conf import settings
from django.db import transaction

from integrations.failpoints import failpoint
from onboarding.engine.threads import branches
from onboarding.models import Step

RUN_STEP = "onboarding.run_step"
PROCESS_EVENT = "onboarding.process_event"
POLL_STEP = "onboarding.poll_step"
PROBE = "onboarding.probe_connection"
PAUSE_SECONDS = 5.0
BUSY_SHARE = 4
"""One in so many threads at work are enough to fill a process: the others wait for vendors."""
MESSAGE_LIFETIME = timedelta(seconds=10)
"""A message that led to no claim for this long is taken for lost."""

log = logging.getLogger(__name__)
_gathered: ContextVar[list[int] | None] = ContextVar("gathered", default=None)
_chains: set[object] = set()
_paused_until = 0.0
_is_worker = False
_lock = Lock()


@contextmanager
def chain() -> Iterator[None]:
    """A worker's thread goes from step to step inside."""
    me = object()
    _chains.add(me)
    try:
        yield
    finally:
        _chains.discard(me)


def is_busy() -> bool:
    """Whether this process has enough to do: then a run's branches are done one after the other rather than told to others.

    Where threads are idle they wait for the vendors beside each other.
    """
    return len(_chains) > max(1, settings.WORKER_CONCURRENCY // BUSY_SHARE)


@contextmanager
def deferred_messages() -> Iterator[list[int]]:
    """Messages inside are collected instead of published, for the caller to publish after its commit."""
    messages: list[int] = []
    token = _gathered.set(messages)
    try:
        yield messages
    finally:
        _gathered.reset(token)


def enqueue_step(step_pk: int) -> None:
    """Once the surrounding transaction has committed, tell a worker that the step is due."""
    if (messages := _gathered.get()) is not None:
        messages.append(step_pk)
        return
    transaction.on_commit(functools.partial(_enqueue_step, step_pk), robust=True)


def enqueue_event(event_pk: int) -> None:
    """Once the surrounding transaction has committed, tell a worker that the event is stored."""
    transaction.on_commit(functools.partial(publish, PROCESS_EVENT, event_pk), robust=True)


def _enqueue_step(step_pk: int) -> None:
    failpoint("before-dispatch")
    hoped = accepts_messages()
    if not publish(RUN_STEP, step_pk) and hoped:
        # The row says that it is enqueued, and it is not: let the next sweep see the step at once.
        Step.objects.filter(pk=step_pk).update(enqueued_until=None)


def accepts_messages() -> bool:
    """Whether a message published now would be tried: there is a broker, and it did not just fail."""
    return bool(settings.BROKER_PUBLISH) and time.monotonic() >= _paused_until


def broker_fault() -> str:
    """Asks the broker now, on a connection of its own and without retries. Why it takes no messages; empty where it does."""
    try:
        with current_app.connection_for_write() as asked:
            asked.transport.close_connection(asked.transport.establish_connection())
            folder = (asked.transport_options or {}).get("data_folder_out")
    except Exception as error:  # noqa: BLE001  (whatever the broker's client raises)
        return type(error).__name__
    return "" if folder is None or os.access(folder, os.W_OK) else "its folder cannot be written"


def run_soon(step_pk: int) -> bool:
    """A step that has waited goes before the runs that are yet to begin: here on an idle thread, else by a message as they.

    False where it was not sent.
    """
    return (_is_worker and branches.start(_run_on_idle_thread, step_pk) is not None) or publish(RUN_STEP, step_pk)


def register_worker_process() -> None:
    """This process is one of those that do steps."""
    global _is_worker  # noqa: PLW0603
    _is_worker = True


def _run_on_idle_thread(step_pk: int) -> None:
    try:
        current_app.tasks[RUN_STEP](step_pk)
    except Exception:
        log.exception("Step %s failed; the sweep tries it again", step_pk)


def publish(task: str, pk: int) -> bool:
    """Send one message; False where it was not sent. Never raises, and after a failure does not try for a while."""
    global _paused_until  # noqa: PLW0603
    if not accepts_messages():
        return False
    try:
        current_app.send_task(task, args=[pk], retry=False, ignore_result=True)
    except Exception as error:  # noqa: BLE001  (whatever the broker's client raises, the row is the truth)
        with _lock:
            _paused_until = time.monotonic() + PAUSE_SECONDS
        log.warning("The broker takes no messages (%s); the sweep goes on without it.", type(error).__name__)
        return False
    return True
