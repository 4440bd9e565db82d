"""What follows from each event that a vendor told of: one module an event, found by the event's class."""

from onboarding.intake.handlers import (  # noqa: F401  (they register themselves)
    hand_over_reported,
    ignored,
    kickoff,
    mail_bounced,
    order_events,
    payment_allocated,
    payment_refunded,
    payment_succeeded,
    subscription_reported,
    work_changed,
)
