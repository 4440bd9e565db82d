"""What the engine is measured against: a DBOS workflow (https://docs.dbos.dev/python), one step of it a step of the playbook.

``python -m tests.bench.peers.durable NAME`` runs workflows as executor NAME, ``… prepare`` only makes the tables. The
database keeps each step's result, so that a killed process' onboardings go on; a call whose answer was lost is done again.
"""

import os
import signal
import sys
from contextlib import suppress
from itertools import chain

from dbos import DBOS, DBOSConfig

from tests.bench.peers import calls

QUEUE = "bench"
APPLICATION = "bench"
VERSION = "1"
AT_ONCE = int(os.environ.get("WORKER_CONCURRENCY", "16"))
"""Workflows a process, as our workers have threads."""
POLL_SECONDS = 0.1
"""How often the queue is looked at; the library's default of a second would cost it rate and latency."""
PREPARE = "prepare"
IN_ORDER, BESIDE = "in_order", "beside"


@DBOS.step(retries_allowed=True, max_attempts=5)
def do(step: str, content: calls.Content, found: calls.Found) -> str:
    return calls.do(step, content, found)


@DBOS.workflow(name=IN_ORDER)
def in_order(content: calls.Content) -> None:
    """One step after the other: what costs it least."""
    _follow(content, {}, (*calls.FIRST, *chain.from_iterable(calls.BRANCHES), *calls.LAST))


@DBOS.workflow(name=BESIDE)
def beside(content: calls.Content) -> None:
    """Branches beside each other as workflows of their own: what answers soonest."""
    found = _follow(content, {}, calls.FIRST)
    started = [DBOS.start_workflow(branch, content, found, list(names)) for names in calls.BRANCHES]
    for handle in started:
        found |= handle.get_result(polling_interval_sec=POLL_SECONDS)
    _follow(content, found, calls.LAST)


@DBOS.workflow(name="branch")
def branch(content: calls.Content, found: calls.Found, names: list[str]) -> calls.Found:
    return _follow(content, found, names)


def _follow(content: calls.Content, found: calls.Found, names: list[str] | tuple[str, ...]) -> calls.Found:
    for name in names:
        found = {**found, name: do(name, content, found)}
    return found


def launch(name: str) -> None:
    config: DBOSConfig = {
        "name": APPLICATION,
        "system_database_url": os.environ["BENCH_DBOS"],
        "application_version": VERSION,
        "executor_id": name,
        "log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=AT_ONCE, polling_interval_sec=POLL_SECONDS)


def work() -> None:
    with suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        while True:
            signal.pause()


if __name__ == "__main__":
    launch(sys.argv[1])
    if sys.argv[1] != PREPARE:
        work()
    DBOS.destroy()
