"""SCIM 2.0 (identity): the customer's group and its users, at any server that speaks the protocol."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="scim",
    title="SCIM",
    provider="integrations.vendors.scim.connector.Scim",
    stand_in="integrations.vendors.scim.sandbox.dialect.Scim",
)
