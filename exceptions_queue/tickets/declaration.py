"""What an action on a ticket is: one declaration, from which button, endpoint, bulk action and permissions follow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from exceptions_queue import roles
from exceptions_queue.models import Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import catalogue, forms
from exceptions_queue.tickets.forms import Form
from onboarding.services import Effect

Data = dict[str, Any]
Preview = Sequence[Effect]


class Place(Enum):
    """Where the console shows it on a ticket's page."""

    MAIN = "main"
    OTHER = "other"
    """Folded, below what is usually done."""
    SIDE = "side"


@dataclass(frozen=True)
class Permission:
    """``codename`` belongs to this app, unless another app's label stands before it: then that app grants it."""

    codename: str
    name: str = ""
    """As the console's group form calls it."""
    granted: frozenset[str] = frozenset()
    """The groups that have it."""

    @property
    def is_own(self) -> bool:
        return "." not in self.codename


@dataclass(frozen=True)
class Shown:
    """Something that the person was shown and that must still hold when they act; the form carries it as a hidden value."""

    name: str
    value: Callable[[Ticket, Preview], Any]
    """With what the action's preview said, where the page shows one."""
    absent: str | None = None
    """What counts where the form did not send it."""
    many: bool = False


@dataclass(frozen=True)
class Card:
    """How the console shows it on a ticket's page.

    ``title``, ``text`` and ``button`` may name ``{vendor}``, ``{customer}``, ``{object}``, ``{subject}`` and ``{message}``. A
    template ``actions/NAME.html`` replaces the plain card where the action needs another one.
    """

    title: str = ""
    text: str = ""
    button: str = ""
    is_primary: bool = False
    """What one usually does; the first such card on a page has the coloured button."""
    is_dangerous: bool = False
    is_last: bool = False
    """Below the other cards of its place."""
    shows_preview: bool = False


@dataclass(frozen=True)
class Bulk:
    """How the console tells of it when it is done to many: ``done`` as after "2 of 4 are", ``each`` of one ticket."""

    done: str = "done"
    each: str = "is done"
    note: str = ""
    left_out: str = "It makes no sense for them, they are another queue's, or are resolved."


@dataclass(frozen=True)
class DoneMessage:
    """What the console says after it was done. ``finished`` is False where something still keeps it from going on."""

    text: str
    finished: bool = True


Subjects = Callable[[Ticket, Data], Sequence[roles.Subject]]


@dataclass(frozen=True)
class Action:
    """What a person or a key may do to a ticket.

    ``service`` does it, and may raise ``Refused``. ``available`` says whether it makes sense for the ticket as it is now.
    ``subjects``: what it is done to, where that is not the ticket alone: who may do it is decided by all of them.
    """

    name: str
    label: str
    permission: Permission
    service: Callable[[Ticket, Actor, Data], None]
    available: Callable[[Ticket], bool] = lambda _: True
    form: Form = forms.NOTHING
    is_remedy: bool = False
    """Offered only for tickets whose catalogue entry names it."""
    summary: str = ""
    """In the API's schema."""
    example: Data = field(default_factory=dict)
    subjects: Subjects = lambda ticket, _data: [ticket]
    preview: Callable[[Ticket, Data], Preview] | None = None
    """What it would do, without doing it. Raises ``Refused``."""
    bulk: Bulk | None = None
    """Set where many tickets of the console's list may be chosen for it."""
    when_resolved: bool = False
    """It may be done to a ticket that is resolved already."""
    place: Place = Place.MAIN
    card: Card = field(default_factory=Card)
    shown: tuple[Shown, ...] = ()
    initial: Callable[[Ticket], Data] = lambda _: {}
    """What the console's form begins with."""
    asks: Callable[[Ticket], bool] = lambda _: True
    """Whether the console's form is needed for this ticket."""
    direct: Data = field(default_factory=dict)
    """What the console may send in place of the whole form."""
    done_message: Callable[[Ticket], DoneMessage] = lambda _: DoneMessage("It is done.")

    def is_offered(self, ticket: Ticket) -> bool:
        """It makes sense for the ticket as it is now; whether somebody may do it is another question."""
        if self.is_remedy and self.name not in catalogue.of(ticket).remedies:
            return False
        return self.available(ticket)

    def allows(self, actor: Actor, ticket: Ticket, data: Data | None = None) -> bool:
        if not actor.is_person:
            return actor.may(self.permission.codename, ticket)  # its grant decides, and lists must not ask for each row
        return actor.may(self.permission.codename, *self.subjects(ticket, data or {}))
