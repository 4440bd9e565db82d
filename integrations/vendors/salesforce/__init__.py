"""Salesforce (CRM): accounts, contacts, opportunities, and notes as completed tasks."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="salesforce",
    title="Salesforce",
    provider="integrations.vendors.salesforce.provider.SalesforceProvider",
    stand_in="integrations.vendors.salesforce.sandbox.dialect.Salesforce",
)
