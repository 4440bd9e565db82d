"""Keys of the embedded default: made once in DATA_DIR, read from there ever after.

Only used while no ``DATABASE_URL`` is configured; a deployment brings its own keys.
"""

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet


def read_or_make(path: Path, value: str) -> str:
    """The text of ``path``, after writing ``value`` to it if it did not exist (mode 0600).

    Several commands may start at once, so the first complete file wins: it is linked into place, never written in place.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        aside.touch(mode=0o600)
        aside.write_text(value)
        try:
            path.hardlink_to(aside)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return path.read_text().strip()


def secret_key(data_dir: Path) -> str:
    return read_or_make(data_dir / "keys" / "secret_key", secrets.token_urlsafe(64))


def field_encryption_keys(data_dir: Path) -> list[str]:
    return read_or_make(data_dir / "keys" / "field_keys", Fernet.generate_key().decode()).split(",")
