"""The customer has booked the kickoff, moved it, or called it off: reported of the run as another system's event would be."""

from integrations.inbound.events import KickoffCancelled, KickoffScheduled
from integrations.models import InboundEvent
from onboarding.engine.locks import locked_run
from onboarding.enums import RunEventType
from onboarding.intake import payments, service
from onboarding.intake.handlers.base import LaterEvent, handles, keep_until_known, report_to


@handles(KickoffScheduled)
def kickoff_scheduled(stored: InboundEvent, event: KickoffScheduled) -> None:
    """A booking that was moved names its run by the one before, too; what comes of it later is known by the new one."""
    replaces = event.replaces.value if event.replaces else ""
    data = {"booking": event.booking.value, "replaces": replaces, "starts_at": event.starts_at.isoformat()}
    news = LaterEvent(RunEventType.KICKOFF_SCHEDULED, data, noun="kickoff's date", about="run")
    keys = [*event.keys, *filter(None, [event.replaces])]
    run_pk = payments.run_with(keys)
    if run_pk is None:
        keep_until_known(keys, stored, news)
        return
    report_to(run_pk, stored, news)
    with locked_run(run_pk) as run:
        service.remember(run, [event.booking])


@handles(KickoffCancelled)
def kickoff_cancelled(stored: InboundEvent, event: KickoffCancelled) -> None:
    data = {"booking": event.booking.value}
    news = LaterEvent(RunEventType.KICKOFF_CANCELLED, data, noun="kickoff's cancellation", about="run")
    keys = [*event.keys, event.booking]
    run_pk = payments.run_with(keys)
    if run_pk is None:
        keep_until_known(keys, stored, news)
    else:
        report_to(run_pk, stored, news)
