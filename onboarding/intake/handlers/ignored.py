"""Nothing follows from it."""

from integrations import clock
from integrations.inbound.events import Ignored
from integrations.models import InboundEvent
from onboarding.intake.handlers.base import handles


@handles(Ignored)
def ignore(stored: InboundEvent, event: Ignored) -> None:
    stored.ignore(outcome=event.reason, at=clock.now())
