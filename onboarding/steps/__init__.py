"""What a playbook's steps can do. Importing this package registers every handler."""

from onboarding.steps import crm, declarative, delivery, erp, identity, kickoff, support

__all__ = ["crm", "declarative", "delivery", "erp", "identity", "kickoff", "support"]
