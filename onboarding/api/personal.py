"""Hiding personal data from keys that may not see it."""

from typing import Any

from rest_framework import serializers

from integrations.http.redaction import PERSONAL, redact, redact_text
from onboarding.payload.catalogue import BY_PATH, PERSONAL_PATHS

FREE = frozenset(path for path in BY_PATH if path.startswith("handover."))
"""What sales wrote down in its own words."""
ENVELOPE = frozenset({"onboarding_transaction_id", "event_source", "occurred_at"})


def masked(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A payload's content without what names a person.

    What the catalogue calls personal is hidden whole; what it does not list (unknown fields) and the handover's own words pass the
    redaction that logs do.
    """
    shown: dict[str, Any] = {}
    for key, value in content.items():
        path = f"{prefix}{key}"
        if path in PERSONAL_PATHS:
            shown[key] = _hidden(value)
        elif isinstance(value, dict) and any(known.startswith(f"{path}.") for known in BY_PATH):
            shown[key] = masked(value, f"{path}.")
        elif (path in BY_PATH and path not in FREE) or path in ENVELOPE:
            shown[key] = value
        else:
            shown |= redact({key: value})
    return shown


class MaskedText(serializers.CharField):
    """Text that a vendor or a person wrote: addresses and secrets in it are masked for keys that may not see them."""

    def to_representation(self, value: Any) -> str:
        text = str(value)
        return redact_text(text, 4000) if self.context.get("masked", True) else text


class MaskedJson(serializers.JSONField):
    def to_representation(self, value: Any) -> Any:
        return redact(value) if self.context.get("masked", True) else value


def _hidden(value: Any) -> Any:
    """The shape stays, so that a reader sees what was given."""
    if isinstance(value, dict):
        return {key: _hidden(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hidden(item) for item in value]
    return value if value is None or isinstance(value, bool) else PERSONAL
