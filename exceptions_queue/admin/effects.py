"""What an action would do to steps, as the pages show it."""

from collections.abc import Iterable
from typing import Any

from exceptions_queue.admin import looks
from onboarding.services import Effect, Verdict

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


def shown_effects(effects: Iterable[Effect | Verdict]) -> list[dict[str, Any]]:
    """For ``admin/firstvalue/effects.html``."""
    parts = ((effect, VERDICTS[effect.verdict]) for effect in effects)
    return [{"effect": effect, "label": label, "tone": tone, "icon": icon} for effect, (label, tone, icon) in parts]
