"""A workflow tool has ended what it was handed over: its report is the step's end, or a ticket."""

from integrations import clock
from integrations.inbound.events import HandOverReported
from integrations.models import InboundEvent
from onboarding.engine.locks import locked_run
from onboarding.engine.runs.hand_over_reports import receive
from onboarding.intake.handlers.base import actor_of, handles
from onboarding.models import OnboardingTransaction, Step
from onboarding.steps.registry import HANDLERS


@handles(HandOverReported)
def hand_over_reported(stored: InboundEvent, event: HandOverReported) -> None:
    run_id, _, rest = event.hand_over.rpartition("/")[0].rpartition("/")
    number = event.hand_over.rpartition("/")[2]
    run_pk = OnboardingTransaction.objects.called(run_id).values_list("pk", flat=True).first() if run_id else None
    if run_pk is None or not (number.isascii() and number.isdecimal() and len(number) <= 4):  # noqa: PLR2004
        stored.ignore(outcome="It is about no hand-over of a run here.", at=clock.now())
        return
    with locked_run(run_pk) as run:
        step = Step.objects.select_related("connection").filter(transaction=run, key=rest).first()
        if step is None or not HANDLERS[step.uses].reports_back or step.connection_id != stored.connection_id:
            stored.ignore(outcome="It is about no step that this connection was handed over.", at=clock.now())
            return
        if int(number) > step.round or not step.token:
            stored.ignore(outcome=f"The step {step.key} was not handed over so often.", at=clock.now())
            return
        receive(run, step, event, number=int(number), actor=actor_of(stored), at=clock.now())
    ended = "succeeded" if event.succeeded else "failed"
    stored.process(outcome=f"{step.key} of {run}: the flow has {ended}", at=clock.now())
