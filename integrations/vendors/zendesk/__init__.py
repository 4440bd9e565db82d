"""Zendesk (support): the customer's organization and its users."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="zendesk",
    title="Zendesk",
    provider="integrations.vendors.zendesk.connector.Zendesk",
    stand_in="integrations.vendors.zendesk.sandbox.dialect.Zendesk",
)
