"""Slack (chat): messages to one channel."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="slack",
    title="Slack",
    provider="integrations.vendors.slack.connector.Slack",
    stand_in="integrations.vendors.slack.sandbox.Slack",
)
