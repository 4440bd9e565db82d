"""ERP steps: the tax id is checked, then the customer and the order are made."""

from onboarding.steps.erp import customer, order, tax_check

__all__ = ["customer", "order", "tax_check"]
