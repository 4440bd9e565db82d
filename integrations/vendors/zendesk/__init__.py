"""Zendesk (support): the customer's organization and its users."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="zendesk",
    title="Zendesk",
    provider="integrations.providers.zendesk.Zendesk",
    stand_in="integrations.sandbox.zendesk.Zendesk",
)
