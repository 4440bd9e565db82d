"""Payloads on pages: field by field with where each came from, personal data only for those who may see it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from exceptions_queue.admin import timeline
from exceptions_queue.admin.names import Names
from exceptions_queue.admin.words import field_label, lowered
from integrations.words import System
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
    return [_version(new, old, names, may_see=may_see) for new, old in pairs]


def _version(new: PayloadSnapshot, old: PayloadSnapshot | None, names: Names, *, may_see: bool) -> Version:
    before, now = paths(old.content) if old else {}, paths(new.content)
    changed = [path for path in {**now, **before} if before.get(path) != now.get(path)] if old else []
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
                _source(new.provenance.get(path, "") if path in now else "", names),
            )
            for path in changed
        ],
        fields=[
            Field(
                path,
                field_label(path),
                _text(path, value, names, may_see=may_see),
                _source(new.provenance.get(path, ""), names),
                path in changed,
            )
            for path, value in now.items()
        ],
    )


def _why(snapshot: PayloadSnapshot, names: Names, *, first: bool) -> str:
    """The reason for this version, told from its source."""
    kind, _, name = snapshot.source.partition(":")
    if first:
        return f"came in from {_source(snapshot.source, names)}"
    if kind == "person":
        return f"{names.person(name or snapshot.actor)} filled in or corrected data"
    if kind == "change":
        return "a change request was applied"
    if kind == "enrichment":
        return "missing data was looked up where it is known"
    return f"{_source(snapshot.source, names)} sent what had been missing"


def _source(source: str, names: Names) -> str:
    """Where a value came from, in words: a person by name, a system by its label."""
    kind, _, name = source.partition(":")
    match kind:
        case "person":
            return names.person(name)
        case "derived":
            return f"worked out from {lowered(field_label(name))}"
        case "default":
            return "assumed"
    return f"{System(kind).label}{f' ({name})' if name else ''}" if kind in System.values else source


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
