"""What a worker does with a message."""

from celery import shared_task

from onboarding.engine import connection_queue, dispatch, execution
from onboarding.engine.periodic import polling
from onboarding.intake import events


@shared_task(name=dispatch.RUN_STEP, ignore_result=True)
def run_step(step_pk: int) -> None:
    dispatch.register_worker_process()
    execution.run_step(step_pk, with_branches=True)


@shared_task(name=dispatch.PROCESS_EVENT, ignore_result=True)
def process_event(event_pk: int) -> None:
    events.process_event(event_pk)


@shared_task(name=dispatch.POLL_STEP, ignore_result=True)
def poll_step(step_pk: int) -> None:
    polling.poll(step_pk)


@shared_task(name=dispatch.PROBE, ignore_result=True)
def probe_connection(connection_pk: int) -> None:
    connection_queue.probe(connection_pk)
