"""Where ``make test`` runs the vendors' tests, and how much of the conformance tables."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integrations.vendors.conformance import Case, cases
from tests.one_database import EXAMPLES

HERE = Path(__file__).resolve().parent
CONFORMANCE = "test_conformance.py"
BACKENDS = ("postgres", "postgres", "sqlite")
"""In turns: SQLite has more of the other tests."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A vendor's tests run on one database, as nothing depends on it there: what a run makes of it is tested elsewhere, and
    Stripe's webhook stands for all on both. The conformance tables are shared out among the two.

    Every rule is tried on every kind of object. The values of a table (statuses, faults, hostile names) are tried in turns, each by
    half of the vendors; all of them where the file is asked for by itself, or with ``FIRSTVALUE_EXAMPLES``.
    """
    vendors = list(dict.fromkeys(case.vendor for case in cases()))
    for item in items:
        if not item.path.is_relative_to(HERE) or item.path.is_relative_to(HERE / "stripe"):
            continue
        if case := _case_of(item):
            backend = BACKENDS[vendors.index(case.vendor) % len(BACKENDS)]
            item.add_marker(pytest.mark.one_database(backend), append=False)
        elif item.get_closest_marker("one_database") is None:
            item.add_marker(pytest.mark.one_database("sqlite"))
    if not config.getoption("share") or EXAMPLES:
        return
    left_out = set(_left_out(items))
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def _case_of(item: pytest.Item) -> Case | None:
    made = getattr(item, "callspec", None)
    case = made.params.get("case") if made and item.path.name == CONFORMANCE else None
    return case if isinstance(case, Case) else None


def _left_out(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    kinds: dict[str, list[str]] = {}
    for case in cases():
        kinds.setdefault(case.vendor, []).append(str(case))
    vendors = list(kinds)
    turns: dict[tuple[str, str], int] = {}
    for item in items:
        case = _case_of(item)
        if case is None or len(item.callspec.params) == 1:  # type: ignore[attr-defined]
            continue
        key = str(case), str(item.originalname)  # type: ignore[attr-defined]
        turns[key] = turns.get(key, -1) + 1
        of_vendor = kinds[case.vendor]
        turn = turns[key] + vendors.index(case.vendor)
        if turn % (2 * len(of_vendor)) != 2 * of_vendor.index(str(case)):
            yield item
