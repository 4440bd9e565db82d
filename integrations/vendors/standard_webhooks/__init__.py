"""Standard Webhooks (billing): any system that can sign a webhook tells of settled orders, in the words of our own payload."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="standard-webhooks",
    title="Standard Webhooks",
    provider="integrations.vendors.standard_webhooks.provider.STANDARD_WEBHOOKS",
    payer="integrations.vendors.standard_webhooks.sample_events.pay",
)
