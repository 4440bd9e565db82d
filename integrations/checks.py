"""Start-up checks of this app: what is wrong here would only show once a secret is read."""

from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core import checks


@checks.register(checks.Tags.security)
def field_encryption_keys(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:  # noqa: ARG001
    hint = "Make one with: python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
    if not settings.FIELD_ENCRYPTION_KEYS:
        return [checks.Error("FIELD_ENCRYPTION_KEYS is empty.", hint=hint, id="integrations.E001")]
    return [
        # The key itself is never shown.
        checks.Error(f"FIELD_ENCRYPTION_KEYS: number {number} is not a Fernet key.", hint=hint, id="integrations.E001")
        for number, key in enumerate(settings.FIELD_ENCRYPTION_KEYS, start=1)
        if not _is_key(key)
    ]


def _is_key(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True
