"""A process that does the engine's work and may be killed at a failpoint. ``python -m tests.chaos.worker DATABASE``.

It reads orders, one JSON object a line, and answers each with the exit code of a process of its own, forked for it: 137
where that one met its end at a failpoint, 0 where it did all that it was told. What it says is on standard error.
"""

import json
import os
import sys
from contextlib import suppress
from datetime import timedelta
from typing import Any

import django
from django.db import connections

from tests.chaos.vendors import COMPANY

Order = dict[str, Any]


def do(order: Order) -> None:
    """``{"do": [[name, argument…]…], "failpoint": "NAME:K", "count": path, "without": safeguard, "threads": n}``."""
    from exceptions_queue import scheduling
    from integrations import failpoints
    from tests.chaos import safeguards

    catch_up()
    scheduling.OWN_THREADS = order.get("threads", 1)  # one: the same hits in the same order every time
    if taken_out := order.get("without"):
        safeguards.take_out(taken_out)
    failpoints.arm(order.get("failpoint", ""), order.get("count", ""))
    for name, *arguments in order["do"]:
        TASKS[name](*arguments)


def catch_up() -> None:
    """Time goes on from where the last process left it."""
    from django.db.models import Max

    from integrations import clock
    from onboarding.models import AuditEntry

    latest = AuditEntry.objects.aggregate(latest=Max("at"))["latest"]
    if latest:
        clock.shift(max(latest - clock.now(), timedelta(0)))


def accept(content: dict[str, Any]) -> None:
    from onboarding.intake import service
    from onboarding.payload.schema import OnboardingPayload

    service.accept(OnboardingPayload.model_validate(content).content(), actor="chaos")


def deliver(kind: str, name: str) -> None:
    """Stripe's event of that kind about the customer's payment is stored, as its webhook does; the sweep finds it."""
    from integrations.models import InboundEvent
    from integrations.vendors.stripe.sample_events import Payment
    from tests.support.stripe_events import COMPLETE, store

    ids = {part: f"{part}_{name}" for part in ("customer", "session_id", "invoice_id", "intent_id", "subscription_id")}
    about = {**COMPLETE, "legal_name": f"{name} Works"}
    payment = Payment(created=1_790_000_000, email=f"ann@{name}-works.com", metadata=about, **ids)
    event = {**getattr(payment, kind)(), "id": f"evt_{name}_{kind}"}
    if not InboundEvent.objects.filter(external_id=event["id"]).exists():
        store(event)


def drain() -> None:
    from tests.conftest import drain_engine

    drain_engine(max_passes=400)


def one_pass() -> None:
    """What is due right now, and no moving of time."""
    from exceptions_queue import scheduling

    scheduling.one_pass(publish=False)


def act(name: str, run_id: str, *arguments: Any) -> None:
    """What a person does to a run; what makes no sense (any more) is refused."""
    from onboarding import services
    from onboarding.models import OnboardingTransaction

    run = OnboardingTransaction.objects.get(onboarding_transaction_id=run_id)
    with suppress(services.Refused):
        if name in ("hold", "cancel", "rollback", "keep"):
            getattr(services, name)(run.pk, actor="kim", reason="chaos")
        else:
            getattr(services, name)(run.pk, *arguments, actor="kim")


def act_on_step(name: str, run_id: str, key: str, more: dict[str, Any]) -> None:
    """What a person does to one step; what makes no sense (any more) is refused."""
    from onboarding import services
    from onboarding.models import Step

    step = Step.objects.get(transaction__onboarding_transaction_id=run_id, key=key)
    with suppress(services.Refused):
        getattr(services, name)(step.pk, actor="kim", **more)


def retry(run_id: str) -> None:
    """A person tries again what is blocked in a run."""
    from onboarding import services
    from onboarding.enums import StepState
    from onboarding.models import Step

    for step in Step.objects.filter(transaction__onboarding_transaction_id=run_id, state=StepState.BLOCKED):
        services.retry_step(step.pk, actor="kim")


def kickoff(run_id: str) -> None:
    from integrations import clock
    from onboarding import services
    from onboarding.enums import RunEventType
    from onboarding.models import OnboardingTransaction

    run = OnboardingTransaction.objects.get(onboarding_transaction_id=run_id)
    kind = RunEventType.KICKOFF_SCHEDULED
    services.receive_event(run.pk, kind=kind, event_id="evt", occurred_at=clock.now(), data={}, actor="chaos")


TASKS = {
    "accept": accept,
    "deliver": deliver,
    "drain": drain,
    "pass": one_pass,
    "act": act,
    "act on step": act_on_step,
    "retry": retry,
    "kickoff": kickoff,
}


def main(database: str) -> None:
    from django.conf import settings

    django.setup()
    settings.CONFIG_DIR = COMPANY  # mapped providers were read from the tests' company, as in the test process
    connections.settings["default"]["NAME"] = database
    from tests import conftest  # noqa: F401 (imported once, not by every child)

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                do(json.loads(line))
                code = 0
            except BaseException:  # noqa: BLE001 (told below, by its exit code)
                import traceback

                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
