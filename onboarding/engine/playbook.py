"""Playbooks: version-controlled TOML files with a DAG of steps, checked at start-up."""

import hashlib
import json
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Self

from django.conf import settings
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from onboarding.models import PinnedPlaybook
from onboarding.payload.schema import get
from onboarding.queues import QUEUES
from onboarding.steps import registry

BUILT_IN = Path(__file__).resolve().parent.parent / "playbooks"
Key = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class PlaybookError(Exception):
    """A playbook file that cannot be used; the message names the file and what is wrong."""


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
        if self.uses not in registry.HANDLERS:
            raise ValueError(f"step {self.key} uses {self.uses}, which no handler is called")
        try:
            registry.HANDLERS[self.uses].check_options(self.options)
        except ValueError as error:
            raise ValueError(f"step {self.key}: {error}") from None
        if self.queue and self.queue not in QUEUES:
            raise ValueError(f"step {self.key} names the queue {self.queue}, which does not exist")
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
            raise ValueError(f"step {twice[0]} stands twice")
        for step in self.steps:
            if unknown := sorted(set(step.after) - set(keys)):
                raise ValueError(f"step {step.key} comes after {unknown[0]}, which is not a step")
        try:
            TopologicalSorter({step.key: step.after for step in self.steps}).prepare()
        except CycleError as error:
            raise ValueError(f"the steps go in a circle: {' → '.join(error.args[1])}") from None
        return self

    @model_validator(mode="after")
    def _needs_are_met(self) -> Self:
        """What a handler needs (a delivery project needs a CRM account) must be done before it."""
        for step in self.steps:
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

    def serves(self, content: dict[str, Any]) -> bool:
        plan, segment = get(content, "commercial.plan_sku"), get(content, "customer.segment")
        return (not self.plans or plan in self.plans) and (not self.segments or segment in self.segments)

    @property
    def definition(self) -> dict[str, Any]:
        definition: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return definition

    @property
    def content_hash(self) -> str:
        return hashlib.sha256(json.dumps(self.definition, sort_keys=True).encode()).hexdigest()


def load(path: Path) -> Playbook:
    """Read and check one file. Raises ``PlaybookError``."""
    try:
        return Playbook.model_validate(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise PlaybookError(f"{path.name}: {error}") from None
    except ValidationError as error:
        details = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'playbook'}: {e['msg']}" for e in error.errors())
        raise PlaybookError(f"{path.name}: {details}") from None


@cache
def playbooks() -> dict[str, Playbook]:
    """All playbooks by name; a company's own (``CONFIG_DIR``) win over built-in ones. Raises ``PlaybookError``."""
    folders = [BUILT_IN, *([settings.CONFIG_DIR / "playbooks"] if settings.CONFIG_DIR else [])]
    found: dict[str, Playbook] = {}
    for folder in folders:
        names: dict[str, str] = {}
        for path in sorted(folder.glob("*.toml")):
            playbook = load(path)
            if playbook.name in names:
                raise PlaybookError(f"{path.name}: {names[playbook.name]} is called {playbook.name} too")
            names[playbook.name] = path.name
            found[playbook.name] = playbook
    return found


def choose(content: dict[str, Any]) -> Playbook | None:
    """The playbook that serves this payload: one that names the plan or segment goes before one that serves all."""
    serving = [playbook for playbook in playbooks().values() if playbook.serves(content)]
    return max(serving, key=lambda playbook: bool(playbook.plans) + bool(playbook.segments), default=None)


def pin(playbook: Playbook) -> PinnedPlaybook:
    """The stored copy of exactly this content."""
    row, _ = PinnedPlaybook.objects.get_or_create(
        content_hash=playbook.content_hash,
        defaults={"name": playbook.name, "version": playbook.version, "definition": playbook.definition},
    )
    return row
