"""SendGrid (email): one mail to a customer's contact, and what became of it."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="sendgrid",
    title="SendGrid",
    provider="integrations.vendors.sendgrid.connector.SendGrid",
    stand_in="integrations.vendors.sendgrid.sandbox.SendGrid",
)
