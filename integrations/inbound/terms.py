"""The names of terms (``commercial.term``), from the interval in which a billing system charges."""

TERMS = {1: "monthly", 3: "quarterly", 6: "semi-annual", 12: "annual"}
"""Months -> the term's name."""
_MONTHS = {"month": 1, "year": 12}


def term_of(interval: str, count: int) -> str:
    """Of so many months or years; empty for an interval that has no name."""
    return TERMS.get(_MONTHS.get(interval, 0) * count, "")
