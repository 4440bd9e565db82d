"""The planner: what each of some steps would do with a payload, and why. It reads rows and asks handlers; no vendor is asked.

The steps are those of a run, or those that a playbook would give one. Replay, change requests and rollback show what it says.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from integrations.connections.services import default_connection
from integrations.connectors import registry
from integrations.enums import System, vendor_name
from integrations.errors import ProviderError
from onboarding.engine.compensation import is_used_elsewhere
from onboarding.engine.facts import facts_of
from onboarding.engine.objects.claimed_work import usable
from onboarding.engine.reconcile import is_indeterminate, note_baseline
from onboarding.engine.runs import kickoff, step_selection
from onboarding.enums import StepState
from onboarding.models import Intent, MatchChoice, ObjectMapping, OnboardingTransaction, Step
from onboarding.steps.handler import Content, Preview, StepHandler, Verdict, View
from onboarding.steps.previews import speaks_of_another
from onboarding.steps.registry import HANDLERS

TO_DO: frozenset[Verdict] = frozenset({"update", "another", "look-up", "send-again"})
"""Verdicts of a change for which a step that has passed is done again."""


@dataclass(frozen=True)
class Effect:
    """What an action would do to one step, or to one of its objects, in a word and in sentences without personal data."""

    step: str
    title: str
    verdict: Verdict
    text: str
    kind: str = ""
    external_id: str = ""
    """Of the one object that it is about."""
    waits: bool = False
    """The step then waits for a person."""

    @property
    def confirmed_facts(self) -> tuple[str, ...]:
        """Of an object without the sentence, which also tells how the vendor answered just now."""
        return (self.step, self.verdict, self.external_id or self.text)


@dataclass(frozen=True)
class Planned:
    step: Step
    effect: Effect
    by_hand: str = ""
    """What no step writes, as a task for a person; empty for nothing."""
    noted: list[ObjectMapping] = field(default_factory=list)
    """Objects of which nobody had noted what they were made from: they carry it now, to be saved before the data changes."""
    mapping: ObjectMapping | None = None
    """The object that the effect is about, in a rollback."""

    @property
    def is_done_again(self) -> bool:
        """Whether a change of the data has the step, which has passed, done again."""
        return self.step.state == StepState.SUCCEEDED and self.effect.verdict in TO_DO


def title_of(step: Step) -> str:
    title = HANDLERS[step.uses].titled(step.options)
    return title[:1].upper() + title[1:]


# --- Steps that are done


def plan_steps(run: OnboardingTransaction, steps: Iterable[Step], content: Content | None = None) -> list[Planned]:
    """What doing these steps would do, in their order, whether they have passed before or were never begun.

    ``run`` and ``steps`` need not be saved (``Playbook.steps_for``). ``content``: another payload than the run's own.
    """
    rows = _Rows(run, run.payload if content is None else content)
    planned = []
    for step in steps:
        handler = HANDLERS[step.uses]
        view = rows.view(step)
        wants_new = rows.wants_new(step, view)
        view = replace(view, wants_new=wants_new, is_indeterminate=view.is_indeterminate and not wants_new)
        preview = _not_configured(step, handler, handler.preview(view))
        if handler.finished_by and step.state != StepState.SUCCEEDED and not rows.is_scheduled:
            preview = replace(preview, waits=True)
        planned.append(_planned(step, preview))
    return planned


def plan_change(run: OnboardingTransaction, content: Content, changed: Iterable[str]) -> list[Planned]:
    """What the steps would do once the payload is ``content``, which differs at the paths ``changed``; in playbook order.

    Only steps that the change touches: those that read one of the paths, or that need an object which becomes another one.
    What people skipped stays so.
    """
    paths = list(changed)
    kept = list(run.steps.exclude(state=StepState.SKIPPED).select_related("connection").order_by("position"))
    handlers = {step: HANDLERS[step.uses] for step in kept}
    rows = _Rows(run, content, before=run.payload)
    touched = {step for step, handler in handlers.items() if handler.reads_any(paths)}
    views = {step: rows.view(step) for step, handler in handlers.items() if handler.kind or handler.checks}
    noted = {step: _note_baselines(handlers[step], view) for step, view in views.items()}
    replaced = {step.uses for step in touched & views.keys() if speaks_of_another(handlers[step], views[step])}
    planned = []
    for step, view in views.items():
        handler = handlers[step]
        follows = bool(replaced.intersection((*handler.needs, *handler.ties_to)))
        if follows or step in touched:
            unwritten = _unwritten(handler, paths, handlers.values())
            preview = handler.preview(replace(view, follows=follows, unwritten=unwritten))
            planned.append(_planned(step, preview, noted[step]))
    return sorted([*planned, *_of_conditions(run, content)], key=lambda each: each.step.position)


def _of_conditions(run: OnboardingTransaction, content: Content) -> list[Planned]:
    """Steps that the run would have besides with this payload, and those that would be no part of it any more."""
    found = [*plan_steps(run, step_selection.would_be_added(run, content), content)]
    for step, reason in step_selection.would_be_dropped(run, content):
        if step_selection.may_be_left_out(step):
            preview = Preview("skip", f"It is left out: {reason}")
        else:
            text = f"It was begun, and what it made stays, though it is no part of this onboarding any more: {reason}"
            made = HANDLERS[step.uses].makes_objects
            preview = Preview("keep", text, by_hand=f"{title_of(step)}: {text}" if made else "")
        found.append(_planned(step, preview))
    return found


class _Rows:
    """What is stored of a run's steps, read once, and the payload that they would be done with."""

    def __init__(self, run: OnboardingTransaction, content: Content, *, before: Content | None = None) -> None:
        self.run, self.content, self.before = run, content, before
        is_stored = run.pk is not None
        self.mappings: list[ObjectMapping] = list(run.mappings.all()) if is_stored else []
        self.intents: list[Intent] = list(run.intents.indeterminate()) if is_stored else []
        self.used_elsewhere = _used_elsewhere(run, self.mappings) if self.mappings else frozenset()

    def view(self, step: Step) -> View:
        facts = facts_of(self.run, step, content=self.content)
        objects = [each for each in self.mappings if each.step_id == step.pk]
        return View(
            facts=facts,
            before=None if self.before is None else replace(facts, content=self.before),
            is_done=step.state == StepState.SUCCEEDED,
            written=step.written,
            objects=objects,
            is_indeterminate=is_indeterminate(self._intents(step), (each.item for each in objects)),
            used_elsewhere=frozenset(each.external_id for each in objects if _named(each) in self.used_elsewhere),
            vendor=vendor_name(step.connection.provider) if step.connection else "",
        )

    def wants_new(self, step: Step, view: View) -> bool:
        """A person has decided that what is lacking is made anew, after any create whose outcome is indeterminate was sent."""
        handler, there = HANDLERS[step.uses], {each.item for each in view.objects}
        lacking = [item for item in handler.named(view.facts) if item not in there]
        if not (handler.makes_objects and step.connection and lacking):
            return False
        keys = [handler.match_key(replace(view.facts, item=item)) for item in lacking]
        since = max((each.indeterminate_since or each.send_by for each in self._intents(step)), default=None)
        return _decided_on_new(step, handler, keys, since)

    @property
    def is_scheduled(self) -> bool:
        return self.run.pk is not None and kickoff.scheduled_by(self.run) is not None

    def _intents(self, step: Step) -> list[Intent]:
        return [each for each in self.intents if each.step_id == step.pk]


def _decided_on_new(step: Step, handler: StepHandler, keys: Sequence[str], since: datetime | None) -> bool:
    chosen = MatchChoice.objects.filter(
        connection=step.connection, kind=handler.kind, match_key__in=keys, external_id=""
    )
    return (chosen.filter(chosen_at__gte=since) if since else chosen).exists()


def _not_configured(step: Step, handler: StepHandler, preview: Preview) -> Preview:
    """``preview``, or where the step has no vendor that it could be done at, what a person has to set up."""
    if preview.verdict == "by-hand" or handler.checks:
        return preview
    connection = step.connection or default_connection(System(step.system), handler.provider)
    if connection is None and handler.optional:
        return Preview("skip", handler.passed_over)
    try:
        usable(connection, handler)
    except ProviderError as error:
        return Preview("by-hand", error.message, waits=True)
    return preview


def _note_baselines(handler: StepHandler, view: View) -> list[ObjectMapping]:
    """What the payload says of objects of which nobody noted what they were made from. Not saved."""
    assert view.before is not None  # noqa: S101  (of a change)
    named = handler.items(view.before) if handler.makes_objects else []
    unknown = [mapping for mapping in view.objects if mapping.state is None and mapping.item in named]
    for mapping in unknown:
        note_baseline(handler, mapping, view.before)
    return unknown


def _unwritten(handler: StepHandler, paths: list[str], others: Iterable[StepHandler]) -> tuple[str, ...]:
    """Changed paths that stand in the handler's object, and that no update step of it reads."""
    updates = [other for other in others if other.target and other.target == handler.name]
    mine = [path for path in paths if handler.reads_any([path])]
    return tuple(path for path in mine if not any(update.reads_any([path]) for update in updates))


def _named(mapping: ObjectMapping) -> tuple[int, str, str]:
    """An id alone is not enough: two vendors may use the same."""
    return mapping.connection_id, mapping.kind, mapping.external_id


def _used_elsewhere(run: OnboardingTransaction, mappings: list[ObjectMapping]) -> frozenset[tuple[int, str, str]]:
    """Of the objects of these mappings those that other runs stand on, too."""
    others = ObjectMapping.objects.exclude(transaction=run).exclude(item__startswith=ObjectMapping.FORMER)
    ids = [mapping.external_id for mapping in mappings]
    rows = others.filter(external_id__in=ids).values_list("connection_id", "kind", "external_id")
    return frozenset(map(_named, mappings)).intersection(rows)


def _planned(step: Step, preview: Preview, noted: Sequence[ObjectMapping] = ()) -> Planned:
    effect = Effect(step.key, title_of(step), preview.verdict, preview.text, waits=preview.waits)
    return Planned(step, effect, preview.by_hand, list(noted))


# --- Objects that are removed


def plan_rollback(run: OnboardingTransaction) -> list[Planned]:
    """What a rollback would do to each object, in the order of the compensations.

    Whether a vendor still has an object, and has it as this run left it, is for whoever asks the vendor.
    """
    planned: list[Planned] = []
    for step in reversed(list(run.steps.order_by("position"))):
        mappings = list(step.mappings.select_related("connection").order_by("-pk"))
        planned += [of_object(step, mapping, *_verdict_on(step, mapping)) for mapping in mappings]
        if is_indeterminate(step.intents.all(), (mapping.item for mapping in mappings)):
            planned.append(of_object(step, None, *_verdict_on_indeterminate(HANDLERS[step.uses])))
    return planned


def of_object(step: Step, mapping: ObjectMapping | None, verdict: Verdict, text: str) -> Planned:
    """``mapping``: None for an object that may have been made, and whose id nobody knows."""
    handler = HANDLERS[step.uses]
    kind = handler.kind if handler.makes_objects else ""
    external_id = mapping.external_id if mapping else ""
    return Planned(step, Effect(step.key, title_of(step), verdict, text, kind, external_id), mapping=mapping)


def _verdict_on(step: Step, mapping: ObjectMapping) -> tuple[Verdict, str]:
    if not mapping.created_by_us:
        return "keep", "This run only found it: it stays as it is."
    if is_used_elsewhere(mapping):
        return "keep", "Another run uses it too: it stays."
    if not HANDLERS[step.uses].makes_objects:
        return "keep", "Nothing here can remove it any more: it stays."
    if not _is_reversible(mapping):
        return "cannot-be-undone", "It cannot be undone, such as a sent mail."
    return "take-back", "It is removed."


def _verdict_on_indeterminate(handler: StepHandler) -> tuple[Verdict, str]:
    if handler.irrevocable:
        return "cannot-be-undone", "It may have been sent, and cannot be removed."
    return "settle-first", "It may have been created: it is looked up first, and removed if it is there."


def _is_reversible(mapping: ObjectMapping) -> bool:
    """A vendor that cannot be asked now is one that can undo, until it says otherwise."""
    try:
        connector = registry.connector(mapping.connection, subject="preview", deadline=time.monotonic())
        return connector.reversible(mapping.kind)
    except ProviderError:
        return True
