"""Is due work being taken? A worker may be alive and take nothing (celery#8030, kombu#2492), and a scheduler may be gone."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Max, Min, Q, QuerySet

from integrations import clock
from integrations.enums import Breaker
from integrations.models import InboundEvent
from onboarding.engine.connection_queue import on_hold
from onboarding.enums import LEASED
from onboarding.models import Attempt, Step


def stall_reason() -> str:
    """Why due work lies there, in a sentence; empty while it is being taken, or nothing is due.

    Work counts as lying there once it has been due for ``READY_LAG_SECONDS`` and nothing at all was begun for as long.
    What is on hold, or parked behind a connection's breaker, is not due.
    """
    now = clock.now()
    late = now - timedelta(seconds=settings.READY_LAG_SECONDS)
    free = Step.objects.exclude(connection__breaker=Breaker.OPEN).exclude(on_hold())
    steps = free.filter(Q(due_at__lt=late) | Q(lease_until__lt=late, state__in=LEASED))
    events = InboundEvent.objects.filter(due_at__lt=late)
    since = min(filter(None, (_oldest(steps), _oldest(events))), default=None)
    if since is None or _last_begun() > late:
        return ""
    enqueued = steps.filter(enqueued_until__gt=now).exists() or events.filter(enqueued_until__gt=now).exists()
    cause = "the scheduler enqueues it and no worker takes it" if enqueued else "no scheduler sweeps, or it cannot"
    count = steps.count() + events.count()
    return f"{count} due since {since:%Y-%m-%d %H:%M:%S} UTC, and no work is being started: {cause}."


def _oldest(rows: QuerySet[Any]) -> datetime | None:
    """Of an abandoned step, which is due no more, the end of its lease counts."""
    found: datetime | None = rows.aggregate(first=Min("due_at"))["first"]
    if found is None and rows.model is Step:
        found = rows.aggregate(first=Min("lease_until"))["first"]
    return found


def _last_begun() -> datetime:
    """When a step was last claimed or an event last processed."""
    attempt = Attempt.objects.order_by("-pk").values_list("started_at", flat=True).first()
    processed = InboundEvent.objects.aggregate(last=Max("processed_at"))["last"]
    return max(filter(None, (attempt, processed)), default=datetime.min.replace(tzinfo=clock.now().tzinfo))
