"""The canonical payload's shape and types. What is *missing* is the gate's business, never this module's."""

import hashlib
import json
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

TransactionId = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@~+-]*$")]
Text = Annotated[str, Field(max_length=2_000)]
Amount = Annotated[Decimal, Field(ge=0, max_digits=18)]


PLAUSIBLE_YEARS = range(2000, 2200)


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError("must be a number")  # noqa: TRY004  (pydantic turns ValueError into a 400)
    return value


def _strict_bool(value: Any) -> Any:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004
    return value


def _zulu(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be an RFC 3339 time such as 2026-11-22T10:00:00Z")  # noqa: TRY004
    return value


def _in_range(value: datetime) -> datetime:
    if value.year not in PLAUSIBLE_YEARS:
        raise ValueError("must lie between the years 2000 and 2199")
    return value


Number = Annotated[Amount, BeforeValidator(_number)]
Flag = Annotated[bool, BeforeValidator(_strict_bool)]
Instant = Annotated[AwareDatetime, BeforeValidator(_zulu), AfterValidator(_in_range)]


class Part(BaseModel):
    """Unknown fields are kept; null is an absent field."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if item is not None}
        return value


class Person(Part):
    name: Text = ""
    email: Text = ""


class Customer(Part):
    legal_name: Text = ""
    domain: Text = ""
    no_domain: Flag = False
    segment: Text = ""
    territory: Text = ""
    legal_entity: Text = ""
    tax_id: Text = ""
    country: Text = ""
    primary_contact: Person = Person()


class Commercial(Part):
    plan_sku: Text = ""
    term: Text = ""
    amount: Number | None = None
    currency: Text = ""
    billing_email: Text = ""
    order_id: Text = ""
    deal_id: Text = ""
    payment_terms: Text = ""
    cost_centre: Text = ""
    nonstandard_terms: Flag = False
    lines: list[dict[str, Any]] = []


class Ownership(Part):
    crm_owner_id: Text = ""
    implementation_owner_id: Text = ""


class Kickoff(Part):
    start_date: Text = ""
    urgency: Text = ""


class FirstValueTarget(Part):
    milestone: Text = ""
    target_days: Annotated[int, Field(ge=0, le=3650, strict=True)] | None = None


class User(Person):
    role: Text = ""


class Security(Part):
    review_required: Flag = False


class Handover(Part):
    why_they_bought: list[Any] = []
    success_criteria: Text = ""
    constraints: list[Any] = []
    stakeholders: dict[str, Any] = {}
    risks: list[Any] = []
    links: dict[str, Any] = {}


class OnboardingPayload(Part):
    """The payload of one onboarding transaction."""

    onboarding_transaction_id: TransactionId
    event_source: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
    occurred_at: Instant | None = None
    customer: Customer = Customer()
    commercial: Commercial = Commercial()
    ownership: Ownership = Ownership()
    kickoff: Kickoff = Kickoff()
    first_value_target: FirstValueTarget = FirstValueTarget()
    users: Annotated[list[User], Field(max_length=1_000)] = []
    security: Security = Security()
    handover: Handover = Handover()

    def content(self) -> dict[str, Any]:
        """What is kept: the fields that were sent, unknown ones too, without empty strings (an empty string is absent)."""
        sent: dict[str, Any] = json.loads(self.model_dump_json(exclude_unset=True))
        if isinstance(self.commercial.amount, Decimal):
            sent["commercial"]["amount"] = plain_number(self.commercial.amount)
        cleaned = without_empty(sent)
        assert isinstance(cleaned, dict)  # noqa: S101  (a dict in, a dict out)
        return cleaned


def plain_number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def without_empty(value: Any) -> Any:
    """``value`` without the dictionary entries that say nothing: empty strings and what holds only those."""
    if isinstance(value, dict):
        cleaned = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in cleaned.items() if item not in ("", {}, None)}
    if isinstance(value, list):
        return [without_empty(item) for item in value]
    return value.strip() if isinstance(value, str) else value


def digest(content: dict[str, Any]) -> str:
    """SHA-256 over the content's canonical JSON (sorted keys, no spaces)."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def get(content: dict[str, Any], path: str, default: Any = "") -> Any:
    """The value at a dotted path, or ``default``."""
    value: Any = content
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return default
        value = value[part]
    return value


def with_value(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of ``content`` with ``value`` at a dotted path (removed where the value is empty)."""
    head, _, rest = path.partition(".")
    copy = dict(content)
    if rest:
        inner = copy.get(head)
        copy[head] = with_value(inner if isinstance(inner, dict) else {}, rest, value)
    elif value in ("", None):
        copy.pop(head, None)
    else:
        copy[head] = value
    return copy


def paths(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``content`` flattened: dotted path -> value. Lists count as values; a dictionary that holds nothing says nothing."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= paths(value, f"{path}.")
        else:
            flat[path] = value
    return flat


def declared(found: Iterable[str]) -> list[str]:
    """Paths for the audit trail, sorted: as far as the schema declares them.

    What stands further down is named by whoever sent it, and names of people may be keys there:
    ``handover.stakeholders.Jordan Lee`` is told as ``handover.stakeholders``, ``customer.mother`` as ``customer.*``.
    """
    return sorted({_declared(path) for path in found})


def _declared(path: str) -> str:
    part: Any = OnboardingPayload
    known: list[str] = []
    for name in path.split("."):
        if name not in part.model_fields:
            return ".".join([*known, "*"])
        known.append(name)
        part = part.model_fields[name].annotation
        if not (isinstance(part, type) and issubclass(part, Part)):
            break
    return ".".join(known)


def is_free(flat: dict[str, Any], path: str) -> bool:
    """Whether nothing stands at ``path``, below it or in its way."""
    return not any(path == other or other.startswith(f"{path}.") or path.startswith(f"{other}.") for other in flat)


def is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
