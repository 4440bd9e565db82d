"""What an action asks for, declared once: the console's form and the API's body are both made from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from onboarding.queues import QUEUES
from onboarding.services.base import LONGEST_REASON

MAX_NOTE = 4000
MAX_ID = 255
LONGEST_SNOOZE = 24 * 60
"""Minutes."""


class Kind(Enum):
    TEXT = "text"
    LONG_TEXT = "long-text"
    FLAG = "flag"
    WHOLE = "whole"
    QUEUE = "queue"
    PERSON = "person"
    PAYLOAD = "payload"
    """Payload path: value."""
    PATHS = "paths"


@dataclass(frozen=True)
class Field:
    """One value. ``label`` is the console's, and may name ``{vendor}``; a field without one is asked for by the API alone,
    or by a
    template of its own.

    ``required``: by the API. ``required_of_people``: by the console too, where that differs.
    """

    name: str
    kind: Kind = Kind.TEXT
    label: str = ""
    required: bool = True
    required_of_people: bool | None = None
    max_length: int = MAX_ID
    minimum: int = 0
    maximum: int = 0
    presets: tuple[tuple[int, str], ...] = ()
    """What the console offers to choose from."""
    initial: Any = None
    help: str = ""
    """In the API's schema."""
    hint: str = ""
    """Beside the console's field."""
    missing: str = ""
    """What the console says where nothing was entered."""

    @property
    def is_typed(self) -> bool:
        """A person writes it, and would not like to write it again."""
        return bool(self.label) and self.kind in (Kind.TEXT, Kind.LONG_TEXT)

    @property
    def is_required_of_people(self) -> bool:
        return self.required if self.required_of_people is None else self.required_of_people


@dataclass(frozen=True)
class Form:
    """``name`` is that of the body in the API's schema, where ``description`` and ``rules`` (JSON Schema) stand too.

    ``wrong`` says what is wrong with the fields together, as the API answers it; empty where nothing is.
    """

    name: str
    fields: tuple[Field, ...] = ()
    description: str = ""
    rules: Mapping[str, Any] = field(default_factory=dict)
    wrong: Callable[[Mapping[str, Any]], str] = lambda _: ""

    @property
    def asks(self) -> bool:
        """Whether there is a field to show at the console."""
        return any(each.label for each in self.fields)


def _one_choice(data: Mapping[str, Any]) -> str:
    is_one = ("external_id" in data) != (data.get("create") is True)
    return "" if is_one else "Give either external_id or create: true."


def _something(data: Mapping[str, Any]) -> str:
    return "" if data else "Give a queue, an owner or both."


def reason(*, required: bool, of_people: bool = True, help: str = "") -> Field:  # noqa: A002
    return Field(
        "reason",
        Kind.LONG_TEXT,
        "Reason",
        required=required,
        required_of_people=of_people,
        max_length=LONGEST_REASON,
        help=help,
        hint="Shown to everybody who opens the run, and kept. No personal data, please.",
        missing="Say why, in a few words.",
    )


NOTHING = Form("Nothing", description="No body, or an empty object.")
FIX = Form(
    "Fix",
    (
        Field("fields", Kind.PAYLOAD, help="Payload path: value, such as customer.domain."),
        Field(
            "confirmed",
            Kind.PATHS,
            required=False,
            help="Paths among them whose value is right though it looks like a placeholder.",
        ),
    ),
)
CHOOSE_MATCH = Form(
    "ChooseMatch",
    (Field("external_id", required=False), Field("create", Kind.FLAG, required=False)),
    description="One of the candidates, or a new object.",
    rules={"oneOf": [{"required": ["external_id"]}, {"required": ["create"]}]},
    wrong=_one_choice,
)
LINK_OBJECT = Form(
    "LinkObject", (Field("external_id", label="Its id at {vendor}", help="The object's id at the vendor."),)
)
REPLAY = Form(
    "Replay",
    (
        Field(
            "from_step",
            required=False,
            max_length=64,
            help="A step's key; without it, the exception's own step.",
        ),
    ),
)
SKIP = Form(
    "Skip",
    (
        reason(required=True),
        Field(
            "with_dependents",
            Kind.FLAG,
            required=False,
            help="Skip the dependent steps, too.",
        ),
    ),
)
OPTIONAL_REASON = Form("OptionalReason", (reason(required=False),))
ASSIGN = Form(
    "Assign",
    (
        Field("queue", Kind.QUEUE, "Queue", required=False, required_of_people=True),
        Field(
            "owner",
            Kind.PERSON,
            "Owner",
            required=False,
            max_length=150,
            help="A username; null for nobody.",
        ),
    ),
    description="What is left out stays as it is.",
    rules={"minProperties": 1},
    wrong=_something,
)
SNOOZE = Form(
    "Snooze",
    (
        Field(
            "minutes",
            Kind.WHOLE,
            "For",
            maximum=LONGEST_SNOOZE,
            presets=((15, "15 minutes"), (60, "1 hour"), (240, "4 hours"), (1440, "1 day")),
            initial=60,
            help="0 ends the snooze.",
            hint="At the longest until its clock is due.",
        ),
        Field(
            "reason",
            Kind.LONG_TEXT,
            "Reason",
            required=False,
            required_of_people=True,
            max_length=LONGEST_REASON,
            help="Required unless minutes is 0.",
            missing="Say why, in a few words.",
        ),
    ),
    description="Snooze; at the longest until its clock is due.",
)
REASON = Form("Reason", (reason(required=True),))
DECISION = Form("Decision", (reason(required=True),))
JOIN = Form(
    "Join",
    (
        Field(
            "into",
            label="Id of the onboarding that goes on",
            help="The onboarding_transaction_id of the run that goes on.",
            missing="Say which onboarding goes on.",
        ),
        reason(required=False),
    ),
)
NOTE = Form("Note", (Field("text", Kind.LONG_TEXT, "Write a note", max_length=MAX_NOTE),))
DONE = Form("Note", (Field("text", Kind.LONG_TEXT, "What did you do?", max_length=MAX_NOTE),))
QUEUE_CHOICES = list(QUEUES.items())
