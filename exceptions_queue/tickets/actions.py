"""The one door for what people do to tickets: console and REST both come through ``perform``.

Each action checks the permission on the object, then calls down into onboarding or integrations, which lock, move and audit.
"""

from collections.abc import Sequence
from typing import Any

from exceptions_queue.models import Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets.approving import APPROVING
from exceptions_queue.tickets.declaration import Action
from exceptions_queue.tickets.handling import HANDLING
from exceptions_queue.tickets.resolving import RESOLVING
from onboarding.services import Effect, Refused

ACTIONS: dict[str, Action] = {}
"""By name, in the order in which they are offered."""


class NotAllowed(Exception):
    """The actor may not do this to this ticket."""


def register(action: Action) -> None:
    if action.name in ACTIONS:
        raise ValueError(f"There is an action {action.name} already.")
    ACTIONS[action.name] = action


for _declared in (*APPROVING, *RESOLVING, *HANDLING):
    register(_declared)


def perform(ticket_pk: int, name: str, actor: Actor, **data: Any) -> Ticket:
    """Do one action.

    Raises ``NotAllowed``, ``Refused`` (it makes no sense now, or the data is wrong) or ``Ticket.DoesNotExist``.
    """
    related = ("transaction", "step", "connection", "change_request", "owner")
    ticket = Ticket.objects.select_related(*related).get(pk=ticket_pk)
    action = ACTIONS[name]
    if not action.allows(actor, ticket, data):
        raise NotAllowed(f"{actor.name} may not {action.label.lower()} on this ticket.")
    if not ticket.is_open and not action.when_resolved:
        raise Refused("This ticket is resolved already.")
    if not action.is_offered(ticket):
        raise Refused(f"“{action.label}” is not possible for this ticket.")
    action.service(ticket, actor, data)
    return Ticket.objects.get(pk=ticket_pk)


def available(ticket: Ticket, actor: Actor) -> list[Action]:
    """What this actor may do to this ticket now, in the order of ``ACTIONS``."""
    if not ticket.is_open:
        return []
    return [action for action in ACTIONS.values() if action.is_offered(ticket) and action.allows(actor, ticket)]


def preview(ticket: Ticket, name: str, **data: Any) -> Sequence[Effect]:
    """What an action would do to the run's steps, without doing it. Raises ``Refused``."""
    if ticket.transaction_id is None:
        raise Refused("A connection's ticket has no steps.")
    look = ACTIONS[name].preview
    if look is None:
        raise Refused(f"“{ACTIONS[name].label}” has no preview.")
    return look(ticket, data)
