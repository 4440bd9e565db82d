"""The report of a workflow tool: a Standard Webhook that the flow sends when it has ended.

    {"type": "workflow.succeeded", "data": {"hand_over": "…", "execution": {"id": "…", "url": "https://…"},
     "objects": [{"kind": "workspace", "id": "…", "url": "https://…"}]}}
    {"type": "workflow.failed", "data": {"hand_over": "…", "message": "…"}}

``hand_over`` is what the message that handed it over called itself. A hand-over succeeds once and fails once, however often and
under whichever ``webhook-id`` that is sent: a flow may send a constant one. A report that is not as above is an event of its own,
so that the one that the corrected flow sends is none that is known.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from pydantic import Field, ValidationError

from integrations.connectors.answers import VendorAnswer
from integrations.http.strict_json import parse_object, without_nul
from integrations.inbound import standard_webhooks
from integrations.inbound.delivery import (
    MAX_ID,
    Delivery,
    Malformed,
    ReceivedEvent,
    UnexpectedShape,
    Webhook,
    problems_in,
)
from integrations.inbound.events import Event, HandOverReported, Ignored, MadeObject
from integrations.models import InboundEvent

SUCCEEDED, FAILED = "workflow.succeeded", "workflow.failed"
MOST_OBJECTS = 50
LONGEST_MESSAGE = 2000

Id = Annotated[str, Field(max_length=255)]
Url = Annotated[str, Field(max_length=500, pattern=r"^(https?://\S+)?$")]


class Execution(VendorAnswer):
    id: Id = ""
    url: Url = ""


class Made(VendorAnswer):
    kind: Annotated[str, Field(min_length=1, max_length=32)] = "object"
    id: Annotated[str, Field(min_length=1, max_length=255)]
    url: Url = ""


class Report(VendorAnswer):
    hand_over: Annotated[str, Field(min_length=1)]
    execution: Execution = Execution()
    objects: Annotated[list[Made], Field(max_length=MOST_OBJECTS)] = []
    message: str = ""


class Envelope(VendorAnswer):
    type: str
    data: Report


class ReportWebhook(Webhook):
    events = {SUCCEEDED: (HandOverReported,), FAILED: (HandOverReported,)}

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:
        message = standard_webhooks.verify(raw, request.headers, secrets, now)
        body = parse_object(raw)
        type_ = body.get("type", "")
        is_known = isinstance(type_, str) and type_ in self.events
        known = f"{_hand_over(body)}:{type_}" if is_known else message.id
        if is_known and not _is_as_documented(body):
            known += f":{hashlib.sha256(raw).hexdigest()[:16]}"
        return Delivery([ReceivedEvent(_bounded(known), type_, raw.decode(), message.sent_at)])

    def read(self, stored: InboundEvent) -> Event:
        if stored.type not in self.events:
            return Ignored(reason="This type of event does not say how a hand-over ended.")
        try:
            told = _report(parse_object(stored.raw.encode()))
        except ValidationError as error:
            raise UnexpectedShape(f"{stored.type} is not as documented ({problems_in(error)}).") from None
        return HandOverReported(
            hand_over=told.hand_over,
            succeeded=stored.type == SUCCEEDED,
            execution_id=told.execution.id,
            execution_url=told.execution.url,
            objects=tuple(MadeObject(each.kind, each.id, each.url) for each in told.objects),
            message=" ".join(told.message.split())[:LONGEST_MESSAGE],
        )


def _report(body: dict[str, Any]) -> Report:
    """Raises ``ValidationError``."""
    return Envelope.model_validate(without_nul(body)).data


def _is_as_documented(body: dict[str, Any]) -> bool:
    try:
        _report(body)
    except ValidationError:
        return False
    return True


def _hand_over(body: dict[str, Any]) -> str:
    data = body.get("data")
    named = data.get("hand_over") if isinstance(data, dict) else None
    if not isinstance(named, str) or not named.strip():
        raise Malformed("The report's “data.hand_over” is missing or malformed.")
    return named


def _bounded(known: str) -> str:
    return known if len(known) <= MAX_ID else f"sha256:{hashlib.sha256(known.encode()).hexdigest()}"
