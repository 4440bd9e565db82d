"""Calendly (scheduling): the link by which a customer books the kickoff, and what becomes of the booking."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="calendly",
    title="Calendly",
    provider="integrations.vendors.calendly.connector.Calendly",
    stand_in="integrations.vendors.calendly.sandbox.Calendly",
)
