"""An order's lines as Odoo is told of them: commands, with which one call creates, changes and deletes.

Sources: odoo.com/documentation/19.0/developer/reference/backend/orm.html (``[0, 0, values]`` creates, ``[1, id, values]`` changes,
``[2, id, 0]`` deletes) and Odoo's own source (github.com/odoo/odoo): ``addons/sale/models/sale_order_line.py`` (a line of
``display_type`` ``line_note`` is text alone), ``addons/analytic/models/analytic_mixin.py`` (``analytic_distribution``: per cent by
account, accounts of several plans with commas between).

A line has no field for a reference of ours. It is known by its product, as far as the order had lines of ours with that product;
a product that is new to the order by its description too. Lines that people have added stay.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from integrations.connectors.objects import ErpOrder, OrderLine, OrderSchedule
from integrations.vendors.odoo.lookups import Lookups
from integrations.vendors.odoo.schemas import Line

FIELDS = ["product_id", "display_type", "name"]
_NOTE = "line_note"
_SCHEDULE = "Schedule: "
Command = list[Any]


def commands(wanted: ErpOrder, look: Lookups, there: Sequence[Line] = ()) -> list[Command]:
    """What makes the order's lines those that are wanted; ``there``: what it has. Raises ``ProviderError``."""
    made: list[Command] = []
    if wanted.schedule:
        made.append(_note(wanted.schedule, there))
    if wanted.lines is not None:
        made += _of_lines(wanted.lines, wanted.former_lines or [], look, there)
    return made


def _note(schedule: OrderSchedule, there: Sequence[Line]) -> Command:
    text = (
        f"{_SCHEDULE}{schedule['term']}; billed from {schedule['billing_start']} to {schedule['billing_end']}; "
        f"revenue from {schedule['revenue_start']} to {schedule['revenue_end']}"
    )
    known = next((each.id for each in there if each.display_type == _NOTE and each.name.startswith(_SCHEDULE)), None)
    return [0, 0, {"display_type": _NOTE, "name": text, "sequence": 1}] if known is None else [1, known, {"name": text}]


def _of_lines(
    lines: Sequence[OrderLine], former: Sequence[OrderLine], look: Lookups, there: Sequence[Line]
) -> Iterator[Command]:
    products = look.products(line["product"] for line in lines)
    accounts = look.analytic_accounts(
        code for line in lines for code in (line.get("cost_centre", ""), line.get("business_unit", ""))
    )
    ours = _ours(former, look, there)
    fresh = [each for each in there if each.id not in {row_id for ids in ours.values() for row_id in ids}]
    for place, line in enumerate(lines, start=1):
        product = products[line["product"]]
        values = _values(line, product, accounts) | {"sequence": 10 * place}
        known = ours[product].pop(0) if ours.get(product) else _same(fresh, product, values["name"])
        yield [0, 0, values] if known is None else [1, known, values]
    yield from ([2, row_id, 0] for ids in ours.values() for row_id in ids)


def _ours(former: Sequence[OrderLine], look: Lookups, there: Sequence[Line]) -> dict[int, list[int]]:
    """Ids of the lines that the order had of us, by product, in the order's own order."""
    known = look.known_products(line["product"] for line in former)
    found: dict[int, list[int]] = {}
    for line in former:
        product = known.get(line["product"])
        taken = found.setdefault(product, []) if product is not None else []
        row = next((each for each in there if _product(each) == product and each.id not in taken), None)
        if product is not None and row is not None:
            taken.append(row.id)
    return found


def _same(fresh: list[Line], product: int, name: str) -> int | None:
    """One that an update without an answer has made already."""
    row = next((each for each in fresh if _product(each) == product and each.name == name), None)
    if row is None:
        return None
    fresh.remove(row)
    return row.id


def _product(line: Line) -> int | None:
    return int(line.product_id[0]) if line.product_id else None


def _values(line: OrderLine, product: int, accounts: dict[str, int]) -> dict[str, Any]:
    codes = [code for code in (line.get("cost_centre", ""), line.get("business_unit", "")) if code]
    key = ",".join(str(accounts[code]) for code in dict.fromkeys(codes))
    period = ", ".join(
        f"{word} {day}" for word, day in (("from", line.get("revenue_start")), ("to", line.get("revenue_end"))) if day
    )
    name = line.get("description") or line["product"]
    return {
        "product_id": product,
        "name": f"{name} ({period})" if period else name,
        "product_uom_qty": line["quantity"],
        "price_unit": float(line["unit_price"]),
        **({"analytic_distribution": {key: 100}} if key else {}),
    }
