"""Amazon SES (email): one mail to a customer's contact, and what became of it."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="ses",
    title="Amazon SES",
    provider="integrations.vendors.ses.connector.Ses",
    stand_in="integrations.vendors.ses.sandbox.Ses",
)
