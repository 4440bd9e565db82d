"""n8n (workflow): steps that a flow does, and reports back."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="n8n",
    title="n8n",
    provider="integrations.vendors.n8n.connector.N8n",
    stand_in="integrations.vendors.n8n.sandbox.N8n",
)
