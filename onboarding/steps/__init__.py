"""What a playbook's steps can do. Importing this package registers every handler."""

from onboarding.steps import crm, delivery, support

__all__ = ["crm", "delivery", "support"]
