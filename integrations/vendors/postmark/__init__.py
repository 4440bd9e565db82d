"""Postmark (email): one mail to a customer's contact, and what became of it."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="postmark",
    title="Postmark",
    provider="integrations.vendors.postmark.connector.Postmark",
    stand_in="integrations.vendors.postmark.sandbox.Postmark",
)
