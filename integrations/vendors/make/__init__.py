"""Make (workflow): steps that a flow does, and reports back."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="make",
    title="Make",
    provider="integrations.vendors.make.connector.Make",
    stand_in="integrations.vendors.make.sandbox.Make",
)
