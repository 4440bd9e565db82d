"""``python -m tests.bench.alone``: one thread does onboardings from the intake to the end, and prints what each costs as JSON.

For whoever works on the engine: round trips to the database and seconds of Python, without the noise of processes that share
two cores. ``BENCH_PROFILE=path`` also writes a cProfile. ``python -m tests.bench.alone lean``: which share of the transitions of an
enterprise's onboarding is lean (docs/engine.md).
"""

import cProfile
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from tests.bench.contenders import BENCH, ENTERPRISE, content

ONBOARDINGS = 15


def measure() -> dict[str, float]:
    """Round trips: BEGIN and COMMIT count, health checks of connections do not. Seconds: of this thread's CPU."""
    from django.conf import settings
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    settings.BROKER_PUBLISH = False
    _run("alone-warm")
    with CaptureQueriesContext(connection) as taken:
        _accept("alone-counted")
    with CaptureQueriesContext(connection) as work:
        _work()
    profile = os.environ.get("BENCH_PROFILE")
    began = time.thread_time()
    with cProfile.Profile() if profile else nullcontext() as watching:
        for number in range(ONBOARDINGS):
            _run(f"alone-{number}")
    seconds = time.thread_time() - began
    if watching and profile:
        watching.dump_stats(profile)
    return {"round_trips": len(work), "round_trips_of_intake": len(taken), "python_seconds": seconds / ONBOARDINGS}


def lean_share() -> dict[str, float]:
    """A transition is one transaction that holds a run; what the lean path gave up counts as what it became."""
    from django.conf import settings

    settings.BROKER_PUBLISH = False
    _run("lean-warm", ENTERPRISE)
    with _counted() as counts:
        for number in range(ONBOARDINGS):
            _run(f"lean-{number}", ENTERPRISE)
    every = counts["lean"] + counts["general"]
    return {"share": counts["lean"] / every, "transitions": every / ONBOARDINGS}


@contextmanager
def _counted() -> Iterator[Counter[str]]:
    from onboarding.engine import locks

    counts: Counter[str] = Counter()
    kinds = {"lean": "_lean_transaction", "general": "_saved"}
    before = {name: getattr(locks, name) for name in kinds.values()}

    def counting(kind: str, made: Any) -> Any:
        @contextmanager
        def transaction(*arguments: Any) -> Iterator[Any]:
            with made(*arguments) as given:
                yield given
            counts[kind] += 1  # not where it was given up

        return transaction

    for kind, name in kinds.items():
        setattr(locks, name, counting(kind, before[name]))
    try:
        yield counts
    finally:
        for name, made in before.items():
            setattr(locks, name, made)


def _run(name: str, plan: str = BENCH) -> None:
    _accept(name, plan)
    _work()


def _accept(name: str, plan: str = BENCH) -> None:
    from onboarding.intake import service
    from onboarding.payload.schema import OnboardingPayload

    service.accept(OnboardingPayload.model_validate(content(name, plan)).content(), actor="bench")


def _work() -> None:
    """Whatever is due, in this thread; the sweep among it."""
    from onboarding.engine import execution
    from onboarding.engine.periodic import sweep
    from onboarding.enums import Status
    from onboarding.models import OnboardingTransaction

    under_way = OnboardingTransaction.objects.filter(
        status__in=(Status.QUEUED, Status.PROVISIONING, Status.READY_FOR_KICKOFF)
    )
    while under_way.exists():
        for pk in sweep.sweep().steps:
            execution.run_step(pk)


if __name__ == "__main__":
    import logging

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    logging.disable(logging.INFO)
    json.dump(lean_share() if sys.argv[1:] == ["lean"] else measure(), sys.stdout)
