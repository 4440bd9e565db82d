"""What this app does with news from the outside world."""

from typing import Any

from django.dispatch import receiver

from integrations.models import InboundEvent
from integrations.signals import inbound_event_received
from onboarding.engine.dispatch import hint_event


@receiver(inbound_event_received, dispatch_uid="onboarding.hint_event")
def hint_at_event(event: InboundEvent, **_: Any) -> None:
    hint_event(event.pk)
