"""Mailgun (email): one mail to a customer's contact, and what became of it."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="mailgun",
    title="Mailgun",
    provider="integrations.vendors.mailgun.connector.Mailgun",
    stand_in="integrations.vendors.mailgun.sandbox.Mailgun",
)
