"""The canonical payload's shape and types. What is *missing* is the gate's business, never this module's."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
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

MOST_PATHS = 1_000
"""Dotted paths of one payload (a list counts as one value). What a sender's body sizes also sizes our work on it."""
MOST_UNKNOWN_KEYS = 200
MOST_LEVELS = 32
"""Parts of one dotted path: a key may hold dots itself."""
LONGEST_KEY = 255
MOST_ITEMS = 1_000


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
    language: Text = ""
    time_zone: Text = ""
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
    lines: Annotated[list[dict[str, Any]], Field(max_length=MOST_ITEMS)] = []


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
    why_they_bought: Annotated[list[Any], Field(max_length=MOST_ITEMS)] = []
    success_criteria: Text = ""
    constraints: Annotated[list[Any], Field(max_length=MOST_ITEMS)] = []
    stakeholders: dict[str, Any] = {}
    risks: Annotated[list[Any], Field(max_length=MOST_ITEMS)] = []
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
    users: Annotated[list[User], Field(max_length=MOST_ITEMS)] = []
    security: Security = Security()
    handover: Handover = Handover()

    @model_validator(mode="before")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        if isinstance(value, dict) and (reason := too_much(value)):
            raise ValueError(reason)
        return value

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
    return with_values(content, {path: value})


def with_values(content: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """As ``with_value`` for each of ``values`` in turn; each dictionary is copied once, however many paths lead into it."""
    whole = dict(content)
    copies: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        node: dict[str, Any] = whole
        prefix = ""
        *parents, name = path.split(".")
        for part in parents:
            prefix += f"{part}."
            inner = node.get(part)
            if inner is None or inner is not copies.get(prefix):
                node[part] = copies[prefix] = dict(inner) if isinstance(inner, dict) else {}
            node = copies[prefix]
        if value in ("", None):
            node.pop(name, None)
        else:
            node[name] = value
    return whole


def paths(content: dict[str, Any]) -> dict[str, Any]:
    """``content`` flattened: dotted path -> value. Lists count as values; a dictionary that holds nothing says nothing."""
    return dict(_flat(content, ""))


def _flat(content: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def too_much(content: dict[str, Any]) -> str:
    """Why ``content`` is more than one payload may hold; an empty string where it is not. Stops counting at the limit."""
    counted = unknown = 0
    waiting: list[tuple[dict[str, Any], type[Part] | None, int]] = [(content, OnboardingPayload, 1)]
    while waiting:
        part, model, level = waiting.pop()
        for key, value in part.items():
            if len(key) > LONGEST_KEY:
                return f"a key is longer than {LONGEST_KEY} characters"
            below = level + key.count(".") + 1
            if below > MOST_LEVELS + 1:
                return f"a field stands deeper than {MOST_LEVELS} levels (a dot in a key counts as one)"
            known = model is None or key in model.model_fields
            unknown += not known
            counted += 1
            if unknown > MOST_UNKNOWN_KEYS:
                return f"holds more than {MOST_UNKNOWN_KEYS} keys that the schema does not know"
            if counted > MOST_PATHS:
                return f"holds more than {MOST_PATHS} fields"
            if isinstance(value, dict):
                waiting.append((value, _model_of(model, key) if known else _Unknown, below))
    return ""


class _Unknown(Part):
    """What stands below a key that the schema does not know: it knows none of that either."""


def _model_of(model: type[Part] | None, key: str) -> type[Part] | None:
    """The model of what stands at ``key``; None for a structure of the sender's own."""
    found: Any = model.model_fields[key].annotation if model else None
    return found if isinstance(found, type) and issubclass(found, Part) else None


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
        part = _model_of(part, name)
        if part is None:
            break
    return ".".join(known)


def free_paths(flat: Mapping[str, Any], some: Iterable[str]) -> set[str]:
    """Those of ``some`` where nothing stands in ``flat``, neither at the path nor below it nor in its way."""
    above = {prefix for path in flat for prefix in _prefixes(path)}
    return {
        path
        for path in some
        if path not in flat and path not in above and not any(prefix in flat for prefix in _prefixes(path))
    }


def _prefixes(path: str) -> Iterator[str]:
    end = path.find(".")
    while end >= 0:
        yield path[:end]
        end = path.find(".", end + 1)


def is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
