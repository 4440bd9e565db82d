"""Secrets at rest: Fernet with keys of their own (``FIELD_ENCRYPTION_KEYS``, first one encrypts, all decrypt)."""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

KEY_IS_MISSING = "FIELD_ENCRYPTION_KEYS does not hold the key it was stored with"


class SecretUnreadable(Exception):
    """None of the configured keys decrypts this secret."""


def encrypt(value: str) -> str:
    return _fernet().encrypt(value.encode()).decode()


def decrypt(ciphertext: str) -> str:
    try:
        return _fernet().decrypt(ciphertext.encode()).decode()
    except InvalidToken:
        raise SecretUnreadable(KEY_IS_MISSING) from None


def is_current(ciphertext: str) -> bool:
    """Whether the first key encrypted it."""
    try:
        Fernet(settings.FIELD_ENCRYPTION_KEYS[0]).decrypt(ciphertext.encode())
    except InvalidToken:
        return False
    return True


def reencrypt(ciphertext: str) -> str:
    """The same secret under the first key. Raises ``SecretUnreadable``."""
    return encrypt(decrypt(ciphertext))


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.FIELD_ENCRYPTION_KEYS])
