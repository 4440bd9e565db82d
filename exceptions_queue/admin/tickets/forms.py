"""The forms of a ticket: what an action declares, and just those fields of the data that are missing or wrong."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminEmailInputWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from exceptions_queue.admin.ui.confirmations import PREFIX, ConfirmingForm
from exceptions_queue.admin.ui.display_names import CRM_OWNER, IMPLEMENTER, Names
from exceptions_queue.models import Ticket
from exceptions_queue.tickets.forms import QUEUE_CHOICES, REASON, Field, Form, Kind
from onboarding.payload import catalogue
from onboarding.payload.catalogue import Type
from onboarding.payload.gate import Problem
from onboarding.payload.plausibility import implausible
from onboarding.payload.schema import get

DOMAIN, NO_DOMAIN, BILLING_EMAIL = "customer.domain", "customer.no_domain", "commercial.billing_email"
START_DATE, URGENCY = "kickoff.start_date", "kickoff.urgency"
PERSON = ("name", "email", "role")
OPTIONAL_HELP = {
    BILLING_EMAIL: "Needed only for a customer without a domain.",
    URGENCY: "Instead of a date.",
    START_DATE: "Or choose an urgency below.",
    NO_DOMAIN: "It is then matched by its legal name and billing email.",
}


class FixForm(ConfirmingForm):
    """One field for each problem. What is left empty or as it was is not sent."""

    def __init__(
        self, ticket: Ticket, data: Any = None, *, see_personal: bool, content: dict[str, Any] | None = None
    ) -> None:
        """``content``: what the person was shown, where that is not the run's data as it is now."""
        super().__init__(data, auto_id="fix-%s", label_suffix="")
        self.hides = not see_personal
        if content is None:
            content = ticket.transaction.payload if ticket.transaction else {}
        self.reasons: dict[str, str] = {}
        for problem in ticket.problems:
            path = problem.get("path", "")
            if path in catalogue.BY_PATH and catalogue.entry(path).type is not Type.STRUCTURE:
                self._add(catalogue.entry(path), content, problem["reason"], see_personal=see_personal)
                if problem.get("may_be_confirmed"):
                    self.offer_confirmation(catalogue.entry(path), get(content, path, default=None), must_confirm=True)
        if DOMAIN in self.fields:
            self.fields[NO_DOMAIN] = forms.BooleanField(
                label="This customer has no domain",
                required=False,
                help_text=OPTIONAL_HELP[NO_DOMAIN],
                widget=UnfoldBooleanWidget(),
            )
            self._add_beside(BILLING_EMAIL, content, see_personal=see_personal)
        if START_DATE in self.fields:
            self._add_beside(URGENCY, content, see_personal=see_personal)

    def _add_beside(self, path: str, content: Mapping[str, Any], *, see_personal: bool) -> None:
        if path not in self.fields:
            self._add(catalogue.entry(path), content, "", see_personal=see_personal)

    def _add(self, entry: catalogue.Field, content: Mapping[str, Any], reason: str, *, see_personal: bool) -> None:
        hidden = entry.personal and not see_personal
        self.reasons[entry.path] = "is missing or implausible" if reason and hidden else reason
        current = get(dict(content), entry.path, default=None)
        self.fields[entry.path] = payload_field(entry, None if hidden else current)
        self.offer_confirmation(entry, None if hidden else current)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The fields as the page shows them, each with the reason why it is asked for."""
        return [{"field": self[path], "reason": self.reasons.get(path, "")} for path in self.fields]

    def clean(self) -> dict[str, Any]:
        answers = {path: value for path, value in self.payload_values().items() if self._is_answer(path, value)}
        if answers.get(NO_DOMAIN):
            answers.pop(DOMAIN, None)
            if not answers.get(BILLING_EMAIL) and not self.fields[BILLING_EMAIL].initial:
                self.add_error(BILLING_EMAIL, "is needed for a customer without a domain")
        for path, value in answers.items():
            entry = catalogue.entry(path)
            # All at once, for the person's sake; the service checks again and decides.
            if isinstance(value, str) and (reason := self.rejection_reason(entry, value)):
                self.add_error(path, reason)
            elif value == self.fields[path].initial:
                self.confirmed |= {path}  # sent as it is only where its box is ticked
        if not answers and not self.errors:
            raise forms.ValidationError("Nothing was filled in or changed yet.")
        self.answers = answers
        return self.cleaned_data

    def _is_answer(self, path: str, value: Any) -> bool:
        is_confirmed = bool(self.cleaned_data.get(f"{PREFIX}{path}"))
        return value not in ("", None, False, []) and (is_confirmed or value != self.fields[path].initial)

    def after_conflict(self, ticket: Ticket) -> "FixForm":
        """The form over the data as somebody else left it, with what this person altered."""
        fresh = FixForm(ticket, see_personal=not self.hides)
        return FixForm(ticket, merged(fresh, self.data, self.answers), see_personal=not self.hides)

    def take(self, message: str, problems: list[Problem]) -> bool:
        """Show what the service refused, beside the fields where it names them."""
        for problem in problems:
            if problem.path in self.fields:
                self.add_error(problem.path, problem.reason)
            else:
                self.add_error(None, f"{catalogue.label(problem.path)}: {problem.reason}")
        if not problems:
            self.add_error(None, message)
        return True


def merged(fresh: forms.Form, sent: Mapping[str, Any], altered: Iterable[str]) -> dict[str, Any]:
    """What ``fresh`` shows, and in the ``altered`` fields what was sent: nothing that somebody else changed is put back."""
    shown = {name: field.prepare_value(field.initial) for name, field in fresh.fields.items() if field.initial}
    kept = {name: sent.get(name, "") for name in altered if name in fresh.fields}
    return {**shown, **kept}


def payload_field(entry: catalogue.Field, current: Any) -> forms.Field:
    common: dict[str, Any] = {
        "label": entry.label,
        "required": False,
        "help_text": OPTIONAL_HELP.get(entry.path) or entry.help,
        "initial": current,
    }
    if entry.choices:
        choices = [("", "—"), *((choice, choice.capitalize()) for choice in entry.choices)]
        return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget(), **common)
    match entry.type:
        case Type.FLAG:
            return forms.BooleanField(widget=UnfoldBooleanWidget(), **common)
        case Type.NUMBER:
            return forms.FloatField(widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}), **common)
        case Type.DATE:
            # The value stays text: an implausible date is shown again, and the service judges it.
            return forms.CharField(max_length=40, widget=PlainDate(attrs={"type": "date"}), **common)
        case Type.WHOLE:
            return forms.IntegerField(widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}), **common)
        case Type.LIST | Type.PEOPLE:
            return (PeopleField if entry.type is Type.PEOPLE else LinesField)(**common)
        case _ if entry.path in (CRM_OWNER, IMPLEMENTER):
            return forms.CharField(max_length=100, widget=KnownIds(entry.path), **common)
        case Type.EMAIL:
            return forms.CharField(max_length=254, widget=UnfoldAdminEmailInputWidget(), **common)
    return forms.CharField(max_length=2000, widget=UnfoldAdminTextInputWidget(), **common)


class LinesField(forms.CharField):
    """A list of texts, one a line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=20_000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}), **options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        return [line.strip() for line in super().clean(value).splitlines() if line.strip()] or None


class PeopleField(LinesField):
    """People, one a line: name, email and perhaps a role."""

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        parts = ([person.get(key, "") for key in PERSON] for person in value)
        return "\n".join(", ".join(filter(None, each)) for each in parts)

    def clean(self, value: Any) -> Any:
        return [self._person(line) for line in super().clean(value) or []] or None

    @staticmethod
    def _person(line: str) -> dict[str, str]:
        name, _, rest = (part.strip() for part in line.partition(","))
        email, _, role = (part.strip() for part in rest.partition(","))
        if reason := implausible(email, Type.EMAIL) if email else "the email is missing":
            raise forms.ValidationError(f"“{line}”: {reason}. Write name, email, role.")
        return {key: text for key, text in zip(PERSON, (name, email, role), strict=True) if text}


class KnownIds(UnfoldAdminTextInputWidget):
    """An id to type, with those that are known offered by their names."""

    def __init__(self, path: str) -> None:
        super().__init__(attrs={"autocomplete": "off"})
        self.path = path

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        listed = f"{(attrs or {}).get('id', name)}-known"
        known = Names().crm_owners if self.path == CRM_OWNER else Names().implementers
        options = format_html_join("", '<option value="{}">{}</option>', known.items())
        field = super().render(name, value, {**(attrs or {}), "list": listed}, renderer)
        return format_html('{}<datalist id="{}">{}</datalist>', field, listed, options)


class PlainDate(UnfoldAdminTextInputWidget):
    """The browser's own date field."""

    input_type = "date"


class DeclaredForm(forms.Form):
    """The form that an action declares, as far as the console asks for it."""

    def __init__(
        self,
        declared: Form,
        data: Any = None,
        *,
        name: str,
        initial: Mapping[str, Any] | None = None,
        values: Mapping[str, str] | None = None,
    ) -> None:
        """``name``: the fields' ids begin with it. ``values``: what labels may name."""
        super().__init__(data, auto_id=f"{name}-%s", label_suffix="", initial=dict(initial or {}))
        for field in declared.fields:
            if field.label:
                self.fields[field.name] = WIDGETS[field.kind](field, label=field.label.format(**(values or {})))

    def take(self, message: str, problems: list[Problem]) -> bool:
        """Show what the service refused beside its field; False where none of the problems is about a field of the form."""
        named = [problem.path for problem in problems if problem.path in self.fields]
        for path in named:
            self.add_error(path, message)
        return bool(named)


class ReasonForm(DeclaredForm):
    """Why something is done to a run or a step."""

    def __init__(self, data: Any = None) -> None:
        super().__init__(REASON, data, name="reason")


def _common(field: Field, label: str) -> dict[str, Any]:
    return {
        "label": label,
        "required": field.is_required_of_people,
        "initial": field.initial,
        "help_text": field.hint,
        "error_messages": {"required": field.missing} if field.missing else None,
    }


def _text(field: Field, label: str) -> forms.Field:
    return forms.CharField(max_length=field.max_length, widget=UnfoldAdminTextInputWidget(), **_common(field, label))


def _long_text(field: Field, label: str) -> forms.Field:
    widget = UnfoldAdminTextareaWidget(attrs={"rows": 2})
    return forms.CharField(max_length=field.max_length, widget=widget, **_common(field, label))


def _flag(field: Field, label: str) -> forms.Field:
    return forms.BooleanField(widget=UnfoldBooleanWidget(), **_common(field, label))


def _whole(field: Field, label: str) -> forms.Field:
    if field.presets:
        widget = UnfoldAdminSelectWidget()
        return forms.TypedChoiceField(coerce=int, choices=field.presets, widget=widget, **_common(field, label))
    number = UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"})
    return forms.IntegerField(min_value=field.minimum, max_value=field.maximum, widget=number, **_common(field, label))


def _queue(field: Field, label: str) -> forms.Field:
    return forms.ChoiceField(choices=QUEUE_CHOICES, widget=UnfoldAdminSelectWidget(), **_common(field, label))


def _person(field: Field, label: str) -> forms.Field:
    people = User.objects.filter(is_active=True, is_staff=True).order_by("username")[:500]
    names = [(person.username, person.get_full_name() or person.username) for person in people]
    choices = [("", "Nobody in particular"), *names]
    return forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget(), **_common(field, label))


WIDGETS: dict[Kind, Callable[..., forms.Field]] = {
    Kind.TEXT: _text,
    Kind.LONG_TEXT: _long_text,
    Kind.FLAG: _flag,
    Kind.WHOLE: _whole,
    Kind.QUEUE: _queue,
    Kind.PERSON: _person,
}
