"""The forms of a connection. Secrets go in and are never shown again."""

from functools import partial
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from integrations.connectors.options import Option, OptionType, Secret, is_on
from integrations.connectors.registry import PROVIDERS, WEBHOOK_SECRET, ProviderInfo
from integrations.enums import Environment, System
from integrations.models import Connection

_NUMBERS = {OptionType.SECONDS: "any", OptionType.WHOLE: "1"}
"""Step of the number's input."""


class SettingsForm(forms.Form):
    """Address, environment and the provider's options."""

    base_url = forms.CharField(
        label="Base URL",
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "url", "autocomplete": "off"}),
        help_text="Empty: the provider's default address. Another address removes the stored credentials.",
    )
    environment = forms.ChoiceField(choices=Environment.choices, widget=UnfoldAdminSelectWidget())
    enabled = forms.BooleanField(
        label="Enabled",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="Off: no calls are made; runs that need it wait with a ticket.",
    )
    max_concurrency = forms.IntegerField(
        label="Concurrent calls",
        required=False,
        min_value=1,
        max_value=1000,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Empty: no limit.",
    )

    def __init__(self, connection: Connection, data: Any = None) -> None:
        initial = {
            "base_url": connection.base_url,
            "environment": connection.environment,
            "enabled": connection.enabled,
            "max_concurrency": connection.max_concurrency,
        }
        super().__init__(data, initial=initial, auto_id="settings-%s", label_suffix="")
        if not info(connection).hosts:
            del self.fields["base_url"]  # it goes where the installation says, and nowhere else
        self.option_names = [option.name for option in info(connection).options]
        for option in info(connection).options:
            self.fields[f"option-{option.name}"] = _option_field(option, connection.options.get(option.name))

    @property
    def options(self) -> dict[str, str]:
        """The options that were changed."""
        changed = {
            name: self.cleaned_data[f"option-{name}"]
            for name in self.option_names
            if f"option-{name}" in self.changed_data
        }
        return {
            name: value.strip() if isinstance(value, str) else "on" if value else "off"
            for name, value in changed.items()
        }


class AddForm(forms.Form):
    slug = forms.CharField(
        label="Name",
        max_length=63,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
        help_text="Lower-case letters, digits and hyphens, such as hubspot-emea. It cannot be changed later.",
    )
    system = forms.ChoiceField(choices=System.choices, widget=UnfoldAdminSelectWidget())
    provider = forms.ChoiceField(widget=UnfoldAdminSelectWidget())
    base_url = forms.CharField(
        label="Base URL",
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "url", "autocomplete": "off"}),
        help_text="Empty: the provider's default address.",
    )
    environment = forms.ChoiceField(
        choices=Environment.choices, initial=Environment.PRODUCTION, widget=UnfoldAdminSelectWidget()
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, auto_id="add-%s", label_suffix="")
        self.fields["provider"].choices = [(name, name) for name in sorted(PROVIDERS)]  # type: ignore[attr-defined]


class CredentialsForm(forms.Form):
    """Write-only: what is stored is never filled in, and an entered value is not shown again after an error."""

    def __init__(self, connection: Connection, data: Any = None) -> None:
        super().__init__(data, auto_id="secret-%s", label_suffix="")
        stored = set(connection.secret_rows.filter(active=True).values_list("name", flat=True))
        for secret in info(connection).secrets:
            self.fields[secret.name] = forms.CharField(
                label=secret.label,
                required=False,
                max_length=4000,
                help_text=_secret_help(secret, stored=secret.name in stored),
                widget=UnfoldAdminPasswordWidget(
                    attrs={"autocomplete": "new-password", "spellcheck": "false"}, render_value=False
                ),
            )

    def clean(self) -> dict[str, Any]:
        if not any(self.cleaned_data.values()):
            raise forms.ValidationError("Enter at least one value.")
        return self.cleaned_data

    @property
    def entered(self) -> dict[str, list[str]]:
        return {name: [value] for name, value in self.cleaned_data.items() if value}


def _option_field(option: Option, stored: Any) -> forms.Field:
    """The widget, help and check of its type. An empty required one is refused where it is stored: others can be saved first."""
    value = option.effective(stored)
    help_text = _option_help(option)
    if option.type is OptionType.FLAG:
        return forms.BooleanField(
            label=option.title,
            required=False,
            initial=is_on(value),
            help_text=help_text,
            widget=UnfoldBooleanSwitchWidget(),
        )
    if option.type is OptionType.CHOICE:
        default = f"Default ({option.default})" if option.default else "—"
        return forms.ChoiceField(
            label=option.title,
            required=False,
            initial=value,
            help_text=help_text,
            choices=[("", default), *((each, each) for each in option.choices)],
            widget=UnfoldAdminSelectWidget(),
        )
    attrs = {"autocomplete": "off"}
    if option.type in _NUMBERS:
        attrs |= {"type": "number", "min": "0", "step": _NUMBERS[option.type]}
    return forms.CharField(
        label=option.title,
        required=False,
        max_length=500,
        initial=value,
        help_text=help_text,
        validators=[partial(_check, option)],
        widget=UnfoldAdminTextInputWidget(attrs=attrs),
    )


def _check(option: Option, value: str) -> None:
    try:
        option.check(value)
    except ValueError as problem:
        raise forms.ValidationError(str(problem)) from None


def _option_help(option: Option) -> str:
    parts = ["Required." if option.required else "", option.help]
    if option.type is OptionType.SECONDS:
        parts.append("In seconds.")
    if option.type is OptionType.LIST:
        parts.append(f"{option.must_be[:1].upper()}{option.must_be[1:]}.")
    if option.empty and option.type is not OptionType.FLAG:
        parts.append(f"Empty: {option.empty}.")
    if option.default:
        parts.append(f"Default: {option.default}.")
    return " ".join(part for part in parts if part)


def _secret_help(secret: Secret, *, stored: bool) -> str:
    if not stored:
        known = "None is stored yet."
    elif secret.name == WEBHOOK_SECRET:
        known = "One is stored. A new one is accepted beside it, so that the sender can change over."
    else:
        known = "One is stored. A new one replaces it once it has passed the test."
    return f"{secret.help} {known}".strip()


def info(connection: Connection) -> ProviderInfo:
    """What the provider needs; nothing for one that this installation does not know any more."""
    known = PROVIDERS.get(connection.provider)
    return known or ProviderInfo(connection.provider, frozenset())
