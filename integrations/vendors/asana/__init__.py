"""Asana (delivery): the onboarding project and its tasks."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="asana",
    title="Asana",
    provider="integrations.providers.asana.Asana",
    stand_in="integrations.sandbox.asana.Asana",
)
