"""What a step would do, said beforehand. The rules are those by which the engine finds, creates and updates; no
vendor is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from onboarding.models import ObjectMapping
from onboarding.payload import catalogue
from onboarding.steps.handler import Facts, Preview, StepHandler, Verdict, View

MOST_NAMED = 5
SENT = "It was sent and cannot be undone; it is not sent again by itself. Send it again from the step if need be."
DECIDED = "A person chose a new one: it is created."
MAY_HAVE_BEEN_SENT = "It may have been sent already, with the data as it was. It is not sent again by itself."


def preview_update(handler: StepHandler, view: View) -> Preview:
    """Of a step that writes into the object of another one."""
    if view.before is None:
        return Preview("send-again", "It is written again, which changes nothing if it is up to date.")
    if view.is_later:
        return _later()
    if view.written == handler.digest(view.facts) and not view.follows:
        return Preview("nothing", "What it has written stays true.")
    return Preview("send-again", f"It is written again{view.at_vendor}, with the new data.")


def preview_object(handler: StepHandler, view: View) -> Preview:
    """Of a step that stands for an object, or one an item."""
    if handler.irrevocable:
        return _irrevocable(handler, view)
    if view.before is None:
        return _done_again(handler, view)
    if view.is_indeterminate:
        # Nothing is made beside what may be there: first it is known how that ended.
        text = (
            f"An earlier create may have worked, with the data as it was: that {handler.kind} is looked for first and brought "
            "up to date then, and no second one is made for it."
        )
        return Preview("look-up", text)
    return _later() if view.is_later else _changed(handler, view)


def _later() -> Preview:
    return Preview("later", "It is not done yet: it uses the new data.")


def _irrevocable(handler: StepHandler, view: View) -> Preview:
    if view.is_indeterminate:
        return Preview("cannot-be-undone", MAY_HAVE_BEEN_SENT, waits=True)
    if view.is_later:
        return _later()
    if view.before is None and not _there(handler, view):
        return Preview("create", DECIDED if view.wants_new else "It was not sent yet: it is sent once.")
    return Preview("cannot-be-undone", SENT)


def _done_again(handler: StepHandler, view: View) -> Preview:
    """With the payload as it is: what exists is looked at, and brought up to date where it lags behind."""
    verdict, said = _of_known(handler, view)
    if lacking := len(handler.named(view.facts)) - len(_there(handler, view)):
        made, text = _of_lacking(view, lacking)
        verdict = made if verdict == "nothing" else verdict
        said.append(text)
    if verdict == "nothing":
        return Preview(
            "skip",
            "Its id is known: it is checked and left unchanged. Only if it is gone, it is looked up and created again.",
        )
    return Preview(verdict, " ".join(said))


def _of_lacking(view: View, lacking: int) -> tuple[Verdict, str]:
    if view.is_indeterminate:
        return "look-up", "An earlier create may have been carried out: it is looked up, and never simply sent again."
    if view.wants_new:
        return "create", DECIDED
    what = "It is" if lacking == 1 else f"{lacking} are"
    return "look-up", f"{what} looked up; what is found is linked, what is not is created."


def _changed(handler: StepHandler, view: View) -> Preview:
    """With another payload: only what differs is written."""
    verdict, said = _of_known(handler, view)
    there, by_hand = _there(handler, view), ""
    if (new := len(handler.named(view.facts)) - len(there)) > 0:
        verdict = "look-up" if verdict == "nothing" else verdict
        count = "One" if new == 1 else str(new)
        noun = handler.kind if new == 1 else f"{handler.kind}s"
        said.append(f"{count} more {noun} {_are(new)} looked up, and created where there is none.")
    if left := _left(handler, view):
        said.append(f"{_count(left, handler.kind)} that the data no longer names {_are(left)} left there as it is.")
    if verdict == "nothing" and view.follows:
        return Preview("look-up", "It is looked at again, and tied to the other object.")
    if not handler.updates and _says_something_else(handler, view):
        unwritten = view.unwritten
        said.append(
            f"No step of this run writes {_quoted(unwritten)} into what is there: change it{view.at_vendor} by hand."
            if unwritten
            else "What was made stays; its update step writes what has changed."
        )
        verdict = "by-hand" if unwritten and verdict == "nothing" else verdict
        # A task that was to remind somebody, and has, need not be put right any more.
        is_over = handler.finished_by is not None and view.is_done
        by_hand = _task(handler, view, there) if unwritten and not is_over else ""
    return Preview(verdict, " ".join(said or ["Nothing in it differs."]), by_hand, waits=bool(by_hand))


def _of_known(handler: StepHandler, view: View) -> tuple[Verdict, list[str]]:
    """What becomes of the objects that the payload names and that are there."""
    verdict: Verdict = "nothing"
    there, said = _there(handler, view), []
    if another := [mapping for mapping in there if handler.is_another(mapping, _of(view.facts, mapping))]:
        verdict = "another"
        said.append(
            f"The data speaks of another {handler.kind} now: it is found or created{view.at_vendor}; the one before "
            "stays there as it is."
        )
    # What it would say is not known before that exists which it speaks of.
    is_informed = view.facts.related.keys() >= set(handler.needs)
    updates = {
        mapping: changed
        for mapping in there
        if is_informed and mapping not in another and (changed := handler.update_of(mapping, _of(view.facts, mapping)))
    }
    if updates:
        verdict = verdict if another else "update"
        said.append(_changes(handler, view, updates))
        if any(mapping.external_id in view.used_elsewhere for mapping in updates):
            said.append("Another run uses it, too.")
    return verdict, said


def speaks_of_another(handler: StepHandler, view: View) -> bool:
    return any(handler.is_another(mapping, _of(view.facts, mapping)) for mapping in _there(handler, view))


def _there(handler: StepHandler, view: View) -> list[ObjectMapping]:
    """The objects of what the data names, or would name then."""
    named = handler.named(view.facts)
    return [mapping for mapping in view.objects if mapping.item in named]


def _left(handler: StepHandler, view: View) -> int:
    named = handler.named(view.facts)
    mine = [mapping for mapping in view.objects if not mapping.item.startswith(ObjectMapping.FORMER)]
    return sum(mapping.item not in named for mapping in mine)


def _of(facts: Facts, mapping: ObjectMapping) -> Facts:
    return replace(facts, item=mapping.item)


def _says_something_else(handler: StepHandler, view: View) -> bool:
    """Whether the object would be created otherwise now, where no update of it is the step's own to do."""
    before = view.before
    return before is not None and any(
        handler.item_params(_of(before, each)) != handler.item_params(_of(view.facts, each))
        for each in _there(handler, view)
    )


# --- In words


def _task(handler: StepHandler, view: View, there: Sequence[ObjectMapping]) -> str:
    named = [f"{each.external_id} ({each.url})" if each.url else each.external_id for each in there[:MOST_NAMED]]
    more = f" and {len(there) - MOST_NAMED} more" if len(there) > MOST_NAMED else ""
    noun = handler.kind if len(there) == 1 else f"{handler.kind}s"
    return f"Change {_quoted(view.unwritten)}{view.at_vendor}: {noun} {', '.join(named)}{more}."


def _changes(handler: StepHandler, view: View, updates: Mapping[ObjectMapping, dict[str, Any]]) -> str:
    written = {name for changed in updates.values() for name in changed}
    names = sorted(name for name in written if not name.startswith("former_"))
    what = f"the {handler.kind}" if len(updates) == 1 else _count(len(updates), handler.kind)
    return f"Changes the {_listed([_spoken(name) for name in names])} of {what}{view.at_vendor}, and nothing else."


def _count(number: int, kind: str) -> str:
    return f"One {kind}" if number == 1 else f"{number} {kind}s"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _spoken(name: str) -> str:
    return name.removesuffix("_id").replace("_", " ")


def _quoted(paths: Sequence[str]) -> str:
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
