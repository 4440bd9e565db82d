"""What a playbook's steps can do. Importing this package registers every handler."""

from onboarding.steps import crm, delivery, http, kickoff, support

__all__ = ["crm", "delivery", "http", "kickoff", "support"]
