"""What people and keys may do to webhook endpoints: make, change, pause, replay and remove one. Each is audited by who calls."""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction as db
from django.db.models import Q

from integrations import clock, crypto, signals
from integrations.http.hosts import checked_endpoint_url
from integrations.inbound.standard_webhooks import new_secret
from integrations.models import DeliveryState, WebhookDelivery, WebhookEndpoint
from integrations.outbound.events import EventType

FORMER_SECRET_LASTS = timedelta(days=1)
MOST_ENDPOINTS = 50


def make(url: str, types: Collection[str], *, description: str = "", actor: str) -> tuple[WebhookEndpoint, str]:
    """The endpoint, and its secret, which is never shown again. Raises ``ValueError`` in plain words."""
    address, listed = checked_endpoint_url(url.strip()), _checked_types(types)
    secret = new_secret()
    with db.atomic():
        if WebhookEndpoint.objects.filter(removed_at=None).count() >= MOST_ENDPOINTS:
            raise ValueError(f"there are {MOST_ENDPOINTS} endpoints already: remove one first")
        made = WebhookEndpoint.objects.create(
            url=address, types=listed, description=" ".join(description.split()), secret=crypto.encrypt(secret)
        )
        _tell(made, "made", actor)
    return made, secret


def change(
    pk: int,
    *,
    url: str | None = None,
    types: Collection[str] | None = None,
    description: str | None = None,
    paused: bool | None = None,
    rotate_secret: bool = False,
    actor: str,
) -> tuple[WebhookEndpoint, str]:
    """The endpoint, and its new secret where that was asked for. None leaves a part as it is.

    The former secret signs beside the new one for a day. What was written while it was paused is sent once it is not. Raises
    ``ValueError``; ``WebhookEndpoint.DoesNotExist`` for one that is not there, or was removed.
    """
    secret = ""
    with db.atomic():
        endpoint = _locked(pk)
        if url is not None:
            endpoint.url = checked_endpoint_url(url.strip())
        if types is not None:
            endpoint.types = _checked_types(types)
        if description is not None:
            endpoint.description = " ".join(description.split())
        if paused is not None:
            endpoint.paused_at = (endpoint.paused_at or clock.now()) if paused else None
            endpoint.paused_by = actor[:150] if paused else ""
        if rotate_secret:
            secret = new_secret()
            endpoint.former_secret, endpoint.former_until = endpoint.secret, clock.now() + FORMER_SECRET_LASTS
            endpoint.secret = crypto.encrypt(secret)
        endpoint.save()
        _tell(endpoint, "changed", actor)
    return endpoint, secret


def remove(pk: int, *, actor: str) -> None:
    """Nothing more is sent to it. Raises ``WebhookEndpoint.DoesNotExist``."""
    with db.atomic():
        endpoint = _locked(pk)
        endpoint.removed_at = clock.now()
        endpoint.save()
        endpoint.deliveries.exclude(due_at=None).update(state=DeliveryState.FAILED, due_at=None)
        _tell(endpoint, "removed", actor)


def replay(pk: int, *, since: datetime | None = None, delivery: int | None = None, actor: str) -> int:
    """Send again what failed; with ``since`` all that was written from then on, with ``delivery`` that one. Returns how many.

    Each under the id that it had: a receiver that has it knows it. Raises ``WebhookEndpoint.DoesNotExist``.
    """
    with db.atomic():
        endpoint = _locked(pk)
        wanted = Q(state=DeliveryState.FAILED)
        if since is not None:
            wanted = Q(created_at__gte=since)
        if delivery is not None:
            wanted = Q(pk=delivery)
        again = WebhookDelivery.objects.filter(wanted, endpoint=endpoint).exclude(state=DeliveryState.SENDING)
        count = again.update(state=DeliveryState.PENDING, attempts=0, due_at=clock.now(), delivered_at=None)
        _tell(endpoint, "replayed", actor, count=count)
    return count


def _locked(pk: int) -> WebhookEndpoint:
    return WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=pk, removed_at=None)


def _checked_types(types: Collection[str]) -> list[str]:
    known = [str(each) for each in EventType]
    if unknown := sorted(set(types) - set(known)):
        raise ValueError(f"{unknown[0]} is no type of event (known: {', '.join(known)})")
    if not types:
        raise ValueError("name at least one type of event")
    return [each for each in known if each in types]


def _tell(endpoint: WebhookEndpoint, what: str, actor: str, **more: int) -> None:
    signals.endpoint_changed.send(WebhookEndpoint, endpoint=endpoint, what=what, actor=actor, facts=more)
