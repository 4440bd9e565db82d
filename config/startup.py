"""Settings that cannot be used end start-up with one plain line in place of a traceback."""

import re
import sys

from django.core.exceptions import ImproperlyConfigured
from environs import EnvError

_EXPECTED = {
    "Not a valid integer.": "a whole number",
    "Not a valid number.": "a number",
    "Not a valid boolean.": "1 or 0",
    "Not a valid list.": "a list, separated by commas",
    "Not valid JSON.": "JSON",
    "Not a valid database URL.": "a database's address such as postgres://user:password@host:5432/name",
}
_NAMED = re.compile(r'Environment variable "(\w+)" invalid: (.+)', re.DOTALL)


def require_settings() -> None:
    """Read the settings. Exits with status 1, naming the variable and what was expected; values may be secret, so none is shown."""
    from django.conf import settings

    try:
        settings.INSTALLED_APPS  # noqa: B018  (read on first access)
    except (ImproperlyConfigured, EnvError) as error:
        sys.exit(f"Not started: {in_words(error)}")


def in_words(error: Exception) -> str:
    found = _NAMED.fullmatch(str(error))
    if not found:
        return str(error)
    name, said = found.groups()
    return f"{name} must be {_EXPECTED[said]}." if said in _EXPECTED else f"{name}: {said}"


def checked_scheme(name: str, url: str, schemes: tuple[str, ...]) -> str:
    """``url`` itself. Raises ``ImproperlyConfigured`` where it begins with none of the schemes: it would be met much later."""
    scheme, separator, _ = url.partition("://")
    if url and (not separator or scheme not in schemes):
        raise ImproperlyConfigured(f"{name} must begin with {' or '.join(f'{each}://' for each in schemes)}.")
    return url
