"""Zapier (workflow): steps that a flow does, and reports back."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="zapier",
    title="Zapier",
    provider="integrations.vendors.zapier.connector.Zapier",
    stand_in="integrations.vendors.zapier.sandbox.Zapier",
)
