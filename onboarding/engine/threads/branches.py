"""Branches of a run beside each other in one worker process, on threads of their own: no message is sent, and no other process
reads the run's rows while they move here.

A bounded number, on top of the worker's own threads. Where none is idle, whoever asks does its branches one after the other.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from threading import BoundedSemaphore

from django.conf import settings

WORTH_SECONDS = 0.03
"""A vendor's part of a step that takes less is over sooner than another thread has read the run's rows."""
SHARE = 2
"""One thread for so many of the worker's own."""


@cache
def _threads() -> tuple[ThreadPoolExecutor, BoundedSemaphore]:
    number = max(1, settings.WORKER_CONCURRENCY // SHARE)
    return ThreadPoolExecutor(number, thread_name_prefix="branch"), BoundedSemaphore(number)


def start(work: Callable[[int], None], step_pk: int) -> "Future[None] | None":
    """Do ``work`` on an idle thread; None where there is none."""
    pool, idle = _threads()
    if not idle.acquire(blocking=False):
        return None
    context = copy_context()
    return pool.submit(context.run, _do, work, step_pk, idle)


def _do(work: Callable[[int], None], step_pk: int, idle: BoundedSemaphore) -> None:
    try:
        work(step_pk)
    finally:
        idle.release()
