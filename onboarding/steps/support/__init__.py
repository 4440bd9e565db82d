"""Support steps: the customer's organization, what it is entitled to, its users, and the first ticket."""

from onboarding.steps.support import accounts, entitlement, ticket

__all__ = ["accounts", "entitlement", "ticket"]
