"""HubSpot (CRM): companies, contacts, deals and notes."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="hubspot",
    title="HubSpot",
    provider="integrations.providers.hubspot.HubSpot",
    stand_in="integrations.sandbox.hubspot.HubSpot",
)
