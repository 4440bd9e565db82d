"""What an action would do to steps, as the pages show it."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from exceptions_queue.admin.ui import badges
from exceptions_queue.tickets import naming
from onboarding.services import Effect

VERDICTS = {
    "skip": ("Skip", badges.MUTED, "remove_circle"),
    "look-up": ("Look up", badges.INFO, "search"),
    "create": ("Create", badges.INFO, "add_circle"),
    "send-again": ("Write again", badges.INFO, "sync"),
    "update": ("Update", badges.INFO, "edit"),
    "another": ("Find or create", badges.RISK, "swap_horiz"),
    "nothing": ("Nothing", badges.MUTED, "remove_circle"),
    "by-hand": ("Manual", badges.RISK, "back_hand"),
    "later": ("Use it later", badges.MUTED, "schedule"),
    "cannot-be-undone": ("Cannot be undone", badges.BAD, "warning"),
    "take-back": ("Remove", badges.RISK, "undo"),
    "keep": ("Keep", badges.OK, "lock"),
    "changed-since": ("Changed since", badges.BAD, "edit"),
    "gone": ("Gone", badges.MUTED, "block"),
    "settle-first": ("Look it up first", badges.INFO, "search"),
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
