"""Mail (email): through the installation's own mail server. The sandbox's mail catcher stands in for any such server."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="smtp",
    title="Mail",
    provider="integrations.vendors.smtp.connector.Smtp",
)
