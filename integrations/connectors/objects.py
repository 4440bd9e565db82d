"""What a step asks of a system: one dataclass a kind of object, with the same fields for every vendor of that system."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Self, TypedDict

Number = Decimal | int | float | str
_EMPTY = ("", None)


@dataclass(frozen=True, kw_only=True)
class VendorObject:
    """An empty field says nothing: a create leaves it out, and an update leaves it as it is at the vendor."""

    KIND: ClassVar[str]

    @property
    def kind(self) -> str:
        return self.KIND

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """From what ``given`` gave, as a JSON column returns it. Raises ``TypeError`` for a field that it does not have."""
        return cls(**given)

    def given(self) -> dict[str, Any]:
        """The fields that say something, fit for JSON: what an intent keeps and an update is compared by."""
        return {name: value for name, value in vars(self).items() if value not in _EMPTY}


@dataclass(frozen=True, kw_only=True)
class CrmAccount(VendorObject):
    KIND = "company"

    name: str = ""
    domain: str = ""
    country: str = ""
    """ISO 3166-1 alpha-2."""
    owner_id: str = ""


@dataclass(frozen=True, kw_only=True)
class CrmContact(VendorObject):
    KIND = "contact"

    email: str = ""
    first_name: str = ""
    last_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Deal(VendorObject):
    KIND = "deal"

    name: str = ""
    amount: Number | None = None
    currency: str = ""
    """ISO 4217."""
    owner_id: str = ""
    transaction_id: str = ""
    """Of our run."""
    onboarding_status: str = ""
    """The run's status, or ``on-hold``."""
    implementation_owner: str = ""


@dataclass(frozen=True, kw_only=True)
class DealLine(VendorObject):
    """One line of what a deal has sold; ``associate`` puts it on the deal."""

    KIND = "line-item"

    name: str = ""
    sku: str = ""
    quantity: Number | None = None
    unit_price: Number | None = None
    """In the deal's currency, before tax."""


@dataclass(frozen=True, kw_only=True)
class CrmNote(VendorObject):
    KIND = "note"

    body: str = ""
    """HTML."""
    at: str = ""
    """ISO 8601."""
    company_id: str = ""
    deal_id: str = ""


@dataclass(frozen=True, kw_only=True)
class SuccessPlan(VendorObject):
    """A task of customer success, at the customer's account: it is due when the customer is to have reached the first value."""

    KIND = "success-plan"

    name: str = ""
    body: str = ""
    """HTML."""
    due_on: str = ""
    """ISO 8601: the target date of the first value."""
    owner_id: str = ""
    """Of the account, for a CRM whose connection names nobody of customer success."""
    company_id: str = ""
    deal_id: str = ""


@dataclass(frozen=True, kw_only=True)
class ErpCustomer(VendorObject):
    KIND = "customer"

    name: str = ""
    """Of the legal entity."""
    country: str = ""
    """ISO 3166-1 alpha-2."""
    tax_id: str = ""
    """As its country writes it, without separators."""
    email: str = ""
    """For invoices."""
    currency: str = ""
    """ISO 4217."""
    payment_terms: str = ""
    """As the ERP calls them."""
    subsidiary: str = ""
    """Ours that sells, as the ERP calls it; empty: the ERP's default."""


class OrderLine(TypedDict, total=False):
    """One line of an order at the ERP. What is left out says nothing, but for ``product``, ``quantity`` and ``unit_price``."""

    product: str
    """The ERP's own code of it."""
    part: str
    """``software``, ``implementation`` or ``managed-support``."""
    description: str
    quantity: int | float
    unit_price: str
    """A decimal number, before tax."""
    revenue_start: str
    """ISO 8601, as ``revenue_end``: the first and the last day of what is delivered for it."""
    revenue_end: str
    cost_centre: str
    """As the ERP calls it."""
    business_unit: str
    """As the ERP calls it."""


class OrderSchedule(TypedDict):
    """Days are ISO 8601; the last ones belong to it."""

    term: str
    billing_start: str
    billing_end: str
    revenue_start: str
    revenue_end: str


@dataclass(frozen=True, kw_only=True)
class ErpOrder(VendorObject):
    """A draft: finance confirms it and sends its invoices."""

    KIND = "order"

    name: str = ""
    customer_id: str = ""
    """Of the ``ErpCustomer``."""
    currency: str = ""
    """ISO 4217."""
    payment_terms: str = ""
    """As the ERP calls them."""
    subsidiary: str = ""
    """Ours that sells, as the ERP calls it; empty: the ERP's default."""
    schedule: OrderSchedule | None = None
    lines: list[OrderLine] | None = None
    former_lines: list[OrderLine] | None = None
    """For an update: the lines that ``lines`` replaces. Others, which people have added there, stay."""


@dataclass(frozen=True, kw_only=True)
class DeliveryProject(VendorObject):
    KIND = "project"

    name: str = ""
    start_date: str = ""
    """ISO 8601. It only places what a template brings when the project is made."""
    template: str = ""
    """The vendor's id of what it is made from, where that is not the connection's usual one. It matters when it is made."""
    notes: str = ""
    """Our part of the project's description."""


@dataclass(frozen=True, kw_only=True)
class DeliveryTask(VendorObject):
    KIND = "task"

    name: str = ""
    project_id: str = ""
    notes: str = ""
    due_on: str = ""
    """ISO 8601."""
    assignee: str = ""
    completed: bool | None = None


@dataclass(frozen=True, kw_only=True)
class SupportOrganization(VendorObject):
    KIND = "organization"

    name: str = ""
    name_if_taken: str = ""
    """For a create where another one holds the name, and a person has said that it is another customer."""
    domains: list[str] | None = None
    """The customer's; an empty list says that there are none."""
    former_domains: list[str] | None = None
    """For an update: those that are the customer's no more. Others on the vendor's list stay."""
    tags: list[str] | None = None
    """For an update: those of its entitlement. Others on the vendor's list stay."""
    former_tags: list[str] | None = None
    """For an update: those of entitlements that it does not have (any more)."""
    sla_tier: str = ""
    """As the help desk calls it."""
    support_plan: str = ""
    """As the help desk calls it."""


@dataclass(frozen=True, kw_only=True)
class SupportTicket(VendorObject):
    """Internal: agents see it, and the customer does not."""

    KIND = "ticket"

    subject: str = ""
    body: str = ""
    """Plain text; a ticket's first comment is never changed."""
    organization_id: str = ""
    requester: str = ""
    """Address of the customer's user whom it is about."""
    requester_name: str = ""
    tags: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class SupportUser(VendorObject):
    KIND = "user"

    name: str = ""
    email: str = ""
    organization_id: str = ""


class SupportUserItem(TypedDict):
    """One of several users: the item's key, our reference, and what is asked for."""

    key: str
    reference: str
    name: str
    email: str


@dataclass(frozen=True, kw_only=True)
class SupportUsers(VendorObject):
    """Many users of one organization, in one call."""

    KIND = SupportUser.KIND

    organization_id: str = ""
    items: list[SupportUserItem] | None = None


@dataclass(frozen=True, kw_only=True)
class IdentityGroup(VendorObject):
    KIND = "group"

    name: str = ""
    members: list[str] | None = None
    """Ids of users. For a create all of them, for an update those to be added; others who are in it stay."""
    former_members: list[str] | None = None
    """For an update: ids of users who are in it no more."""


@dataclass(frozen=True, kw_only=True)
class IdentityUser(VendorObject):
    KIND = "user"

    email: str = ""
    """What the user signs in with, too."""
    name: str = ""
    """As it is shown."""
    first_name: str = ""
    last_name: str = ""


@dataclass(frozen=True, kw_only=True)
class SchedulingLink(VendorObject):
    """By which a customer books one appointment."""

    KIND = "scheduling-link"

    transaction_id: str = ""
    """Of our run: it comes back with the booking."""


@dataclass(frozen=True, kw_only=True)
class Mail(VendorObject):
    KIND = "message"

    to: str = ""
    to_name: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""
    """The same as the text, for programs that show it."""


@dataclass(frozen=True, kw_only=True)
class ChatMessage(VendorObject):
    """Plain text throughout: the vendor escapes what its markup would read."""

    KIND = "message"

    title: str = ""
    lines: list[str] | None = None
    link: str = ""
    """An address, and what it is called."""
    link_label: str = ""


@dataclass(frozen=True, kw_only=True)
class HandOver(VendorObject):
    """A step that a workflow tool does in our place; the tool reports later how it ended (``HandOverReported``)."""

    KIND = "hand-over"

    hand_over: str = ""
    """By which its report names it."""
    transaction_id: str = ""
    """Of our run."""
    step: str = ""
    """The step's key in its playbook, by which one flow may tell several steps apart."""
    minutes: int | None = None
    """From when it is sent until the report is due."""
    payload: Mapping[str, Any] | None = None
    """What the tool is told of the customer."""


@dataclass(frozen=True, kw_only=True)
class MappedValues(VendorObject):
    """For a vendor that a mapping describes: the values that its templates name, and of a batch those of each item."""

    of_kind: str
    values: Mapping[str, Any]
    items: list[dict[str, Any]] | None = None
    """``{"key", "reference", "values"}`` each."""

    @property
    def kind(self) -> str:
        return self.of_kind

    def given(self) -> dict[str, Any]:
        return {"values": dict(self.values)} | ({} if self.items is None else {"items": self.items})
