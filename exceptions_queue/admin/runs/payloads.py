"""Payloads on pages: field by field with where each came from, personal data only for those who may see it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from exceptions_queue.admin.tickets.texts import field_label
from exceptions_queue.admin.ui import timeline
from exceptions_queue.admin.ui.display_names import Names
from exceptions_queue.admin.ui.safe_rows import CANNOT, each_shown
from exceptions_queue.tickets.naming import lowered
from onboarding.enums import OriginKind
from onboarding.models import OnboardingTransaction, PayloadSnapshot
from onboarding.origins import Origin
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


@dataclass(frozen=True)
class Change:
    path: str
    label: str
    before: str
    now: str
    source: str


@dataclass(frozen=True)
class Version:
    """One snapshot as people read it: who wrote it and why, what it changed, and all that it holds."""

    number: int
    at: datetime
    who: str
    why: str
    changes: list[Change]
    fields: list[Field]


def may_show(path: str, *, may_see: bool) -> bool:
    """Without the permission only what the catalogue lists as not personal: nobody knows what an unknown field holds."""
    return may_see or (path in catalogue.BY_PATH and not catalogue.entry(path).personal)


def differences(
    now: dict[str, Any], proposed: dict[str, Any], some: Iterable[str], names: Names, *, may_see: bool
) -> list[tuple[str, str, str]]:
    """Label, the value that holds and the one that was proposed, for each path."""
    return [
        (
            field_label(path),
            _text(path, get(now, path, default=None), names, may_see=may_see),
            _text(path, get(proposed, path, default=None), names, may_see=may_see),
        )
        for path in some
    ]


def versions(run: OnboardingTransaction, names: Names, *, may_see: bool) -> list[Version]:
    """The latest versions, newest first, each with what it changed."""
    found = list(run.snapshots.order_by("-version")[: LATEST + 1])
    pairs = list(zip(found, [*found[1:], None], strict=True))[:LATEST]
    return each_shown(
        pairs, lambda pair: _version(*pair, names, may_see=may_see), lambda pair: _unreadable(pair[0], names)
    )


def _unreadable(snapshot: PayloadSnapshot, names: Names) -> Version:
    return Version(snapshot.version, snapshot.created_at, timeline.who(snapshot.actor, names), CANNOT, [], [])


def _version(new: PayloadSnapshot, old: PayloadSnapshot | None, names: Names, *, may_see: bool) -> Version:
    before, now = paths(old.content) if old else {}, paths(new.content)
    # A dictionary as an ordered set: a payload may have a thousand paths.
    changed = dict.fromkeys(path for path in {**now, **before} if before.get(path) != now.get(path)) if old else {}
    return Version(
        number=new.version,
        at=new.created_at,
        who=timeline.who(new.actor, names),
        why=_why(new, names, first=new.version == 1),
        changes=[
            Change(
                path,
                field_label(path),
                _text(path, before.get(path), names, may_see=may_see),
                _text(path, now.get(path), names, may_see=may_see),
                _source(new.provenance.get(path) if path in now else None, names),
            )
            for path in changed
        ],
        fields=[
            Field(
                path,
                field_label(path),
                _text(path, value, names, may_see=may_see),
                _source(new.provenance.get(path), names),
                path in changed,
            )
            for path, value in now.items()
        ],
    )


def _why(snapshot: PayloadSnapshot, names: Names, *, first: bool) -> str:
    """The reason for this version, told from its origin."""
    origin = Origin.of(snapshot)
    if first:
        return f"came in from {timeline.came_from(origin, names)}"
    match origin.kind:
        case OriginKind.PERSON:
            return f"{timeline.who(origin.name or snapshot.actor, names)} filled in or corrected data"
        case OriginKind.CHANGE:
            return "a change request was applied"
        case OriginKind.LOOKUP:
            return "missing data was looked up"
        case OriginKind.RULE:
            return f"{timeline.came_from(origin, names)} was applied"
    return f"{timeline.came_from(origin, names)} sent the missing data"


def _source(stored: Any, names: Names) -> str:
    """Where a value came from, in words: a person by name, a system by its label."""
    origin = Origin.stored(stored)
    match origin.kind if origin else None:
        case OriginKind.DERIVED if origin:
            return f"derived from {lowered(field_label(origin.name))}"
        case OriginKind.DEFAULT:
            return "assumed"
        case None if not stored:
            return ""
    return timeline.came_from(origin, names)


def _text(path: str, value: Any, names: Names, *, may_see: bool) -> str:
    if value is None:
        return "—"
    if not may_show(path, may_see=may_see):
        return HIDDEN
    if isinstance(value, bool):
        return "yes" if value else "no"
    return names.value(path, value) if isinstance(value, str) else _plain(value)


def _plain(value: Any) -> str:
    match value:
        case dict():
            return ", ".join(f"{key} {_plain(each)}" for key, each in value.items())
        case list():
            return "; ".join(_plain(each) for each in value) or "—"
    return str(value)
