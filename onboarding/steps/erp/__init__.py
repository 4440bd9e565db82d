"""ERP steps: the tax id is checked, the customer and the order are made, and the order is seen confirmed for invoicing."""

from onboarding.steps.erp import customer, invoice_ready, order, tax_check

__all__ = ["customer", "invoice_ready", "order", "tax_check"]
