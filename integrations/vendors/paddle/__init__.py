"""Paddle Billing (billing): payments, told by its webhooks; its customers are read at its API."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="paddle",
    title="Paddle",
    provider="integrations.vendors.paddle.provider.PADDLE",
    stand_in="integrations.vendors.paddle.sandbox.Paddle",
    payer="integrations.vendors.paddle.sample_events.pay",
)
