"""The form behind "Start a run": the canonical payload's fields as people know them."""

import secrets
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from exceptions_queue.admin.tickets.forms import BILLING_EMAIL, NO_DOMAIN, START_DATE, URGENCY, payload_field
from exceptions_queue.admin.ui.confirmations import ConfirmingForm
from integrations import clock
from onboarding.payload import catalogue
from onboarding.payload.catalogue import Type
from onboarding.payload.reading import Event, Unreadable, read
from onboarding.payload.schema import with_values

ID, SOURCE, PAID_AT = "onboarding_transaction_id", "event_source", "occurred_at"
PAYMENT = (ID, SOURCE, PAID_AT)
ALSO_NEEDED = (NO_DOMAIN, START_DATE, URGENCY)
"""Not required by themselves, but the gate asks for one of them or gives way to one."""
HELP = {
    NO_DOMAIN: "It is then matched by its legal name and its billing email, which stands under More.",
    BILLING_EMAIL: "Needed for a customer without a domain.",
    START_DATE: "Or choose an urgency.",
    URGENCY: "Instead of a date. With neither it counts as normal.",
    "commercial.amount": "A number without the currency, such as 12000.",
    "commercial.currency": "Such as EUR.",
    "commercial.order_id": "The order's id.",
    "commercial.deal_id": "The deal's id in the CRM.",
    "customer.country": "Such as DE.",
    "first_value_target.milestone": "What the customer should reach first, such as a first automated report.",
}
ENTERED = tuple(entry for entry in catalogue.FIELDS if entry.type is not Type.STRUCTURE)
"""A structure is for systems to send."""
OWNER = "ownership.crm_owner_id"
LABELS = {NO_DOMAIN: "This customer has no domain"}
TERMS, REVIEW = "commercial.nonstandard_terms", "security.review_required"
ID_RULE = r"^[A-Za-z0-9][A-Za-z0-9._:@~+-]*\Z"
ID_HELP = "Letters, digits and . _ : @ ~ + - only, without blanks; it begins with a letter or a digit."


def new_id() -> str:
    """Such as ``manual_2026-11-22_9f3c1a2b``."""
    return f"manual_{clock.now():%Y-%m-%d}_{secrets.token_hex(4)}"


class LocalTime(UnfoldAdminTextInputWidget):
    """The browser's own field for a date and a time."""

    input_type = "datetime-local"


class StartForm(ConfirmingForm):
    """Nothing of the payload is required: what is missing becomes a ticket. ``event`` is what to give to the intake."""

    event: Event

    def __init__(self, data: Any = None) -> None:
        initial = {ID: new_id(), SOURCE: "manual"}
        super().__init__(data, initial=initial, auto_id="start-%s", label_suffix="")
        self._add_payment()
        for entry in ENTERED:
            self.fields[entry.path] = field = payload_field(entry, None)
            field.help_text = HELP.get(entry.path) or entry.help
            field.label = LABELS.get(entry.path) or entry.label
            if _is_judged(entry):
                self.offer_confirmation(entry)
        self._add_uncatalogued()

    def _add_payment(self) -> None:
        self.fields[ID] = forms.RegexField(
            ID_RULE,
            label="Transaction id",
            max_length=255,
            strip=True,
            error_messages={"invalid": ID_HELP},
            help_text="The bank's reference, or keep this one. The same id twice is the same run, never a second one.",
            widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        )
        self.fields[SOURCE] = forms.CharField(
            label="Source",
            max_length=64,
            help_text="How we know of the payment, such as manual, bank-transfer or mail.",
            widget=UnfoldAdminTextInputWidget(),
        )
        self.fields[PAID_AT] = forms.DateTimeField(
            label="Paid at (UTC)",
            required=False,
            help_text=f"Empty: now, {clock.now():%H:%M} UTC. The 30 minutes to the finished set-up count from here.",
            widget=LocalTime(attrs={"step": "60"}),
        )

    def _add_uncatalogued(self) -> None:
        """What the payload knows besides, and the catalogue need not describe."""
        flags = {TERMS: "Non-standard terms", REVIEW: "A security review is required"}
        for path, label in flags.items():
            self.fields[path] = forms.BooleanField(label=label, required=False, widget=UnfoldBooleanWidget())

    # --- As the page shows it

    @property
    def payment(self) -> list[forms.BoundField]:
        return [self[name] for name in PAYMENT]

    @property
    def needed(self) -> list[forms.BoundField]:
        paths = [entry.path for entry in catalogue.FIELDS if entry.required or entry.path in ALSO_NEEDED]
        return self.with_boxes(sorted(paths, key=lambda path: path == OWNER))  # the kickoff's two side by side

    @property
    def more(self) -> list[forms.BoundField]:
        first = {field.name for field in (*self.payment, *self.needed)}
        return [self[name] for name in self.fields if name not in first]

    @property
    def more_is_open(self) -> bool:
        """Whether something under More was entered or is wrong: nobody should have to look for it."""
        return self.is_bound and any(field.errors or field.value() for field in self.more)

    # --- What was entered

    def clean_occurred_at(self) -> Any:
        at = self.cleaned_data[PAID_AT]
        if at and at > clock.now():
            raise forms.ValidationError(
                f"This lies in the future: it is {clock.now():%H:%M} UTC now. Enter the time in UTC, or leave it empty."
            )
        return at

    def clean(self) -> dict[str, Any]:
        for entry in ENTERED:
            self._check(entry)
        if not self.errors:
            self._read()
        return self.cleaned_data

    def _check(self, entry: catalogue.Field) -> None:
        """What the gate would count as missing is told now: whoever entered it can fix it best."""
        value = self.cleaned_data.get(entry.path)
        if not isinstance(value, str) or not value or not _is_judged(entry):
            return
        if reason := self.rejection_reason(entry, value):
            self.add_error(entry.path, f"{reason}. Leave the field empty if you do not know.")

    def _read(self) -> None:
        try:
            self.event = read(with_values({}, {path: self._value(path) for path in self.payload_values()}))
        except Unreadable as error:
            for problem in error.problems:
                shown = next((path for path in self.fields if f"{problem.path}.".startswith(f"{path}.")), None)
                self.add_error(shown, problem.reason if shown else f"{problem.path}: {problem.reason}")

    def _value(self, path: str) -> Any:
        """None for what was left empty: it is absent then."""
        value = self.cleaned_data.get(path)
        if path == PAID_AT:
            return value.isoformat() if value else None
        return None if value is False or value in ("", []) else value


def _is_judged(entry: catalogue.Field) -> bool:
    """What the gate looks at, and what has a form of its own."""
    return entry.required or entry.type is not Type.TEXT
