"""Values that look like placeholders and may be right all the same: a person confirms them in the form."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldBooleanWidget

from onboarding.payload import catalogue
from onboarding.payload.catalogue import Type
from onboarding.payload.plausibility import implausible, unusable

PREFIX = "confirm:"


class ConfirmingForm(forms.Form):
    """Fields of the payload by path. Beside one whose value is suspicious is a box with which a person confirms it.

    ``confirmed``: the paths, once the form is clean.
    """

    confirmed: frozenset[str] = frozenset()

    def offer_confirmation(self, entry: catalogue.Field, current: Any = None, *, must_confirm: bool = False) -> None:
        """The box for ``entry``, where what was sent (or before that, ``current``) needs one. Add the entry's field first.

        ``must_confirm``: it needs one whatever it looks like, as long as it is ``current``.
        """
        value = self.data.get(entry.path) if self.is_bound else current
        if isinstance(value, str) and ((must_confirm and value == current) or _is_suspicious(value, entry.type)):
            self.fields[f"{PREFIX}{entry.path}"] = forms.BooleanField(
                label=f"“{value.strip()}” is correct",
                required=False,
                help_text="Tick this if the value is correct.",
                widget=UnfoldBooleanWidget(),
            )

    def rejection_reason(self, entry: catalogue.Field, value: str) -> str:
        """Why the value is not taken; empty where it is plausible, or usable and confirmed."""
        if reason := unusable(value, entry.type):
            return reason
        reason = implausible(value, entry.type)
        if reason and self.cleaned_data.get(f"{PREFIX}{entry.path}"):
            self.confirmed |= {entry.path}
            return ""
        return f"{reason}. Tick the box below if it is correct" if reason else ""

    def payload_values(self) -> dict[str, Any]:
        """What was cleaned, without the boxes."""
        return {path: value for path, value in self.cleaned_data.items() if not path.startswith(PREFIX)}

    def with_boxes(self, paths: list[str]) -> list[forms.BoundField]:
        """The fields of these paths, each with its box."""
        names = (name for path in paths for name in (path, f"{PREFIX}{path}") if name in self.fields)
        return [self[name] for name in names]


def _is_suspicious(value: str, type_: Type) -> bool:
    return bool(value.strip()) and not unusable(value, type_) and bool(implausible(value, type_))
