"""What open pages ask for every few seconds: whether what they show has changed, and what a colleague did last."""

from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, Max
from django.http import JsonResponse
from django.utils.crypto import salted_hmac

from exceptions_queue.admin.runs import changes
from exceptions_queue.admin.tickets.filters import of_my_queues
from exceptions_queue.admin.ui import timeline
from exceptions_queue.models import SlaClock, Ticket, covering
from integrations import clock
from integrations.models import Connection
from onboarding.models import OnboardingTransaction

FIRST = 200
"""Rows of a list that are looked at, the most urgent ones."""
TICKET = ("pk", "status", "category", "queue", "owner", "snoozed_until", "message")
CONNECTION = (
    "pk",
    "breaker",
    "breaker_reason",
    "probe_at",
    "concurrency_limit",
    "enabled",
    "credentials_version",
    "updated_at",
)


def answer(**facts: Any) -> JsonResponse:
    response = JsonResponse(facts)
    response["Cache-Control"] = "no-store"
    return response


def version_of(*shown: Any) -> str:
    """Of what a page shows; another one each minute, because times are shown as "12 min left"."""
    minute = int(clock.now().timestamp() // 60)
    return salted_hmac("exceptions_queue.live", repr((*shown, minute)), algorithm="sha256").hexdigest()[:16]


def news(about: OnboardingTransaction | Ticket, reader: User) -> dict[str, str]:
    """What another person did to it last: the audit entry's id, and in words."""
    entry = timeline.latest_entry_by_others(about, reader)
    return {"id": str(entry.pk), "text": timeline.sentence(entry)} if entry else {"id": "", "text": ""}


def run_version(run: OnboardingTransaction) -> str:
    """Kickoff polls change nothing in it."""
    return version_of(
        (run.status, run.held_at, run.snapshot_version),
        list(run.steps.order_by("pk").values_list("pk", "state", "category", "waits_for", "message")),
        list(run.mappings.order_by("pk").values_list("pk", "external_id")),
        list(covering(run).order_by("pk").values_list(*TICKET)),
        list(run.change_requests.order_by("pk").values_list("pk", "status")),
        list(SlaClock.objects.filter(transaction=run).values_list("pk", "state", "due_at")),
        run.tickets.aggregate(Count("pk"), Max("resolved_at")),
    )


def home_version(user: User) -> str:
    """Of the home page and of the queue."""
    mine = of_my_queues(Ticket.objects.unresolved(), user)
    runs = OnboardingTransaction.objects
    sees_connections = user.has_perm("integrations.view_connection")
    return version_of(
        list(mine.order_by("sla_due", "pk").values_list(*TICKET)[:FIRST]),
        # What ends leaves those that are under way, and what begins is the newest: the history is not counted.
        list(runs.unfinished().order_by("status").values_list("status").annotate(Count("pk"))),
        runs.aggregate(Max("pk")),
        list(Connection.objects.order_by("pk").values_list(*CONNECTION)) if sees_connections else [],
        list(changes.waiting().values_list("pk", flat=True)[:FIRST]),
    )


def connection_version(connection: Connection) -> str:
    return version_of(
        [getattr(connection, name) for name in (*CONNECTION, "release_total", "runs_here")],
        list(Ticket.objects.filter(connection=connection).unresolved().values_list(*TICKET)),
    )
