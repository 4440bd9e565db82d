"""What a company's own systems are told by webhook: ids and words, and where to read more; no personal data.

The rows are written in the transaction of what they tell of.
"""

from typing import Any

from django.conf import settings
from django.urls import reverse

from exceptions_queue.models import Ticket
from integrations.models import WebhookDelivery
from integrations.outbound.events import EventType, deliveries, insert_statement
from onboarding import working_set
from onboarding.models import ChangeRequest, OnboardingTransaction


def tell_of_run(run: OnboardingTransaction, type_: EventType) -> None:
    """Beside the run's own rows, however those are written."""
    data = {**_run(run), "status": str(run.status)}
    if rows := working_set.lean_of(run):
        rows.also(*insert_statement(type_, data, fenced=True))
    elif draft := working_set.draft_of(run):
        draft.also(*insert_statement(type_, data, fenced=False))
    elif found := deliveries(type_, data):
        working_set.of(run).insert(*found)


def tell_of_ticket(ticket: Ticket, type_: EventType) -> None:
    data: dict[str, Any] = {
        "exception": ticket.pk,
        "category": ticket.category,
        "topic": ticket.topic or None,
        "system": ticket.system,
        "failed_step": ticket.failed_step,
        "queue": ticket.queue,
        "status": str(ticket.status),
        "resolution": ticket.resolution,
        "url": ticket.url,
    }
    about = _run(ticket.transaction) if ticket.transaction else {"onboarding_transaction_id": None}
    WebhookDelivery.objects.bulk_create(deliveries(type_, {**data, **about, "url": ticket.url}))


def tell_of_change(request: ChangeRequest) -> None:
    data = {**_run(request.transaction), "change_request": request.pk, "paths": request.paths}
    WebhookDelivery.objects.bulk_create(deliveries(EventType.CHANGE_REQUESTED, data))


def _run(run: OnboardingTransaction) -> dict[str, Any]:
    url = reverse("admin:onboarding_onboardingtransaction_change", args=[run.pk])
    return {"onboarding_transaction_id": run.onboarding_transaction_id, "url": settings.PUBLIC_URL + url}
