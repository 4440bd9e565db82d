"""Commands that speak to people in plain words."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from integrations.http import client


@contextmanager
def without_call_logs() -> Iterator[None]:
    """Keep the log lines of single calls out of a command's answer."""
    calls = logging.getLogger(client.__name__)
    level = calls.level
    calls.setLevel(logging.ERROR)
    try:
        yield
    finally:
        calls.setLevel(level)
