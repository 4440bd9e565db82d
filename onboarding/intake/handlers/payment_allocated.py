"""Which invoice a payment pays may come before either of them, or after both have been taken for others."""

from integrations import clock
from integrations.inbound.events import PaymentAllocated
from integrations.models import InboundEvent
from onboarding.engine.locks import locked_run
from onboarding.intake import late, payments, service
from onboarding.intake.handlers.base import actor_of, handles


@handles(PaymentAllocated)
def payment_allocated(stored: InboundEvent, event: PaymentAllocated) -> None:
    connection, actor = stored.connection, actor_of(stored)
    payment, invoice = event.payment.value, event.invoice.value
    payments.link(connection, payment, invoice)
    if payments.starts_nothing(connection, [event.invoice]):
        for pk in sorted(late.runs_of_payments(connection, [payment], invoice)):
            with locked_run(pk) as run:
                late.withdraw(run, reason=late.RENEWAL.format(invoice=invoice), actor=actor)
    else:
        late.merge(connection, payments.payments_of(connection, invoice), invoice, actor=actor)
        if (run_pk := payments.run_with([event.invoice, event.payment])) is not None:
            with locked_run(run_pk) as run:
                service.remember(run, [event.invoice, event.payment])
    payments.release(connection, [event.payment, event.invoice])
    stored.process(outcome=f"{payment} pays {invoice}", at=clock.now())
