"""Where a payment is looked at in Stripe's dashboard (https://docs.stripe.com/dashboard/basics)."""

from integrations.inbound.events import Key, Role

_PARTS = {Role.PAYMENT: "payments", Role.INVOICE: "invoices"}


def page(key: Key, is_live: bool) -> str:
    """The page of an object by its correlation key; empty for one that has none."""
    part = _PARTS.get(key.role)
    return f"https://dashboard.stripe.com/{'' if is_live else 'test/'}{part}/{key.value}" if part else ""
