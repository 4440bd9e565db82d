"""Payloads on pages: field by field with where each came from, personal data only for those who may see it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from onboarding.models import OnboardingTransaction, PayloadSnapshot
from onboarding.payload import catalogue
from onboarding.payload.schema import get, paths

HIDDEN = "hidden"
LATEST = 10


@dataclass(frozen=True)
class Field:
    path: str
    label: str
    value: str
    source: str = ""
    changed: bool = False


def may_show(path: str, *, may_see: bool) -> bool:
    """Without the permission only what the catalogue lists as not personal: nobody knows what an unknown field holds."""
    return may_see or (path in catalogue.BY_PATH and not catalogue.entry(path).personal)


def differences(
    now: dict[str, Any], proposed: dict[str, Any], some: Iterable[str], *, may_see: bool
) -> list[tuple[str, str, str]]:
    """Label, the value that holds and the one that was proposed, for each path."""
    return [
        (
            catalogue.label(path),
            _text(path, get(now, path, default=None), may_see=may_see),
            _text(path, get(proposed, path, default=None), may_see=may_see),
        )
        for path in some
    ]


def snapshots(run: OnboardingTransaction, *, may_see: bool) -> list[dict[str, Any]]:
    """The latest versions, newest first, each with the fields that it changed marked."""
    versions = list(run.snapshots.order_by("-version")[: LATEST + 1])
    pairs = list(zip(versions, [*versions[1:], None], strict=True))[:LATEST]
    return [{"snapshot": new, "fields": _fields(new, old, may_see=may_see)} for new, old in pairs]


def _fields(new: PayloadSnapshot, old: PayloadSnapshot | None, *, may_see: bool) -> list[Field]:
    before = paths(old.content) if old else {}
    now = paths(new.content)
    return [
        Field(
            path,
            catalogue.label(path),
            _text(path, value, may_see=may_see),
            new.provenance.get(path, ""),
            old is not None and before.get(path) != value,
        )
        for path, value in now.items()
    ]


def _text(path: str, value: Any, *, may_see: bool) -> str:
    if value is None:
        return "—"
    if not may_show(path, may_see=may_see):
        return HIDDEN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
