"""Jira Cloud (delivery): an epic a run in one project, and its tasks."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="jira",
    title="Jira",
    provider="integrations.vendors.jira.connector.Jira",
    stand_in="integrations.vendors.jira.sandbox.dialect.Jira",
)
