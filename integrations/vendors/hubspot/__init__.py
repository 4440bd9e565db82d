"""HubSpot (CRM): companies, contacts, deals and notes; and won deals, told by its webhooks."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="hubspot",
    title="HubSpot",
    provider="integrations.vendors.hubspot.provider.HubSpotProvider",
    stand_in="integrations.vendors.hubspot.sandbox.dialect.HubSpot",
)
