"""A payment that went back holds its run, and a person decides. A part of it is no reason to stop."""

from integrations import clock
from integrations.inbound.events import PaymentRefunded, Role
from integrations.models import InboundEvent
from onboarding.enums import RunEventType
from onboarding.intake import payments
from onboarding.intake.handlers.base import LaterEvent, handles, keep_until_known, report_to


@handles(PaymentRefunded)
def payment_refunded(stored: InboundEvent, event: PaymentRefunded) -> None:
    if not event.whole:
        stored.ignore(outcome="A part of the payment was refunded.", at=clock.now())
        return
    named = (payments.invoice_of(stored.connection, key.value) for key in event.keys if key.role is Role.PAYMENT)
    keys = [*event.keys, *next(filter(None, named), [])]
    run_pk = payments.run_with(keys)
    refund = LaterEvent(RunEventType.PAYMENT_REFUNDED, {"charge": event.charge}, noun="refund", about="payment")
    if run_pk is not None:
        report_to(run_pk, stored, refund)
    elif payments.starts_nothing(stored.connection, keys):
        stored.ignore(outcome="The refund of a payment that starts nothing, such as a renewal.", at=clock.now())
    else:
        keep_until_known(keys, stored, refund)
