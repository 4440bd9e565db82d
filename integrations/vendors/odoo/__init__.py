"""Odoo (ERP): the customer as a partner, and the order as a draft of a sales order."""

from integrations.connectors.declaration import Vendor

VENDOR = Vendor(
    name="odoo",
    title="Odoo",
    provider="integrations.vendors.odoo.connector.Odoo",
    stand_in="integrations.vendors.odoo.sandbox.dialect.Odoo",
)
