"""Webhooks: which requests are a vendor's, by provider. What an event means is decided after it is stored."""

from collections.abc import Callable
from datetime import datetime
from types import MappingProxyType
from typing import Any

from django.http import HttpRequest

SECRET = "webhook_secret"  # noqa: S105  (a name)


class NotVerified(Exception):
    """The request cannot be shown to come from the vendor; the text may be answered."""


Verifier = Callable[[HttpRequest, bytes, list[str], datetime], dict[str, Any]]
"""(request, raw body, active secrets, now) -> the event. Raises ``NotVerified`` or ``strict_json.BadJson``."""

_verifiers: dict[str, Verifier] = {}
VERIFIERS = MappingProxyType(_verifiers)


def register(provider: str, verifier: Verifier) -> None:
    """Raises ``ValueError`` for a name that is taken."""
    if provider in _verifiers:
        raise ValueError(f"a webhook verifier for {provider!r} is registered twice")
    _verifiers[provider] = verifier


from integrations.webhooks import stripe  # noqa: E402, F401  (registers itself: needs ``register``)
