"""What an action would do to steps, as the pages show it."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from exceptions_queue.admin import looks
from exceptions_queue.tickets import naming
from onboarding.services import Effect

VERDICTS = {
    "skip": ("Skip", looks.MUTED, "remove_circle"),
    "look-up": ("Look up", looks.INFO, "search"),
    "create": ("Create", looks.INFO, "add_circle"),
    "send-again": ("Write again", looks.INFO, "sync"),
    "update": ("Update", looks.INFO, "edit"),
    "another": ("Find or create", looks.RISK, "swap_horiz"),
    "nothing": ("Nothing", looks.MUTED, "remove_circle"),
    "by-hand": ("By hand", looks.RISK, "back_hand"),
    "later": ("Use it later", looks.MUTED, "schedule"),
    "cannot-be-undone": ("Cannot be undone", looks.BAD, "warning"),
    "take-back": ("Take back", looks.RISK, "undo"),
    "keep": ("Keep", looks.OK, "lock"),
    "changed-since": ("Changed since", looks.BAD, "edit"),
    "gone": ("Gone", looks.MUTED, "block"),
    "settle-first": ("Look for it first", looks.INFO, "search"),
}


def shown_effects(effects: Iterable[Effect]) -> list[dict[str, Any]]:
    """For ``admin/firstvalue/effects.html``: in one row what is the same for several objects of a step, such as its tasks."""
    shown = []
    for _, group in groupby(effects, key=lambda effect: (effect.step, effect.verdict, effect.text)):
        same = list(group)
        label, tone, icon = VERDICTS[same[0].verdict]
        objects = [each for each in same if each.external_id]
        shown.append({"effect": same[0], "label": label, "tone": tone, "icon": icon, "objects": _named(objects)})
    return shown


def _named(objects: list[Effect]) -> str:
    if len(objects) > 1:
        return f"{len(objects)} {naming.plural(objects[0].kind)}"
    return f"{objects[0].kind} {objects[0].external_id}" if objects else ""
