"""An order's lines: what was bought, split into software, implementation and managed support."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from integrations.connectors.objects import OrderLine, OrderSchedule
from onboarding.steps.base import Facts
from onboarding.steps.erp.schedule import last_of_days
from onboarding.steps.erp.tables import BundlePart, OrderTables
from onboarding.steps.erp.tax_ids import country_code

LINES = "commercial.lines"
_PRODUCT = ("product", "sku", "plan_sku", "price_id")
_NAME = ("description", "name")
_WITHOUT_CENTS = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split())
"""ISO 4217: currencies without a minor unit."""


@dataclass(frozen=True)
class Bought:
    """One line of the order as the payload has it."""

    product: str
    name: str
    quantity: Decimal
    amount: Decimal | None
    """Of the whole line."""


def bought(facts: Facts) -> list[Bought]:
    """The payload's lines; where these say nothing of money, the plan and the order's amount."""
    listed = facts.get(LINES, [])
    found = [_line(each) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    if any(each.amount is not None for each in found):
        return found
    plan = facts.get("commercial.plan_sku")
    return [Bought(plan, plan, Decimal(1), _number(facts.get("commercial.amount", None)))]


def lacking(facts: Facts) -> dict[str, str]:
    """Payload path -> what an order's lines cannot be made without."""
    found: dict[str, str] = {}
    for place, each in enumerate(bought(facts), start=1):
        if each.amount is None or not each.product or each.quantity <= 0:
            what = "names no amount" if each.product else "names no product"
            named = {LINES: f"line {place} {what}"} if len(bought(facts)) > 1 else {"commercial.amount": "is missing"}
            found |= named
    return found


def lines(facts: Facts, tables: OrderTables, schedule: OrderSchedule | None) -> list[OrderLine]:
    """Without those that lack what ``lacking`` names."""
    whole = [each for each in bought(facts) if each.amount is not None and each.product and each.quantity > 0]
    return [line for each in whole for line in _split(each, facts, tables, schedule)]


def _split(each: Bought, facts: Facts, tables: OrderTables, schedule: OrderSchedule | None) -> Iterator[OrderLine]:
    currency = facts.get("commercial.currency").upper()
    entity = tables.entity(country_code(facts.get("customer.country")), currency, each.product)
    where = {
        "cost_centre": facts.get("commercial.cost_centre") or entity["cost_centre"],
        "business_unit": entity["business_unit"],
    }
    parts = tables.parts(each.product)
    if not parts:
        assert each.amount is not None  # noqa: S101  (the caller has looked)
        unit = each.amount / each.quantity
        is_exact = unit == _rounded(unit, currency)
        line = OrderLine(
            product=each.product,
            part="software",
            description=each.name if is_exact else _counted(each),
            quantity=_plain(each.quantity) if is_exact else 1,
            unit_price=_text(unit if is_exact else each.amount),
        )
        yield _dated(line, None, schedule, where)
        return
    for part, amount in zip(parts, _shares(each.amount or Decimal(0), parts, currency), strict=True):
        line = OrderLine(
            product=part.product,
            part=part.part,
            description=part.description or f"{_counted(each)}: {part.part.replace('-', ' ')}",
            quantity=1,
            unit_price=_text(amount),
        )
        yield _dated(line, part, schedule, where)


def _dated(
    line: OrderLine, part: BundlePart | None, schedule: OrderSchedule | None, where: dict[str, str]
) -> OrderLine:
    if schedule:
        line["revenue_start"] = schedule["revenue_start"]
        days = part.days if part else 0
        line["revenue_end"] = last_of_days(schedule["revenue_start"], days) if days else schedule["revenue_end"]
    if where["cost_centre"]:
        line["cost_centre"] = where["cost_centre"]
    if where["business_unit"]:
        line["business_unit"] = where["business_unit"]
    return line


def _shares(amount: Decimal, parts: Sequence[BundlePart], currency: str) -> list[Decimal]:
    """Rounded, and together the amount: the first part takes what rounding leaves."""
    rounded = [_rounded(amount * part.share / 100, currency) for part in parts]
    return [rounded[0] + amount - sum(rounded), *rounded[1:]]


def _line(given: dict[str, Any]) -> Bought:
    product = next((str(given[name]) for name in _PRODUCT if given.get(name)), "")
    name = next((str(given[each]) for each in _NAME if given.get(each)), product)
    quantity = _number(given.get("quantity", 1))
    amount, unit = _number(given.get("amount")), _number(given.get("unit_price"))
    if amount is None and unit is not None and quantity is not None:
        amount = unit * quantity
    return Bought(product, name, quantity or Decimal(0), amount)


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and number >= 0 else None


def _rounded(amount: Decimal, currency: str) -> Decimal:
    return amount.quantize(Decimal(1 if currency in _WITHOUT_CENTS else "0.01"), rounding=ROUND_HALF_UP)


def _counted(each: Bought) -> str:
    return each.name if each.quantity == 1 else f"{each.name} x {_text(each.quantity)}"


def _plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)


def _text(number: Decimal) -> str:
    return f"{number.normalize():f}"
