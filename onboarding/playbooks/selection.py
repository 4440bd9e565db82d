"""Which of a playbook's steps belong to a run: those whose condition holds for its payload."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from onboarding.enums import Mode
from onboarding.models import OnboardingTransaction, PinnedPlaybook, Step
from onboarding.playbooks.conditions import Content, holds, in_words
from onboarding.steps.registry import HANDLERS


class Conditional(Protocol):
    """What the selection knows of a step."""

    @property
    def key(self) -> str: ...

    @property
    def after(self) -> Sequence[str]: ...

    @property
    def when(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class PinnedStep:
    """A step as a pinned playbook keeps it, whether or not today's handlers would still take it."""

    key: str
    uses: str
    position: int
    after: Sequence[str] = ()
    when: Mapping[str, Any] = field(default_factory=dict)
    waits_for: str = ""
    deadline_hours: int | None = None
    mode: str = Mode.AUTOMATE
    queue: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def pinned_steps(playbook: PinnedPlaybook) -> list[PinnedStep]:
    """In playbook order; positions count from 1."""
    kept = ("key", "uses", "after", "when", "waits_for", "deadline_hours", "queue")
    usual = playbook.definition.get("mode", Mode.AUTOMATE)
    return [
        PinnedStep(
            position=position,
            options=each.get("with", {}),
            mode=each.get("mode") or usual,
            **{name: each[name] for name in kept if each.get(name)},
        )
        for position, each in enumerate(playbook.definition["steps"], start=1)
    ]


class Planned(Conditional, Protocol):
    """What a run's row is made from."""

    @property
    def uses(self) -> str: ...

    @property
    def queue(self) -> str: ...

    @property
    def waits_for(self) -> str: ...

    @property
    def deadline_hours(self) -> int | None: ...

    @property
    def options(self) -> Mapping[str, Any]: ...


def new_step(run: OnboardingTransaction, spec: Planned, after: Sequence[str], mode: str, position: int) -> Step:
    """Not saved. ``after``: keys of the run's own steps."""
    return Step(
        transaction=run,
        key=spec.key,
        uses=spec.uses,
        system=HANDLERS[spec.uses].system,
        queue=spec.queue,
        after=list(after),
        options=dict(spec.options),
        awaits=spec.waits_for,
        deadline_hours=spec.deadline_hours,
        mode=mode,
        position=position,
    )


def belonging(steps: Iterable[Conditional], content: Content) -> set[str]:
    """Keys of the steps whose condition holds."""
    return {step.key for step in steps if holds(step.when, content)}


def predecessors(steps: Sequence[Conditional], key: str, among: set[str]) -> list[str]:
    """What comes right before a step, of those ``among``: where one is not, what comes before it takes its place."""
    after = {step.key: step.after for step in steps}
    found: dict[str, None] = {}
    for before in after[key]:
        found |= dict.fromkeys([before] if before in among else predecessors(steps, before, among))
    return list(found)


def why_not(step: Conditional) -> str:
    """Why a step is no part of a run, in a sentence."""
    return f"Only where {in_words(step.when)}."
