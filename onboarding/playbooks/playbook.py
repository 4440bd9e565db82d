"""Playbooks: version-controlled TOML files with a DAG of steps, checked at start-up."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Self

from django.conf import settings
from django.db import transaction as db
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from integrations import config_files
from integrations.config_files import nearest, worded
from integrations.database.process_cache import ProcessCache
from integrations.declarative.mapping import MappingError, mappings
from onboarding.enums import Mode, RunEventType
from onboarding.models import OnboardingTransaction, PinnedPlaybook, Step
from onboarding.playbooks import conditions, scopes
from onboarding.playbooks.scopes import Case
from onboarding.playbooks.selection import belonging, new_step, predecessors
from onboarding.queues import QUEUES
from onboarding.steps import declarative, registry

BUILT_IN = Path(__file__).resolve().parent.parent / "playbooks"
MOST_DEADLINE_HOURS = 24 * 365
Content = dict[str, Any]
Key = Annotated[
    str,
    worded(
        r"[a-z0-9][a-z0-9._-]{0,63}",
        "1 to 64 lower-case letters, digits, dots, hyphens and underscores, beginning with a letter or digit",
    ),
]
_pinned: ProcessCache[str, PinnedPlaybook] = ProcessCache(64)


class PlaybookError(config_files.FileInvalid):
    """Playbook files that cannot be used; each message names the file and what is wrong."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class StepSpec(_Strict):
    """One step: its key, the handler that it uses, the steps that must be done before, and what the handler is given."""

    key: Key
    uses: str
    after: tuple[Key, ...] = ()
    when: dict[str, Any] = Field(default_factory=dict)
    """It belongs to a run only where this holds for the payload (``conditions``); empty: always."""
    waits_for: str = ""
    """It is not begun before this event of the run was reported."""
    deadline_hours: Annotated[int, Field(ge=1, le=MOST_DEADLINE_HOURS)] | None = None
    """For so long it may wait for its event, or for somebody, before a person is told; None: the usual."""
    mode: Mode | None = None
    """None: the playbook's."""
    queue: str = ""
    options: dict[str, Any] = Field(default_factory=dict, alias="with")

    @model_validator(mode="after")
    def _has_sound_terms(self) -> Self:
        try:
            conditions.check(self.when)
        except ValueError as error:
            raise ValueError(f"step {self.key}: when: {error}") from None
        if self.waits_for and self.waits_for not in RunEventType.values:
            close = nearest(self.waits_for, RunEventType.values)
            raise ValueError(f"step {self.key} waits for {self.waits_for}, which is no event of a run{close}")
        return self

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if _is_undecided(self.uses):
            return self
        if self.uses not in registry.HANDLERS:
            raise ValueError(
                f"step {self.key} uses {self.uses}, which no handler is called{nearest(self.uses, registry.HANDLERS)}"
            )
        try:
            registry.HANDLERS[self.uses].check_options(self.options)
        except ValueError as error:
            raise ValueError(f"step {self.key}: {error}") from None
        handler = registry.HANDLERS[self.uses]
        if self.deadline_hours and not (self.waits_for or handler.finished_by or handler.awaits_vendor):
            raise ValueError(f"step {self.key}: deadline_hours: it waits for nothing that has a deadline")
        if self.queue and self.queue not in QUEUES:
            raise ValueError(
                f"step {self.key} names the queue {self.queue}, which does not exist{nearest(self.queue, QUEUES)}"
            )
        return self


class Playbook(_Strict):
    """A checked playbook. ``plans``, ``segments`` and ``amounts`` say whom it serves; empty serves all."""

    name: Key
    version: Annotated[str, Field(min_length=1, max_length=32)]
    owner: str
    plans: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    amounts: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Bounds by currency: ``EUR = { at_least = 50000 }``, in major units."""
    priority: int = 0
    """Of two that serve a payload, the one with the higher number goes first, whatever else they name."""
    requires: tuple[str, ...] = ()
    """Payload paths that the gate demands beyond what every run needs."""
    mode: Mode = Mode.AUTOMATE
    steps: Annotated[tuple[StepSpec, ...], Field(min_length=1)]
    _is_built_in: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _has_sound_scope(self) -> Self:
        for currency, bounds in self.amounts.items():
            if not (len(currency) == 3 and currency.isascii() and currency.isalpha()):  # noqa: PLR2004  (ISO 4217)
                raise ValueError(f"amounts: “{currency}” must be a currency of three letters, such as EUR")
            conditions.check_range(f"amounts.{currency}", bounds)
        for path in self.requires:
            try:
                conditions.check_path(path)
            except ValueError as error:
                raise ValueError(f"requires: {error}") from None
        return self

    @model_validator(mode="after")
    def _is_a_dag(self) -> Self:
        keys = [step.key for step in self.steps]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"step {twice[0]} is listed twice")
        for step in self.steps:
            if unknown := sorted(set(step.after) - set(keys)):
                raise ValueError(
                    f"step {step.key} comes after {unknown[0]}, which is not a step{nearest(unknown[0], keys)}"
                )
        try:
            TopologicalSorter({step.key: step.after for step in self.steps}).prepare()
        except CycleError as error:
            raise ValueError(f"the steps go in a circle: {' → '.join(error.args[1])}") from None
        return self

    @model_validator(mode="after")
    def _needs_are_met(self) -> Self:
        """What a handler needs (a delivery project needs a CRM account) must be done before it, and wherever it is done."""
        for step in self.steps:
            if _is_undecided(step.uses):
                continue
            before = {spec.uses: spec for spec in self.steps if spec.key in self.ancestors(step.key)}
            for needed in sorted(registry.HANDLERS[step.uses].needs):
                if needed not in before:
                    raise ValueError(f"step {step.key} needs {needed} before it")
                if not before[needed].when.items() <= step.when.items():
                    raise ValueError(
                        f"step {step.key} needs {needed}, which is only done where "
                        f"{conditions.in_words(before[needed].when)}: it must have that condition too"
                    )
        return self

    def ancestors(self, key: str) -> set[str]:
        after = {step.key: set(step.after) for step in self.steps}
        found: set[str] = set()
        queue = [key]
        while queue:
            new = after[queue.pop()] - found
            found |= new
            queue.extend(new)
        return found

    @property
    def is_built_in(self) -> bool:
        return self._is_built_in

    def steps_for(self, run: OnboardingTransaction, content: Content) -> list[Step]:
        """The steps that a run under it has with this payload, not saved."""
        kept = belonging(self.steps, content)
        return [
            new_step(run, spec, predecessors(self.steps, spec.key, kept), spec.mode or self.mode, position)
            for position, spec in enumerate(self.steps, start=1)
            if spec.key in kept
        ]

    @cached_property
    def definition(self) -> dict[str, Any]:
        definition: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return definition

    @cached_property
    def content_hash(self) -> str:
        return hashlib.sha256(json.dumps(self.definition, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Choice:
    """The playbook that serves a payload, and why it was this one, for people."""

    playbook: Playbook
    reason: str


def load(path: Path) -> Playbook:
    """Read and check one file. Raises ``PlaybookError``, which says in the words of the file's author what is wrong."""
    try:
        given = config_files.read(path)
    except config_files.FileInvalid as error:
        raise PlaybookError(error.each) from None
    try:
        return Playbook.model_validate(given)
    except ValidationError as error:
        raise PlaybookError(config_files.listed(path.name, config_files.in_words(error, Playbook, given))) from None


@cache
def playbooks() -> dict[str, Playbook]:
    """All playbooks by name; a company's own (``CONFIG_DIR``) win over built-in ones of their name.

    Raises ``PlaybookError``, also where it would depend on chance which of two serves a customer.
    """
    folders = [BUILT_IN, *([settings.CONFIG_DIR / "playbooks"] if settings.CONFIG_DIR else [])]
    found: dict[str, Playbook] = {}
    files: dict[str, str] = {}
    wrong: list[str] = []
    for folder in folders:
        names: dict[str, str] = {}
        for path in sorted(folder.glob("*.toml")):
            try:
                playbook = load(path)
            except PlaybookError as error:
                wrong += error.each
                continue
            if playbook.name in names:
                wrong.append(f"{path.name}: name: {names[playbook.name]} is called {playbook.name} too")
            names[playbook.name] = path.name
            playbook._is_built_in = folder == BUILT_IN
            found[playbook.name] = playbook
            files[playbook.name] = f"{path.name} (built in)" if folder == BUILT_IN else path.name
    if wrong := wrong or scopes.problems(found.values(), files):
        raise PlaybookError(wrong)
    return found


def choose(content: Content) -> Choice | None:
    """The playbook that serves this payload: one that names more of plan, segment and amount goes before one that names less."""
    case = Case.of(content)
    chosen = _serving(case)
    if chosen is None:
        return None
    reason = f"It serves {scopes.scope(chosen)}."
    if not case.segment and (might := _with_a_segment(case, chosen)):
        named = ", ".join(f"{each.name} (segment {scopes.either(each.segments)})" for each in might)
        reason += f" The payload names no segment; with one it might have been {named}."
    return Choice(chosen, reason)


def serving(content: Content) -> Playbook | None:
    """As ``choose``, without the reason."""
    return _serving(Case.of(content))


def _serving(case: Case) -> Playbook | None:
    return next(iter(scopes.best(playbooks().values(), case)), None)


def _with_a_segment(case: Case, chosen: Playbook) -> list[Playbook]:
    """Those that would serve it in place of ``chosen``, did it name a segment."""
    segments = sorted({segment for each in playbooks().values() for segment in each.segments})
    would = [_serving(replace(case, segment=segment)) for segment in segments]
    return list({each.name: each for each in would if each and each.name != chosen.name}.values())


def _is_undecided(uses: str) -> bool:
    """Whether the handler may stand in a mapping that is refused: that is said already, and nothing that follows from it."""
    if not uses.startswith(declarative.PREFIX):
        return False
    try:
        mappings()
    except MappingError:
        return True
    return False


def pin(playbook: Playbook) -> PinnedPlaybook:
    """The stored copy of exactly this content. Such a row is never changed, and kept by its hash once it is committed."""
    known = _pinned.get(playbook.content_hash)
    if known is not None:
        return known
    row, _ = PinnedPlaybook.objects.get_or_create(
        content_hash=playbook.content_hash,
        defaults={"name": playbook.name, "version": playbook.version, "definition": playbook.definition},
    )
    db.on_commit(partial(_pinned.put, playbook.content_hash, row), robust=True)
    return row
