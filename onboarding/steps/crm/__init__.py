"""CRM steps: what the CRM knows; the customer's records, the deal with its lines, the brief, and the success plan."""

from onboarding.steps.crm import deal_lines, records, success_plan

__all__ = ["deal_lines", "records", "success_plan"]
