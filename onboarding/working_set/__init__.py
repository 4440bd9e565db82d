"""A run's rows in the engine's hands: read and written one by one under its lock, or kept in memory and written together."""

from onboarding.models import OnboardingTransaction
from onboarding.working_set.draft import DraftRows
from onboarding.working_set.general import Rows, TryAgain
from onboarding.working_set.lean import LeanRows, NeedsLock, Stale, of_run, of_step, usable

__all__ = [
    "DraftRows",
    "LeanRows",
    "NeedsLock",
    "Rows",
    "Stale",
    "TryAgain",
    "draft_of",
    "kept",
    "lean_of",
    "of",
    "of_run",
    "of_step",
    "usable",
]


def of(run: OnboardingTransaction) -> Rows:
    """How to read and write this instance's rows in the transaction that is open."""
    rows: Rows | None = run.__dict__.get("_rows")
    return rows if rows is not None and rows.is_open else Rows(run)


def kept(run: OnboardingTransaction) -> LeanRows | None:
    """Its rows as this worker's last transaction wrote them; None where there are none, or where that was not written."""
    rows = run.__dict__.get("_rows")
    return rows if isinstance(rows, LeanRows) and rows.is_good else None


def lean_of(run: OnboardingTransaction) -> LeanRows | None:
    """Its rows where they are written without a lock: who has more to write there says so with ``require`` and ``also``."""
    rows = of(run)
    return rows if isinstance(rows, LeanRows) else None


def draft_of(run: OnboardingTransaction) -> DraftRows | None:
    """Its rows where it is about to be written for the first time, with one statement."""
    rows = of(run)
    return rows if isinstance(rows, DraftRows) else None
