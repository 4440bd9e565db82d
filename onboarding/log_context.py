"""Which run and which request a log line is about: ``message [request=… run=12]``, the run as in its page's address, ``/r/12/``."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
_run: ContextVar[list[int] | None] = ContextVar("run", default=None)
"""Holds one run at most; None outside of every ``about_run``."""


@contextmanager
def about_run(*run_pk: int) -> Iterator[None]:
    """Log lines inside are about this run, or about the one that ``set_run`` names inside."""
    token = _run.set([*run_pk])
    try:
        yield
    finally:
        _run.reset(token)


def set_run(run_pk: int) -> None:
    """From here to the end of the surrounding ``about_run``; without one, no line would know when it ends."""
    if (run := _run.get()) is not None:
        run[:] = [run_pk]


class ContextFilter(logging.Filter):
    """Gives each record its ``context``; lets all of them pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Django logs an error's answer when the request's middleware is through.
        answered = getattr(getattr(record, "request", None), "logged_as", "")
        named = {"request": request_id.get() or answered, "run": next(iter(_run.get() or ()), None)}
        known = " ".join(f"{name}={value}" for name, value in named.items() if value)
        record.context = f" [{known}]" if known else ""
        return True
