"""The forms of a connection. Secrets go in and are never shown again."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from integrations.connectors.registry import PROVIDERS, WEBHOOK_SECRET, ProviderInfo
from integrations.enums import Environment, System
from integrations.models import Connection

SECRET_LABELS = {
    "token": "Token",
    WEBHOOK_SECRET: "Webhook signing secret",
    "client_id": "Client id",
    "client_secret": "Client secret",
    "refresh_token": "Refresh token",
}


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
        self.option_names = info(connection).option_names
        for name in self.option_names:
            self.fields[f"option-{name}"] = forms.CharField(
                label=name.replace("_", " ").capitalize(),
                required=False,
                max_length=500,
                initial=connection.options.get(name, ""),
                help_text=info(connection).option_help.get(
                    name, "Needed." if name in info(connection).required_options else ""
                ),
                widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
            )

    @property
    def options(self) -> dict[str, str]:
        """The options that were changed."""
        changed = {
            name: self.cleaned_data[f"option-{name}"]
            for name in self.option_names
            if f"option-{name}" in self.changed_data
        }
        return {name: value.strip() for name, value in changed.items()}


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
        for name in info(connection).secret_names:
            self.fields[name] = forms.CharField(
                label=SECRET_LABELS.get(name, name),
                required=False,
                max_length=4000,
                help_text=_secret_help(name, stored=name in stored),
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


def _secret_help(name: str, *, stored: bool) -> str:
    if not stored:
        return "None is stored yet."
    if name == WEBHOOK_SECRET:
        return "One is stored. A new one is accepted beside it, so that the sender can change over."
    return "One is stored. A new one replaces it once it has passed the test."


def info(connection: Connection) -> ProviderInfo:
    """What the provider needs; nothing for one that this installation does not know any more."""
    known = PROVIDERS.get(connection.provider)
    return known or ProviderInfo(connection.provider, frozenset(), (), "", ())
