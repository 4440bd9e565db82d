"""Asana (delivery): the onboarding project and its tasks."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="asana",
    title="Asana",
    provider="integrations.vendors.asana.connector.Asana",
    stand_in="integrations.vendors.asana.sandbox.dialect.Asana",
)
