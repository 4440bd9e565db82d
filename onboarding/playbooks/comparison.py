"""Playbooks in words: one as a table, and what differs between two of them. Both as definitions (``Playbook.definition``)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from onboarding.playbooks import scopes
from onboarding.playbooks.conditions import in_words
from onboarding.playbooks.playbook import Playbook

Definition = Mapping[str, Any]
_DEFAULTS: Definition = {
    "after": [],
    "when": {},
    "waits_for": "",
    "deadline_hours": None,
    "mode": None,
    "queue": "",
    "with": {},
}
"""What a step does not say, also where it was pinned before a field was known."""
_OF_PLAYBOOK = ("version", "owner", "plans", "segments", "amounts", "priority", "requires", "mode")


def described(playbook: Playbook) -> Iterator[str]:
    """A playbook, a line a fact."""
    yield f"{playbook.name}, version {playbook.version}, owned by {playbook.owner}"
    yield f"serves {scopes.scope(playbook)}"
    if playbook.requires:
        yield f"requires {', '.join(playbook.requires)}"
    if playbook.mode != "automate":
        yield f"mode {playbook.mode}"
    for step in playbook.steps:
        yield ""
        yield step.key if step.key == step.uses else f"{step.key} ({step.uses})"
        facts = {
            "after": ", ".join(step.after),
            "only where": in_words(step.when),
            "waits for": step.waits_for,
            "deadline": f"{step.deadline_hours} hours" if step.deadline_hours else "",
            "mode": step.mode or "",
            "queue": step.queue,
        }
        for name, value in facts.items():
            if value:
                yield f"    {name} {value}"


def differences(before: Definition, after: Definition) -> Iterator[str]:
    """What the second does otherwise than the first, a line a fact; nothing where they do the same."""
    for name in _OF_PLAYBOOK:
        if before.get(name) != after.get(name) and (before.get(name) or after.get(name)):
            yield f"{name}: {_shown(before.get(name))} → {_shown(after.get(name))}"
    old, new = ({step["key"]: {**_DEFAULTS, **step} for step in each["steps"]} for each in (before, after))
    yield from (f"- step {key}" for key in old if key not in new)
    yield from (f"+ step {key} ({new[key]['uses']})" for key in new if key not in old)
    for key in new:
        changed = [name for name in new[key] if key in old and old[key].get(name) != new[key][name]]
        yield from (f"step {key}: {name}: {_shown(old[key].get(name))} → {_shown(new[key][name])}" for name in changed)


def version_order(version: str) -> list[tuple[bool, int, str]]:
    """Sorts versions as people count them: 2 comes before 10, and 1.2 before 1.10."""
    parts = re.findall(r"[0-9]+|[^\W\d_]+", version.casefold())
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _shown(value: Any) -> str:
    if value in (None, "", [], {}):
        return "nothing"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
