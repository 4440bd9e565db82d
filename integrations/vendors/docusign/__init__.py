"""DocuSign (e-signature): signed orders and approved contracts, told by its webhooks."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="docusign",
    title="DocuSign",
    provider="integrations.vendors.docusign.provider.DOCUSIGN",
    stand_in="integrations.vendors.docusign.sandbox.DocuSign",
)
