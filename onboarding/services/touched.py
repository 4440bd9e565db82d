"""Which steps a change of the data touches, and what each would do: those whose handlers read a field that changes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from integrations.words import vendor_name
from onboarding.engine.facts import digest_of, facts_of
from onboarding.engine.upkeep import is_another, is_unsettled, note_baseline, update_of
from onboarding.models import Intent, ObjectMapping, OnboardingTransaction, Step
from onboarding.payload import catalogue
from onboarding.services.replaying import Effect, Verdict, title_of
from onboarding.steps.base import EnsureHandler, Facts, StepHandler, UpdateHandler
from onboarding.steps.registry import HANDLERS
from onboarding.words import StepState

TO_DO: frozenset[Verdict] = frozenset({"update", "another", "look-up", "send-again"})
"""Verdicts for which a step that has passed is done again."""
MOST_NAMED = 5


@dataclass(frozen=True)
class Changed:
    """The data as it is and as it would be, and where that differs."""

    before: dict[str, Any]
    after: dict[str, Any]
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Touched:
    step: Step
    effect: Effect
    noted: list[ObjectMapping]
    """Objects of which nobody had noted what they were made from: they carry it now, to be saved before the data changes."""
    by_hand: str = ""
    """What no step writes, as a task for a person; empty for nothing."""

    @property
    def is_done_again(self) -> bool:
        return self.step.state == StepState.SUCCEEDED and self.effect.verdict in TO_DO


def touched(run: OnboardingTransaction, content: dict[str, Any], changed: Iterable[str]) -> list[Touched]:
    """The steps that a change to ``content`` at these paths touches, in playbook order; what people skipped stays so."""
    paths = list(changed)
    steps = [step for step in run.steps.select_related("connection").order_by("position") if _has_object(step)]
    before, mappings, intents = run.payload, list(run.mappings.all()), list(run.intents.all())
    found = [
        _Look(
            run,
            step,
            Changed(before, content, tuple(paths)),
            [each for each in mappings if each.step_id == step.pk],
            [each for each in intents if each.step_id == step.pk],
        )
        for step in steps
    ]
    for look in found:
        look.note_baselines()
    replaced = {look.step.uses for look in found if reads(look.handler, paths) and look.speaks_of_another()}
    used = _used_elsewhere(run, mappings)
    made = []
    for look in found:
        follows = bool(replaced.intersection((*look.handler.needs, *look.handler.ties_to)))
        if follows or reads(look.handler, paths):
            effect = look.effect(follows=follows, used_elsewhere=used)
            made.append(Touched(look.step, effect, look.noted, look.by_hand))
    return made


def reads(handler: StepHandler, paths: Iterable[str]) -> bool:
    """Whether it reads one of the paths, a part of it, or what it is a part of."""
    return any(
        path == read or path.startswith(f"{read}.") or read.startswith(f"{path}.")
        for path in paths
        for read in handler.reads
    )


def _has_object(step: Step) -> bool:
    return step.state != StepState.SKIPPED and isinstance(HANDLERS[step.uses], EnsureHandler | UpdateHandler)


def _used_elsewhere(run: OnboardingTransaction, mappings: list[ObjectMapping]) -> set[str]:
    """Ids of objects that other runs stand on, too."""
    others = ObjectMapping.objects.exclude(transaction=run).exclude(item__startswith=ObjectMapping.FORMER)
    ids = [mapping.external_id for mapping in mappings]
    named = {(mapping.connection_id, mapping.kind, mapping.external_id) for mapping in mappings}
    rows = others.filter(external_id__in=ids).values_list("connection_id", "kind", "external_id").distinct()
    return {row[2] for row in rows if row in named}


class _Look:
    """One step against the data as it would be."""

    def __init__(
        self,
        run: OnboardingTransaction,
        step: Step,
        data: Changed,
        mappings: list[ObjectMapping],
        intents: list[Intent],
    ) -> None:
        self.run, self.step, self.data, self.mappings = run, step, data, mappings
        self.handler = HANDLERS[step.uses]
        self.facts = facts_of(run, step, content=data.after)
        self.is_unsettled = is_unsettled(intents, (mapping.item for mapping in mappings))
        self.noted: list[ObjectMapping] = []
        self.by_hand = ""

    def note_baselines(self) -> None:
        handler = self.handler
        unknown = [mapping for mapping in self.mappings if mapping.state is None]
        if unknown and isinstance(handler, EnsureHandler):
            facts = replace(self.facts, content=self.data.before)
            items = handler.items(facts)
            self.noted = [mapping for mapping in unknown if mapping.item in items]
            for mapping in self.noted:
                note_baseline(handler, mapping, facts)

    def speaks_of_another(self) -> bool:
        handler = self.handler
        return isinstance(handler, EnsureHandler) and any(
            is_another(handler, mapping, self._of(mapping)) for mapping in self._there(handler)
        )

    def effect(self, *, follows: bool, used_elsewhere: set[str]) -> Effect:
        verdict, sentences = self._judged(follows, used_elsewhere)
        return Effect(self.step.key, title_of(self.step), verdict, " ".join(sentences))

    def _judged(self, follows: bool, used_elsewhere: set[str]) -> tuple[Verdict, list[str]]:
        handler = self.handler
        if self.is_unsettled and isinstance(handler, EnsureHandler):
            return self._of_unsettled(handler)
        if self.step.state != StepState.SUCCEEDED and not self.mappings:
            return "later", ["It is not done yet: it uses the new data."]
        if isinstance(handler, UpdateHandler):
            if self.step.written == digest_of(handler.wanted(self.facts).given()) and not follows:
                return "nothing", ["What it has written stays true."]
            return "send-again", [f"It is written again{self._at_vendor}, with the new data."]
        assert isinstance(handler, EnsureHandler)  # noqa: S101  (_has_object)
        if handler.irrevocable:
            return "cannot-be-undone", [
                "It was sent and cannot be undone; it is not sent again by itself. Send it again from the step if need be."
            ]
        return self._of_objects(handler, used_elsewhere, follows=follows)

    @staticmethod
    def _of_unsettled(handler: EnsureHandler) -> tuple[Verdict, list[str]]:
        """Nothing is made beside what may be there: first it is known how that ended."""
        if handler.irrevocable:
            return "cannot-be-undone", [
                "It may have been sent already, with the data as it was. It is not sent again by itself."
            ]
        text = (
            f"An earlier create may have worked, with the data as it was: that {handler.kind} is looked for first and brought "
            "up to date then, and no second one is made for it."
        )
        return "look-up", [text]

    def _of_objects(
        self, handler: EnsureHandler, used_elsewhere: set[str], *, follows: bool
    ) -> tuple[Verdict, list[str]]:
        there = self._there(handler)
        verdict: Verdict = "nothing"
        said = []
        if another := [mapping for mapping in there if is_another(handler, mapping, self._of(mapping))]:
            verdict = "another"
            said.append(
                f"The data speaks of another {handler.kind} now: it is found or created{self._at_vendor}; the one before "
                "stays there as it is."
            )
        updates = {
            mapping: changed
            for mapping in there
            if mapping not in another and (changed := update_of(handler, mapping, self._of(mapping)))
        }
        if updates:
            verdict = verdict if another else "update"
            said.append(self._changes(handler, updates))
            if any(mapping.external_id in used_elsewhere for mapping in updates):
                said.append("Another run uses it, too.")
        new = len(self._items(handler)) - len(there)
        if new > 0:
            verdict = "look-up" if verdict == "nothing" else verdict
            count = "One" if new == 1 else str(new)
            noun = handler.kind if new == 1 else f"{handler.kind}s"
            said.append(f"{count} more {noun} {_are(new)} looked up, and created where there is none.")
        if left := self._left(handler):
            said.append(f"{_count(left, handler.kind)} that the data no longer names {_are(left)} left there as it is.")
        if verdict == "nothing" and follows:
            return "look-up", ["It is looked at again, and tied to the other object."]
        if not handler.updates and self._says_something_else(handler, there):
            unwritten = self._written_by_nobody(handler)
            said.append(
                f"No step of this run writes {_quoted(unwritten)} into what is there: change it{self._at_vendor} by hand."
                if unwritten
                else "What was made stays; its update step writes what has changed."
            )
            verdict = "by-hand" if unwritten and verdict == "nothing" else verdict
            # A task that was to remind somebody, and has, need not be put right any more.
            is_over = handler.finished_by is not None and self.step.is_done
            self.by_hand = self._task(handler, unwritten, there) if unwritten and not is_over else ""
        return verdict, said or ["Nothing in it differs."]

    def _task(self, handler: EnsureHandler, unwritten: list[str], there: list[ObjectMapping]) -> str:
        named = [f"{each.external_id} ({each.url})" if each.url else each.external_id for each in there[:MOST_NAMED]]
        more = f" and {len(there) - MOST_NAMED} more" if len(there) > MOST_NAMED else ""
        noun = handler.kind if len(there) == 1 else f"{handler.kind}s"
        return f"Change {_quoted(unwritten)}{self._at_vendor}: {noun} {', '.join(named)}{more}."

    def _changes(self, handler: EnsureHandler, updates: dict[ObjectMapping, dict[str, Any]]) -> str:
        names = sorted({name for changed in updates.values() for name in changed} - {"former_domains"})
        what = f"the {handler.kind}" if len(updates) == 1 else _count(len(updates), handler.kind)
        return f"Changes the {_listed([_spoken(name) for name in names])} of {what}{self._at_vendor}, and nothing else."

    def _says_something_else(self, handler: EnsureHandler, there: list[ObjectMapping]) -> bool:
        """Whether the object would be created otherwise now, where no update of it is the step's own to do."""
        before = replace(self.facts, content=self.data.before)
        return any(handler.says(replace(before, item=each.item)) != handler.says(self._of(each)) for each in there)

    def _written_by_nobody(self, handler: EnsureHandler) -> list[str]:
        """Changed paths that stand in the object and in no update step of it."""
        steps = (
            HANDLERS[uses] for uses in self.run.steps.exclude(state=StepState.SKIPPED).values_list("uses", flat=True)
        )
        updates = [other for other in steps if isinstance(other, UpdateHandler) and other.target == handler.name]
        mine = [path for path in self.data.paths if reads(handler, [path])]
        return [path for path in mine if not any(reads(update, [path]) for update in updates)]

    @property
    def _at_vendor(self) -> str:
        return f" in {vendor_name(self.step.connection.provider)}" if self.step.connection else ""

    def _items(self, handler: EnsureHandler) -> list[str]:
        parts = handler.parts(self.facts)
        return handler.items(self.facts) if parts is None else parts

    def _there(self, handler: EnsureHandler) -> list[ObjectMapping]:
        """The objects of what the data names, or would name then."""
        items = self._items(handler)
        return [mapping for mapping in self.mappings if mapping.item in items]

    def _left(self, handler: EnsureHandler) -> int:
        items = self._items(handler)
        mine = [mapping for mapping in self.mappings if not mapping.item.startswith(ObjectMapping.FORMER)]
        return sum(mapping.item not in items for mapping in mine)

    def _of(self, mapping: ObjectMapping) -> Facts:
        return replace(self.facts, item=mapping.item)


def _count(number: int, kind: str) -> str:
    return f"One {kind}" if number == 1 else f"{number} {kind}s"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _spoken(name: str) -> str:
    return name.removesuffix("_id").replace("_", " ")


def _quoted(paths: list[str]) -> str:
    return _listed([f"“{label}”" for label in dict.fromkeys(map(_label, paths))])


def _label(path: str) -> str:
    """Of the field that the path leads into: keys further down may name people."""
    while path not in catalogue.BY_PATH and "." in path:
        shorter = path.rpartition(".")[0]
        if shorter in catalogue.BY_PATH or "." in shorter:
            path = shorter
        else:
            break
    return catalogue.label(path)


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
