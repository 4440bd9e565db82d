"""Where a payment is looked at in Stripe's dashboard (https://docs.stripe.com/dashboard/basics)."""

from integrations.providers.stripe import INVOICE, PAYMENT_INTENT

_PARTS = {PAYMENT_INTENT: "payments", INVOICE: "invoices"}


def page(kind: str, value: str, *, live: bool) -> str:
    """The page of an object by its correlation key; empty for one that has none."""
    part = _PARTS.get(kind)
    return f"https://dashboard.stripe.com/{'' if live else 'test/'}{part}/{value}" if part else ""
