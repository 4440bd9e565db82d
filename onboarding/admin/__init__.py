"""Onboarding's own tables in the Django admin: prices, owners, API keys, unmatched events and the audit trail."""

from onboarding.admin import model_admins

__all__ = ["model_admins"]
