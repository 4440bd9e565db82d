"""HubSpot (CRM): companies, contacts, deals and notes."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="hubspot",
    title="HubSpot",
    provider="integrations.vendors.hubspot.connector.HubSpot",
    stand_in="integrations.vendors.hubspot.sandbox.dialect.HubSpot",
)
