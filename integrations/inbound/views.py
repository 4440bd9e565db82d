"""``POST /webhooks/{connection}/``: verify, store, answer. Nothing is processed while the sender waits."""

import logging
from collections.abc import Sequence
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from integrations import clock
from integrations.connections.services import keep_chosen_secret, record_unreadable
from integrations.connectors.registry import PROVIDERS, WEBHOOK_SECRET
from integrations.http.problem_details import problem
from integrations.http.strict_json import BadJson
from integrations.inbound.delivery import Delivery, Malformed, NotVerified, ReceivedEvent, Response, Webhook
from integrations.inbound.storing import store
from integrations.models import Connection, InboundEvent

UNREADABLE_RETRY_SECONDS = 300
"""A person must bring the key back, or enter the secret anew."""

log = logging.getLogger(__name__)


class Refused(Exception):
    """The request is answered with this status and reason."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


@csrf_exempt
def receive(request: HttpRequest, connection: str) -> HttpResponse:
    """Store the events of one verified delivery, then answer as its vendor expects; errors are problem+json.

    Unless the vendor wants an answer of its own it is 200 for a first and for a repeated delivery.
    """
    try:
        sender, webhook = _sender(request, connection)
        raw = _body(request)
        delivery = _verified(request, sender, webhook, raw)
    except Refused as refusal:
        return problem(refusal.status, refusal.detail, headers=refusal.headers)
    for name, value in delivery.chosen.items():
        keep_chosen_secret(sender, name, value)
    is_news = _store(sender, delivery.events)
    if delivery.response is None:
        return JsonResponse({"status": "accepted" if is_news else "duplicate"})
    return _answer(delivery.response)


def _answer(response: Response) -> HttpResponse:
    return HttpResponse(
        response.body, status=response.status, content_type=response.content_type, headers=dict(response.headers)
    )


def _sender(request: HttpRequest, slug: str) -> tuple[Connection, Webhook]:
    sender = Connection.objects.filter(slug=slug, enabled=True).first()
    info = PROVIDERS.get(sender.provider) if sender else None
    if sender is None or info is None or info.webhook is None:
        raise Refused(HTTPStatus.NOT_FOUND, "There is no such webhook connection.")
    webhook = info.webhook
    if request.method not in webhook.methods:
        allowed = ", ".join(webhook.methods)
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"This webhook takes {allowed}.", {"Allow": allowed})
    if request.method == "POST" and request.content_type not in webhook.content_types:
        types = " or ".join(webhook.content_types)
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"The body must be {types}.")
    return sender, webhook


def _body(request: HttpRequest) -> bytes:
    limit = settings.MAX_BODY_BYTES
    too_large = Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {limit} bytes.")
    length = request.META.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or int(length) > limit:
        raise too_large
    try:
        raw: bytes = request.read(limit + 1)
    except UnreadablePostError:
        raise Refused(HTTPStatus.BAD_REQUEST, "The body could not be read.") from None
    if len(raw) > limit:
        raise too_large
    return raw


def _verified(request: HttpRequest, sender: Connection, webhook: Webhook, raw: bytes) -> Delivery:
    secrets, some_are_unreadable = sender.readable_secrets(WEBHOOK_SECRET)
    if name := webhook.signed_with(request):
        chosen, one_is_unreadable = sender.readable_secrets(name)
        secrets, some_are_unreadable = [*secrets, *chosen], some_are_unreadable or one_is_unreadable
    try:
        return webhook.receive(request, raw, secrets, clock.now())
    except NotVerified as failure:
        if some_are_unreadable:  # it may be signed with that one: the sender is to deliver it again
            record_unreadable(sender)
            wait = {"Retry-After": str(UNREADABLE_RETRY_SECONDS)}
            detail = "The event cannot be verified now; deliver it again later."
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, detail, wait) from None
        log.warning("A webhook for %s was refused: %s", sender.slug, failure)
        raise Refused(HTTPStatus.BAD_REQUEST, str(failure)) from None
    except (BadJson, Malformed) as failure:
        raise Refused(HTTPStatus.BAD_REQUEST, str(failure)) from None


def _store(sender: Connection, events: Sequence[ReceivedEvent]) -> bool:
    """Store what is new, each event by itself: a delivery that ends half-way is completed by its repetition.

    Whether anything was new. Of two deliveries at once the unique constraint lets one through.
    """
    if not events:
        return False
    stored = InboundEvent.objects.filter(connection=sender, external_id__in=[event.id for event in events])
    known = set(stored.values_list("external_id", flat=True))
    return any([store(sender, event) for event in events if event.id not in known])  # noqa: C419  (all of them)
