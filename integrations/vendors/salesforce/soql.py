"""SOQL with values from outside: every one is a literal, and none ends it.

Source:
developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_quotedstringescapes.htm (a
backslash stands only before the characters listed there) and .../sforce_api_calls_soql_select_comparisonoperators.htm
(``LIKE``).
"""

import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime

_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def literal(value: str) -> str:
    return f"'{_escaped(value)}'"


def containing(value: str) -> str:
    """The pattern of a ``LIKE`` that finds ``value`` anywhere; its own wildcards count as letters."""
    return "'%" + _escaped(value).replace("%", "\\%").replace("_", "\\_") + "%'"


def instant(at: datetime) -> str:
    """A time, which stands without quotes. Whole seconds, rounded down."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def any_of(values: Iterable[str]) -> str:
    return f"({', '.join(map(literal, values))})"


def _escaped(value: str) -> str:
    """Other control characters have no escape, and stand in no value."""
    return "".join(_ESCAPES.get(each, each) for each in value if each in _ESCAPES or unicodedata.category(each) != "Cc")
