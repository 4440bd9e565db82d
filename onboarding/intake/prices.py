"""Which plan and term was bought: price -> plan, from the admin, ``CONFIG_DIR/prices.toml`` and the built-in table."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from integrations import config_files
from onboarding.models import PlanPrice

BUILT_IN = Path(__file__).resolve().parent.parent / "prices.toml"


class PricesInvalid(Exception):
    """A price table cannot be read; the text names the file and the entry."""


def plan_for(price_ids: Sequence[str]) -> tuple[str, str] | None:
    """(plan SKU, term or "") of what was bought; None for unknown prices and where several plans were bought at once.

    Raises ``PricesInvalid``.
    """
    known = table()
    known |= {row.price_id: (row.plan_sku, row.term) for row in PlanPrice.objects.filter(price_id__in=price_ids)}
    found = [known[price_id] for price_id in price_ids if price_id in known]
    if len({plan for plan, _ in found}) != 1:
        return None
    terms = {term for _, term in found}
    return found[0][0], terms.pop() if len(terms) == 1 else ""


def table() -> dict[str, tuple[str, str]]:
    """The tables in files: price id -> (plan SKU, term or ""). Raises ``PricesInvalid``."""
    files = [BUILT_IN]
    if settings.CONFIG_DIR and (own := Path(settings.CONFIG_DIR) / "prices.toml").is_file():
        files.append(own)
    merged: dict[str, tuple[str, str]] = {}
    for path in files:
        merged |= _read(path, path.stat().st_mtime_ns)
    return merged


@lru_cache(maxsize=4)
def _read(path: Path, _version: int) -> dict[str, tuple[str, str]]:
    try:
        content = config_files.read(path)
    except config_files.FileInvalid as error:
        raise PricesInvalid(str(error)) from None
    if unknown := sorted(set(content) - {"prices"}):
        raise PricesInvalid(
            f"{path.name}: {unknown[0]}: is not known here{config_files.nearest(unknown[0], ['prices'])}"
        )
    prices = content.get("prices", {})
    if not isinstance(prices, dict):
        raise PricesInvalid(f"{path.name}: prices: must be a table")
    return {price_id: _entry(path, price_id, entry) for price_id, entry in prices.items()}


def _entry(path: Path, price_id: str, entry: object) -> tuple[str, str]:
    plan = entry.get("plan_sku") if isinstance(entry, dict) else None
    term = entry.get("term", "") if isinstance(entry, dict) else None
    if not isinstance(plan, str) or not plan or not isinstance(term, str):
        raise PricesInvalid(f'{path.name}: prices.{price_id}: must be like {{ plan_sku = "pro", term = "annual" }}')
    if isinstance(entry, dict) and (unknown := sorted(set(entry) - {"plan_sku", "term"})):
        near = config_files.nearest(unknown[0], ["plan_sku", "term"])
        raise PricesInvalid(f"{path.name}: prices.{price_id}.{unknown[0]}: is not known here{near}")
    return plan, term
