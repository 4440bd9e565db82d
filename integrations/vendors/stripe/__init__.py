"""Stripe (billing): payments, told by its webhooks."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="stripe",
    title="Stripe",
    provider="integrations.vendors.stripe.provider.STRIPE",
    payer="integrations.vendors.stripe.sample_events.pay",
)
