"""``python -m tests.bench.alone``: one thread does onboardings from the intake to the end, and prints what each costs as JSON.

For whoever works on the engine: round trips to the database and seconds of Python, without the noise of processes that share
two cores. ``BENCH_PROFILE=path`` also writes a cProfile.
"""

import cProfile
import json
import os
import sys
import time
from contextlib import nullcontext

from tests.bench.contenders import content

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


def _run(name: str) -> None:
    _accept(name)
    _work()


def _accept(name: str) -> None:
    from onboarding.intake import service
    from onboarding.payload.schema import OnboardingPayload

    service.accept(OnboardingPayload.model_validate(content(name)).content(), actor="bench")


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
    json.dump(measure(), sys.stdout)
