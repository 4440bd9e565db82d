"""VIES (register): whether a VAT number of the European Union is one, and whose."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="vies",
    title="VIES",
    provider="integrations.vendors.vies.connector.Vies",
    stand_in="integrations.vendors.vies.sandbox.Vies",
)
