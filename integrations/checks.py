"""Start-up checks of this app: what is wrong here would only show once a secret is read, or a vendor is asked."""

from collections.abc import Sequence
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core import checks
from django.db import connection

from integrations.connectors import registry


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


@checks.register
def mappings_are_sound(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:  # noqa: ARG001
    """Reads the files again: what was wrong when the app was made ready must be said, once, and in words."""
    try:
        registry.load_mappings()
    except registry.MappingError as error:
        return [checks.Error(message, id="integrations.E002") for message in error.each]
    return []


@checks.register(checks.Tags.database)
def locks_are_not_waited_for_without_end(
    app_configs: Any,  # noqa: ARG001
    databases: Sequence[str] | None = None,
    **kwargs: Any,  # noqa: ARG001
) -> list[checks.CheckMessage]:
    """With ``migrate``. A lease allows for ``DB_BUSY_SECONDS`` of waiting; behind a pooler a session cannot ask for that itself."""
    if not databases or connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT setting::bigint FROM pg_settings WHERE name = 'lock_timeout'")
        limited = cursor.fetchone()[0] > 0
    hint = f"ALTER ROLE … SET lock_timeout = '{settings.DB_BUSY_SECONDS}s'"
    message = "The database's role waits for locks without end (lock_timeout is 0)."
    return [] if limited else [checks.Warning(message, hint=hint, id="integrations.W001")]


def _is_key(key: str) -> bool:
    try:
        Fernet(key)
    except ValueError:
        return False
    return True
