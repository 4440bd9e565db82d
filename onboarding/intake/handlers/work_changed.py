"""A task was changed at the delivery vendor: if a step awaits that it is done, it is looked at now, and believed as it is there."""

from integrations import clock
from integrations.inbound.events import WorkChanged
from integrations.models import InboundEvent
from onboarding.engine.periodic import polling
from onboarding.enums import WaitsFor
from onboarding.intake.handlers.base import handles
from onboarding.models import ObjectMapping

NOT_AWAITED = "No onboarding waits for this task."


@handles(WorkChanged)
def work_changed(stored: InboundEvent, event: WorkChanged) -> None:
    mapped = ObjectMapping.objects.filter(connection=stored.connection, external_id=event.object_id)
    awaited = list(mapped.filter(step__waits_for=WaitsFor.EVENT).values_list("step", flat=True))
    if not awaited:
        stored.ignore(outcome=NOT_AWAITED, at=clock.now())
        return
    polling.look_now(awaited)
    stored.process(outcome="The task that an onboarding waits for is looked at.", at=clock.now())
