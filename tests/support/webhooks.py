"""Deliveries through the front door, whichever vendor sends them."""

from collections.abc import Mapping

from django.http import HttpResponse
from django.test import Client

from integrations import clock
from integrations.models import InboundEvent
from onboarding.intake import events


def now() -> int:
    """Unix time by the tests' clock."""
    return int(clock.now().timestamp())


def post(slug: str, body: bytes, headers: Mapping[str, str]) -> HttpResponse:
    """``POST /webhooks/{slug}/``, and nothing is processed yet."""
    return Client().post(f"/webhooks/{slug}/", data=body, content_type="application/json", headers=dict(headers))


def settle() -> None:
    """Process what is due, as the sweep does."""
    for pk in (
        InboundEvent.objects.filter(due_at__lte=clock.now()).order_by("due_at", "pk").values_list("pk", flat=True)
    ):
        events.process_event(pk)


def latest() -> InboundEvent:
    return InboundEvent.objects.latest("pk")
