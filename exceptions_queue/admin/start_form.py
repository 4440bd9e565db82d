"""The form behind "Start a run": the canonical payload's fields as people know them."""

import secrets
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from exceptions_queue.admin.ticket_forms import BILLING_EMAIL, NO_DOMAIN, START_DATE, URGENCY, payload_field
from integrations import clock
from onboarding.payload import catalogue
from onboarding.payload.catalogue import Type
from onboarding.payload.plausibility import implausible
from onboarding.payload.reading import Event, Unreadable, read
from onboarding.payload.schema import with_value

ID, SOURCE, PAID_AT, USERS = "onboarding_transaction_id", "event_source", "occurred_at", "users"
PAYMENT = (ID, SOURCE, PAID_AT)
ALSO_NEEDED = (NO_DOMAIN, START_DATE, URGENCY)
"""Not required by themselves, but the gate asks for one of them or gives way to one."""
HELP = {
    NO_DOMAIN: "It is then recognised by its legal name and its billing email, which stands under More.",
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
OWNER = "ownership.crm_owner_id"
LABELS = {NO_DOMAIN: "This customer has no domain"}
TERMS, DAYS, REVIEW = "commercial.nonstandard_terms", "first_value_target.target_days", "security.review_required"
CRITERIA = "handover.success_criteria"
LISTS = {
    "handover.why_they_bought": "Why they bought",
    "handover.constraints": "Constraints",
    "handover.risks": "Risks",
}
ID_RULE = r"^[A-Za-z0-9][A-Za-z0-9._:@~+-]*\Z"
ID_HELP = "Letters, digits and . _ : @ ~ + - only, without blanks; it begins with a letter or a digit."


def new_id() -> str:
    """Such as ``manual_2026-11-22_9f3c1a2b``."""
    return f"manual_{clock.now():%Y-%m-%d}_{secrets.token_hex(4)}"


class LocalTime(UnfoldAdminTextInputWidget):
    """The browser's own field for a date and a time."""

    input_type = "datetime-local"


class StartForm(forms.Form):
    """Nothing of the payload is required: what is missing becomes a ticket. ``event`` is what to give to the intake."""

    event: Event

    def __init__(self, data: Any = None) -> None:
        initial = {ID: new_id(), SOURCE: "manual"}
        super().__init__(data, initial=initial, auto_id="start-%s", label_suffix="")
        self._add_payment()
        for entry in catalogue.FIELDS:
            self.fields[entry.path] = field = payload_field(entry, None)
            field.help_text = HELP.get(entry.path) or entry.help
            field.label = LABELS.get(entry.path) or entry.label
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
        self.fields[DAYS] = forms.IntegerField(
            label="Days to first value",
            required=False,
            min_value=0,
            max_value=3650,
            widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
        )
        self.fields[USERS] = self._lines("Users", "One a line: name, email, role. The role may be left out.")
        self.fields[CRITERIA] = self._lines("Success criteria", "")
        for path, label in LISTS.items():
            self.fields[path] = self._lines(label, "One a line.")

    def _lines(self, label: str, help_text: str) -> forms.CharField:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 2})
        return forms.CharField(label=label, required=False, max_length=50_000, help_text=help_text, widget=widget)

    # --- As the page shows it

    @property
    def payment(self) -> list[forms.BoundField]:
        return [self[name] for name in PAYMENT]

    @property
    def needed(self) -> list[forms.BoundField]:
        paths = [entry.path for entry in catalogue.FIELDS if entry.required or entry.path in ALSO_NEEDED]
        return [self[path] for path in sorted(paths, key=lambda path: path == OWNER)]  # the kickoff's two side by side

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

    def clean_users(self) -> list[dict[str, str]]:
        people = []
        for line in self._lines_of(USERS):
            name, _, rest = (part.strip() for part in line.partition(","))
            email, _, role = (part.strip() for part in rest.partition(","))
            if reason := implausible(email, Type.EMAIL) if email else "the email is missing":
                raise forms.ValidationError(f"“{line}”: {reason}. Write name, email, role.")
            people.append({"name": name, "email": email, "role": role})
        return people

    def clean(self) -> dict[str, Any]:
        for path in catalogue.BY_PATH:
            self._check(path)
        if not self.errors:
            self._read()
        return self.cleaned_data

    def _check(self, path: str) -> None:
        """What the gate would count as missing is told now: whoever entered it can mend it best."""
        entry, value = catalogue.entry(path), self.cleaned_data.get(path)
        if not isinstance(value, str) or not value or not (entry.required or entry.type is not Type.TEXT):
            return
        if reason := implausible(value, entry.type):
            self.add_error(path, f"{reason}. Leave the field empty if you do not know.")

    def _read(self) -> None:
        content: dict[str, Any] = {}
        for path in self.fields:
            content = with_value(content, path, self._value(path))
        try:
            self.event = read(content)
        except Unreadable as error:
            for problem in error.problems:
                shown = next((path for path in self.fields if f"{problem.path}.".startswith(f"{path}.")), None)
                self.add_error(shown, problem.reason if shown else f"{problem.path}: {problem.reason}")

    def _value(self, path: str) -> Any:
        """None for what was left empty: it is absent then."""
        value = self.cleaned_data.get(path)
        if path == PAID_AT:
            return value.isoformat() if value else None
        if path in LISTS:
            return self._lines_of(path) or None
        return None if value is False or value in ("", []) else value

    def _lines_of(self, path: str) -> list[str]:
        return [line.strip() for line in self.cleaned_data.get(path, "").splitlines() if line.strip()]
