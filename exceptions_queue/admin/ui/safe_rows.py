"""One row that cannot be shown takes down no page: the others, and the buttons to fix it, are still there."""

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

CANNOT = "This cannot be shown; the log says why."
Row = TypeVar("Row")
Shown = TypeVar("Shown")

log = logging.getLogger(__name__)


def each_shown(rows: Iterable[Row], show: Callable[[Row], Shown], instead: Callable[[Row], Shown]) -> list[Shown]:
    """``show`` of each row; where that fails it is logged, and ``instead`` stands in its place."""
    made = []
    for row in rows:
        try:
            made.append(show(row))
        except Exception:
            log.exception("This row cannot be shown: %s", _name(row))
            made.append(instead(row))
    return made


def _name(row: Any) -> str:
    first = row[0] if isinstance(row, tuple) and row else row
    return f"{type(first).__name__} {getattr(first, 'pk', '')}"


def cell(column: Callable[[Any, Row], Any]) -> Callable[[Any, Row], Any]:
    """A list's column that says so where its value cannot be shown. Stands below ``admin.display``."""

    @functools.wraps(column)
    def wrapper(admin: Any, row: Row) -> Any:
        (shown,) = each_shown([row], lambda each: column(admin, each), lambda _: CANNOT)
        return shown

    return wrapper
