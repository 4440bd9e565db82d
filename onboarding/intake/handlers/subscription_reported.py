"""What is told of a subscription decides whether its next payment is its first."""

from integrations import clock
from integrations.enums import EventState
from integrations.inbound.events import SubscriptionFacts, SubscriptionReported
from integrations.models import InboundEvent
from onboarding.engine.dispatch import enqueue_event
from onboarding.intake import payments, subscriptions
from onboarding.intake.handlers.base import handles


@handles(SubscriptionReported)
def subscription_reported(stored: InboundEvent, event: SubscriptionReported) -> None:
    note(stored, event.subscription)
    stored.ignore(outcome=event.reason, at=clock.now())


def note(stored: InboundEvent, about: SubscriptionFacts | None) -> None:
    """Where it shows only now that a subscription began here, what was taken for its renewal is judged again."""
    if about is None or not subscriptions.note(stored.connection, about):
        return
    if earlier := payments.reconsider(stored.connection, about.id):
        subscriptions.forget_settled(stored.connection, about.id)
        if earlier.state == EventState.IGNORED:
            earlier.reconsider(at=clock.now())
            earlier.save()
            enqueue_event(earlier.pk)
