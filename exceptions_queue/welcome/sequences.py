"""Welcome sequences: TOML files that say which mails follow the welcome, after how many business days, and for whom."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self

from django.conf import settings
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from integrations import config_files
from integrations.config_files import worded
from onboarding.playbooks import scopes
from onboarding.playbooks.scopes import Case

BUILT_IN = Path(__file__).resolve().parent / "sequences"
FOLDER = "welcome"
"""Of a company's own sequences, in ``CONFIG_DIR``."""
LONGEST = 260
"""Business days: about a year."""
MOST_MAILS = 30
Key = Annotated[
    str,
    worded(
        r"[a-z0-9][a-z0-9-]{0,63}",
        "1 to 64 lower-case letters, digits and hyphens, beginning with a letter or digit",
    ),
]


class SequenceError(config_files.FileInvalid):
    """WelcomeSequence files that cannot be used; each message names the file and what is wrong."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MailSpec(_Strict):
    """One mail. ``template``: the name of its texts (``texts``), its key where it has none of its own."""

    key: Key
    day: Annotated[int, Field(ge=1, le=LONGEST, strict=True)]
    """Business days after the welcome went out."""
    template: Key | None = None

    @property
    def text(self) -> str:
        return self.template or self.key


class WelcomeSequence(_Strict):
    """Chosen for a run as playbooks are (``scopes.best``)."""

    name: Key
    plans: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    priority: int = 0
    mails: Annotated[tuple[MailSpec, ...], Field(max_length=MOST_MAILS)]
    _is_built_in: bool = PrivateAttr(default=False)

    @property
    def is_built_in(self) -> bool:
        return self._is_built_in

    @property
    def amounts(self) -> Mapping[str, Mapping[str, Any]]:
        """Sequences are not chosen by amount."""
        return {}

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        keys: set[str] = set()
        last = 0
        for mail in self.mails:
            if mail.key in keys:
                raise ValueError(f"two mails are called {mail.key}")
            if mail.day < last:
                raise ValueError(f"mail {mail.key}: day {mail.day} comes after day {last}: put the mails in order")
            keys.add(mail.key)
            last = mail.day
        return self


def load(path: Path) -> WelcomeSequence:
    """Read and check one file. Raises ``SequenceError``."""
    try:
        given = config_files.read(path)
    except config_files.FileInvalid as error:
        raise SequenceError(error.each) from None
    try:
        return WelcomeSequence.model_validate(given)
    except ValidationError as error:
        raise SequenceError(
            config_files.listed(path.name, config_files.in_words(error, WelcomeSequence, given))
        ) from None


@cache
def sequences() -> dict[str, WelcomeSequence]:
    """All by name; a company's own (``CONFIG_DIR``) win over built-in ones of their name.

    Raises ``SequenceError``, also where it would depend on chance which of two serves a customer.
    """
    found: dict[str, WelcomeSequence] = {}
    files: dict[str, str] = {}
    wrong: list[str] = []
    for folder in [BUILT_IN, *([settings.CONFIG_DIR / FOLDER] if settings.CONFIG_DIR else [])]:
        names: dict[str, str] = {}
        for path in sorted(folder.glob("*.toml")):
            try:
                sequence = load(path)
            except SequenceError as error:
                wrong += error.each
                continue
            if sequence.name in names:
                wrong.append(f"{path.name}: name: {names[sequence.name]} is called {sequence.name} too")
            sequence._is_built_in = folder == BUILT_IN
            names[sequence.name] = path.name
            found[sequence.name] = sequence
            files[sequence.name] = f"{path.name} (built in)" if folder == BUILT_IN else path.name
    if wrong := wrong or scopes.problems(found.values(), files):
        raise SequenceError(wrong)
    return found


def choose(content: dict[str, Any]) -> WelcomeSequence | None:
    """The sequence that serves this payload: one that names more of plan and segment goes before one that names less."""
    return next(iter(scopes.best(sequences().values(), Case.of(content))), None)
