"""What may be entered for a connection: options, which anybody may see, and secrets. Each is declared once, with its help text."""

import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

ON = frozenset({"1", "true", "yes", "on"})
OFF = frozenset({"0", "false", "no", "off"})


def is_on(value: str) -> bool:
    """What a flag's stored value means; one that is neither on nor off, from before it was checked, is on."""
    return value.strip().lower() not in {"", *OFF}


class OptionType(Enum):
    """``value`` reads as in "must be …"."""

    TEXT = "text"
    SECONDS = "a number of seconds"
    WHOLE = "a whole number"
    FLAG = "on or off"
    CHOICE = "one of its choices"
    LIST = "a list, with commas between"


@dataclass(frozen=True, kw_only=True)
class Option:
    """Stored as text, under its name. An empty value stands for the default, unless ``empty`` says otherwise."""

    name: str
    label: str = ""
    """As in the form; empty: from the name."""
    help: str = ""
    """One or two sentences: what it is for, and where it is found at the vendor."""
    type: OptionType = OptionType.TEXT
    default: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()
    """Of a ``CHOICE``."""
    empty: str = ""
    """What an empty value means, in words, where that is not the default."""
    pattern: str = ""
    """A regular expression that the whole text, or each part of a list, must match; ``allowed`` says it in words."""
    allowed: str = ""

    @property
    def title(self) -> str:
        return self.label or self.name.replace("_", " ").capitalize()

    @property
    def must_be(self) -> str:
        """What is allowed, in words."""
        if self.type is OptionType.CHOICE:
            return " or ".join(self.choices)
        return self.allowed or self.type.value

    def check(self, value: Any) -> None:
        """Raises ``ValueError``, which names the option, the value and what is allowed."""
        text = str(value).strip()
        if not text:
            if self.required:
                raise ValueError(f"option {self.name} is required and cannot be empty")
        elif not self._is_allowed(text):
            raise ValueError(f"option {self.name}: {value!r} is not allowed: it must be {self.must_be}")

    def _is_allowed(self, text: str) -> bool:
        match self.type:
            case OptionType.SECONDS:
                return _is_duration(text)
            case OptionType.WHOLE:
                return text.isascii() and text.isdecimal()
            case OptionType.FLAG:
                return text.lower() in ON | OFF
            case OptionType.CHOICE:
                return text in self.choices
            case OptionType.LIST:
                return all(self._matches(part) for part in parts_of(text))
        return self._matches(text)

    def _matches(self, text: str) -> bool:
        return not self.pattern or re.fullmatch(self.pattern, text) is not None

    def effective(self, value: Any) -> str:
        """The stored value, or the default where there is none."""
        text = "" if value is None else str(value)
        return text if value is not None and (text.strip() or self.empty) else self.default


def parts_of(text: str) -> tuple[str, ...]:
    """The parts of a ``LIST``."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _is_duration(text: str) -> bool:
    try:
        seconds = float(text)
    except ValueError:
        return False
    return math.isfinite(seconds) and seconds >= 0


@dataclass(frozen=True, kw_only=True)
class Secret:
    """Encrypted where it is stored, and never shown again."""

    name: str
    label: str
    help: str = ""
    """Where it is found at the vendor."""
    required: bool = True
    """Whether the connection can do nothing without it."""
    pattern: str = ""
    """A regular expression that a value must match; ``allowed`` says it in words."""
    allowed: str = ""

    def check(self, value: str) -> None:
        """Raises ``ValueError``, which does not repeat the value."""
        if self.pattern and re.fullmatch(self.pattern, value) is None:
            raise ValueError(f"the secret {self.name!r} must be {self.allowed}")


TOKEN = "token"  # noqa: S105 (a name)
WEBHOOK_SECRET = "webhook_secret"  # noqa: S105 (a name)
TOKEN_SECRET = Secret(name=TOKEN, label="Token")
SIGNING_SECRET = Secret(name=WEBHOOK_SECRET, label="Webhook signing secret")
OPTIONAL_SIGNING_SECRET = Secret(
    name=WEBHOOK_SECRET,
    label="Webhook signing secret",
    help="Only where the vendor's events are taken.",
    required=False,
)
"""Of a vendor that declares events (``webhook``): none is offered where nobody would read it."""
