"""What a playbook's steps can do. Importing this package registers every handler."""

from onboarding.steps import approval, crm, declarative, delivery, erp, hand_over, identity, kickoff, support

__all__ = ["approval", "crm", "declarative", "delivery", "erp", "hand_over", "identity", "kickoff", "support"]
