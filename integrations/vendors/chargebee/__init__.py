"""Chargebee (billing): payments, told by its webhooks."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="chargebee",
    title="Chargebee",
    provider="integrations.vendors.chargebee.provider.CHARGEBEE",
    payer="integrations.vendors.chargebee.sample_events.pay",
)
