"""What people must decide: tickets, the SLA clocks of each run, and the alerts that were sent."""

from exceptions_queue.models.alerts import Alert, AlertChannel, AlertLevel, AlertState
from exceptions_queue.models.attempts import NO_TRY, tries, tries_counted
from exceptions_queue.models.clocks import ClockState, Milestone, SlaClock
from exceptions_queue.models.queries import (
    blocked_runs,
    covering,
    is_blocked,
    needs_no_action,
    open_tickets,
    steps_towards,
)
from exceptions_queue.models.teams import CrmOwner, Queue
from exceptions_queue.models.tickets import (
    HOLD_NOTHING_UP,
    PARTS,
    UNRESOLVED,
    Ticket,
    TicketNote,
    TicketQuerySet,
    TicketStatus,
    is_unresolved,
)

__all__ = [
    "HOLD_NOTHING_UP",
    "NO_TRY",
    "PARTS",
    "UNRESOLVED",
    "Alert",
    "AlertChannel",
    "AlertLevel",
    "AlertState",
    "ClockState",
    "CrmOwner",
    "Milestone",
    "Queue",
    "SlaClock",
    "Ticket",
    "TicketNote",
    "TicketQuerySet",
    "TicketStatus",
    "blocked_runs",
    "covering",
    "is_blocked",
    "is_unresolved",
    "needs_no_action",
    "open_tickets",
    "steps_towards",
    "tries",
    "tries_counted",
]
