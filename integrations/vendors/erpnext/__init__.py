"""ERPNext (ERP): the customer, and the order as a draft of a sales order."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="erpnext",
    title="ERPNext",
    provider="integrations.vendors.erpnext.connector.ErpNext",
    stand_in="integrations.vendors.erpnext.sandbox.dialect.ErpNext",
)
