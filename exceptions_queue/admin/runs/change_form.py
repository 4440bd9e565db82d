"""The form behind "Change the data": the run's data as it is, field by field; what is altered becomes a change request."""

from typing import Any

from django import forms

from exceptions_queue.admin.runs.start_form import ALSO_NEEDED, ENTERED, HELP, LABELS
from exceptions_queue.admin.tickets.forms import merged, payload_field
from exceptions_queue.admin.ui.confirmations import ConfirmingForm
from onboarding.payload import catalogue
from onboarding.payload.catalogue import Type
from onboarding.payload.gate import Problem
from onboarding.payload.schema import get

EMPTY: tuple[Any, ...] = (None, "", [], False)


class ChangeForm(ConfirmingForm):
    """``changes`` is what to give to ``request_change``: a field that was emptied is None, what was left as it is stays out."""

    changes: dict[str, Any]

    def __init__(self, content: dict[str, Any], data: Any = None, *, see_personal: bool) -> None:
        super().__init__(data, auto_id="data-%s", label_suffix="")
        self.hides = not see_personal
        for entry in ENTERED:
            if entry.personal and not see_personal:
                continue
            self.fields[entry.path] = field = payload_field(entry, _current(entry, content))
            field.help_text = HELP.get(entry.path) or entry.help
            field.label = LABELS.get(entry.path) or entry.label
            self.offer_confirmation(entry)

    @property
    def needed(self) -> list[forms.BoundField]:
        return self.with_boxes([entry.path for entry in ENTERED if _is_needed(entry)])

    @property
    def more(self) -> list[forms.BoundField]:
        return self.with_boxes([entry.path for entry in ENTERED if not _is_needed(entry)])

    @property
    def more_is_open(self) -> bool:
        return self.is_bound and any(field.errors for field in self.more)

    def clean(self) -> dict[str, Any]:
        self.changes = {}
        for path, value in self.payload_values().items():
            if not self._is_same(self.fields[path], value):
                self._take_up(catalogue.entry(path), value)
        if not self.changes and not self.errors:
            raise forms.ValidationError("Nothing was changed yet.")
        return self.cleaned_data

    @staticmethod
    def _is_same(field: forms.Field, value: Any) -> bool:
        """As the form shows it: what it leaves out of a list's entries is no change of them."""
        now = field.initial
        if value in EMPTY or now in EMPTY:
            return value in EMPTY and now in EMPTY
        return bool(field.prepare_value(value) == field.prepare_value(now))

    def _take_up(self, entry: catalogue.Field, value: Any) -> None:
        if isinstance(value, str) and value and (reason := self.rejection_reason(entry, value)):
            self.add_error(entry.path, reason)
            return
        if value in EMPTY and entry.required:
            self.add_error(entry.path, "is required: give another value.")
            return
        number = isinstance(value, float) and value.is_integer()
        self.changes[entry.path] = int(value) if number else None if value in (None, "", []) else value

    def after_conflict(self, content: dict[str, Any]) -> "ChangeForm":
        """The form over the data as somebody else left it, with what this person altered."""
        fresh = ChangeForm(content, see_personal=not self.hides)
        return ChangeForm(content, merged(fresh, self.data, self.changes), see_personal=not self.hides)

    def take(self, message: str, problems: list[Problem]) -> None:
        """Show what the service refused, beside the fields where it names them."""
        for problem in problems:
            self.add_error(problem.path if problem.path in self.fields else None, problem.reason)
        if not problems:
            self.add_error(None, message)


def _current(entry: catalogue.Field, content: dict[str, Any]) -> Any:
    """The value to show. People without an address cannot be entered, and are nobody to the steps."""
    value = get(content, entry.path, default=None)
    if entry.type is Type.PEOPLE and isinstance(value, list):
        return [person for person in value if person.get("email")]
    return value


def _is_needed(entry: catalogue.Field) -> bool:
    return entry.required or entry.path in ALSO_NEEDED
