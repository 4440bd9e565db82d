"""The field catalogue: one entry a payload field.

It serves the gate, the missing-data form, enrichment and redaction; nothing else in the code says what a field is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from integrations.enums import System


class Type(Enum):
    TEXT = "text"
    NAME = "name"
    DOMAIN = "domain"
    EMAIL = "email"
    DATE = "date"
    FLAG = "flag"
    NUMBER = "number"
    WHOLE = "whole number"
    LIST = "list of texts"
    PEOPLE = "list of people"
    STRUCTURE = "structure"
    """Names and values of the sender's own."""


@dataclass(frozen=True)
class Field:
    """``truth`` is the system that may set it; ``queue`` owns it when it is missing; ``personal`` says it names a person."""

    path: str
    label: str
    type: Type = Type.TEXT
    required: bool = False
    truth: System = System.BILLING
    queue: str = "sales-ops"
    personal: bool = False
    help: str = ""
    choices: tuple[str, ...] = ()


FIELDS: tuple[Field, ...] = (
    Field("customer.legal_name", "Legal name", required=True, truth=System.CRM, help="As on the contract."),
    Field(
        "customer.domain",
        "Domain",
        Type.DOMAIN,
        required=True,
        truth=System.CRM,
        help="The company's own domain, such as acme.com.",
    ),
    Field(
        "customer.no_domain",
        "Has no domain",
        Type.FLAG,
        truth=System.CRM,
        help="Then it is matched by legal name and billing email.",
    ),
    Field("customer.segment", "Segment", truth=System.CRM),
    Field("customer.territory", "Territory", truth=System.CRM),
    Field("customer.legal_entity", "Legal entity", truth=System.ERP, queue="finance"),
    Field("customer.tax_id", "Tax id", truth=System.ERP, queue="finance"),
    Field("customer.country", "Country", truth=System.CRM),
    Field("customer.language", "Language", truth=System.CRM, help="Such as en or de."),
    Field("customer.time_zone", "Time zone", truth=System.CRM, help="Such as Europe/Berlin."),
    Field("customer.primary_contact.name", "Contact's name", Type.NAME, required=True, truth=System.CRM, personal=True),
    Field(
        "customer.primary_contact.email", "Contact's email", Type.EMAIL, required=True, truth=System.CRM, personal=True
    ),
    Field("commercial.plan_sku", "Plan", required=True, help="The plan's SKU, such as pro."),
    Field("commercial.term", "Term", required=True, help="Such as annual or monthly."),
    Field("commercial.amount", "Amount", Type.NUMBER),
    Field("commercial.currency", "Currency"),
    Field("commercial.billing_email", "Billing email", Type.EMAIL, personal=True),
    Field("commercial.order_id", "Order"),
    Field("commercial.deal_id", "Deal", truth=System.CRM),
    Field("commercial.payment_terms", "Payment terms", truth=System.ERP, queue="finance"),
    Field("commercial.cost_centre", "Cost centre", truth=System.ERP, queue="finance"),
    Field("commercial.lines", "Order lines", Type.STRUCTURE, queue="finance"),
    Field(
        "commercial.nonstandard_terms",
        "Nonstandard terms",
        Type.FLAG,
        truth=System.CRM,
        queue="finance",
        help="Then finance approves them before anything is set up.",
    ),
    Field("ownership.crm_owner_id", "CRM owner", required=True, truth=System.CRM, help="The owner's id in the CRM."),
    Field(
        "ownership.implementation_owner_id", "Implementation owner", truth=System.DELIVERY, queue="revenue-operations"
    ),
    Field("kickoff.start_date", "Kickoff date", Type.DATE, truth=System.CRM, help="YYYY-MM-DD; or give an urgency."),
    Field("kickoff.urgency", "Urgency", truth=System.CRM, choices=("low", "normal", "high")),
    Field("first_value_target.milestone", "First value", truth=System.CRM),
    Field("first_value_target.target_days", "Days to first value", Type.WHOLE, truth=System.CRM),
    Field(
        "users",
        "Users",
        Type.PEOPLE,
        truth=System.CRM,
        personal=True,
        help="Who may ask for help: one a line, such as Kim Lee, kim@acme.com, admin. The role may be left out.",
    ),
    Field(
        "security.review_required",
        "Security review",
        Type.FLAG,
        truth=System.CRM,
        queue="leads",
        help="Then it is reviewed before anything is set up.",
    ),
    Field("handover.why_they_bought", "Why they bought", Type.LIST, truth=System.CRM, help="One reason a line."),
    Field("handover.success_criteria", "Success criteria", truth=System.CRM),
    Field("handover.constraints", "Constraints", Type.LIST, truth=System.CRM, help="One a line."),
    Field("handover.stakeholders", "Stakeholders", Type.STRUCTURE, truth=System.CRM, personal=True),
    Field("handover.risks", "Risks", Type.LIST, truth=System.CRM, help="One a line."),
    Field("handover.links", "Links", Type.STRUCTURE, truth=System.CRM),
)

BY_PATH = {field.path: field for field in FIELDS}
PERSONAL_PATHS = frozenset(field.path for field in FIELDS if field.personal)


def entry(path: str) -> Field:
    """The catalogue's entry. Raises ``KeyError`` for a path that it does not list."""
    return BY_PATH[path]


def label(path: str) -> str:
    return BY_PATH[path].label if path in BY_PATH else path


def labels(some: Iterable[str]) -> str:
    return ", ".join(label(path) for path in some)
