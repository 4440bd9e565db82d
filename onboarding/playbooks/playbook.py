"""Playbooks: version-controlled TOML files with a DAG of steps, checked at start-up."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise, product
from pathlib import Path
from typing import Annotated, Any, Self

from django.conf import settings
from django.db import transaction as db
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from integrations import config_files
from integrations.config_files import nearest, worded
from integrations.database.process_cache import ProcessCache
from integrations.declarative.mapping import MappingError, mappings
from onboarding.models import OnboardingTransaction, PinnedPlaybook, Step
from onboarding.payload.schema import get
from onboarding.queues import QUEUES
from onboarding.steps import declarative, registry

BUILT_IN = Path(__file__).resolve().parent.parent / "playbooks"
Key = Annotated[
    str,
    worded(
        r"[a-z0-9][a-z0-9._-]{0,63}",
        "1 to 64 lower-case letters, digits, dots, hyphens and underscores, beginning with a letter or digit",
    ),
]
_pinned: ProcessCache[str, PinnedPlaybook] = ProcessCache(64)
ANY = ""
"""Stands for every plan, or segment, that no playbook names."""


class PlaybookError(config_files.FileInvalid):
    """Playbook files that cannot be used; each message names the file and what is wrong."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class StepSpec(_Strict):
    """One step: its key, the handler that it uses, the steps that must be done before, and what the handler is given."""

    key: Key
    uses: str
    after: tuple[Key, ...] = ()
    queue: str = ""
    options: dict[str, Any] = Field(default_factory=dict, alias="with")

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
        if self.queue and self.queue not in QUEUES:
            raise ValueError(
                f"step {self.key} names the queue {self.queue}, which does not exist{nearest(self.queue, QUEUES)}"
            )
        return self


class Playbook(_Strict):
    """A checked playbook. ``plans`` and ``segments`` say whom it serves; empty serves all."""

    name: Key
    version: Annotated[str, Field(min_length=1, max_length=32)]
    owner: str
    plans: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    steps: Annotated[tuple[StepSpec, ...], Field(min_length=1)]

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
        """What a handler needs (a delivery project needs a CRM account) must be done before it."""
        for step in self.steps:
            if _is_undecided(step.uses):
                continue
            before = {spec.uses for spec in self.steps if spec.key in self.ancestors(step.key)}
            if lacking := sorted(set(registry.HANDLERS[step.uses].needs) - before):
                raise ValueError(f"step {step.key} needs {lacking[0]} before it")
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

    def steps_for(self, run: OnboardingTransaction) -> list[Step]:
        """The steps that a run under it has, not saved."""
        return [
            Step(
                transaction=run,
                key=spec.key,
                uses=spec.uses,
                system=registry.HANDLERS[spec.uses].system,
                queue=spec.queue,
                after=list(spec.after),
                options=spec.options,
                position=position,
            )
            for position, spec in enumerate(self.steps, start=1)
        ]

    def serves(self, plan: str, segment: str) -> bool:
        """Names are compared without regard to case and to spaces around them: people type them."""
        return _holds(self.plans, plan) and _holds(self.segments, segment)

    @property
    def rank(self) -> int:
        """Of two that serve a payload, the one that names more of plan and segment goes first."""
        return bool(self.plans) + bool(self.segments)

    @property
    def scope(self) -> str:
        """Whom it serves, in words."""
        return _scope(self.plans, self.segments)

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
            found[playbook.name] = playbook
            files[playbook.name] = f"{path.name} (built in)" if folder == BUILT_IN else path.name
    if wrong := wrong or _ties(found.values(), files):
        raise PlaybookError(wrong)
    return found


def choose(content: dict[str, Any]) -> Choice | None:
    """The playbook that serves this payload: one that names plan and segment goes before one that names less."""
    plan, segment = (get(content, path) or "" for path in ("commercial.plan_sku", "customer.segment"))
    serving = [playbook for playbook in playbooks().values() if playbook.serves(plan, segment)]
    if not serving:
        return None
    chosen = max(serving, key=lambda playbook: playbook.rank)
    reason = f"It serves {chosen.scope}."
    would = [each for each in playbooks().values() if each.rank > chosen.rank and _holds(each.plans, plan)]
    if not segment and would:
        others = ", ".join(f"{each.name} (segment {_either(each.segments)})" for each in would)
        reason += f" The payload names no segment; with one it might have been {others}."
    return Choice(chosen, reason)


def _ties(among: Iterable[Playbook], files: Mapping[str, str]) -> list[str]:
    """Pairs of which neither goes before the other, where both serve some plan and segment and no better one does."""
    books = list(among)
    plans = [*sorted({plan.casefold() for book in books for plan in book.plans}), ANY]
    segments = [*sorted({segment.casefold() for book in books for segment in book.segments}), ANY]
    tied: dict[tuple[str, str], str] = {}
    for plan, segment in product(plans, segments):
        serving = [book for book in books if book.serves(plan, segment)]
        best = [book for book in serving if book.rank == max(each.rank for each in serving)]
        for first, second in pairwise(best):
            tied.setdefault(
                (first.name, second.name),
                f"{files[second.name]}: serves {_scope([plan] if plan else [], [segment] if segment else [])}, and so does "
                f"{files[first.name]}: name plans or segments so that one of them does, or call this one {first.name} "
                "to replace that one",
            )
    return list(tied.values())


def _holds(named: tuple[str, ...], value: str) -> bool:
    return not named or value.strip().casefold() in {each.strip().casefold() for each in named}


def _scope(plans: Sequence[str], segments: Sequence[str]) -> str:
    of_plan = f"the plan {_either(plans)}" if plans else "every plan"
    return f"{of_plan} and {f'the segment {_either(segments)}' if segments else 'every segment'}"


def _either(names: Iterable[str]) -> str:
    return " or ".join(f"“{name}”" for name in names)


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
