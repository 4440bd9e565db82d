"""What became of a mail, as a vendor's webhook tells it: anymail verifies and reads it, and it becomes ``MailBounced``.

Bodies are stored first and read later, an event at a time, though anymail's views do both at once: their signal is not used.
Events
come in batches, twice and in any order (anymail.dev/en/stable/sending/tracking); each is stored once, by the vendor's id for
it, or by
its content where it has none.
"""

import hashlib
import hmac
import io
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from anymail.exceptions import AnymailError, AnymailWebhookValidationFailure
from anymail.utils import get_request_basic_auth
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest

from integrations.http.strict_json import BadJson, without_nul
from integrations.inbound.delivery import Delivery, Malformed, NotVerified, ReceivedEvent, UnexpectedShape, Webhook
from integrations.inbound.events import Event, Ignored, MailBounced, MailOutcome
from integrations.models import InboundEvent

TOLERANCE = timedelta(seconds=300)
_OUTCOMES = {
    "bounced": MailOutcome.BOUNCED,
    "rejected": MailOutcome.REJECTED,
    "failed": MailOutcome.REJECTED,
    "complained": MailOutcome.COMPLAINED,
    "unsubscribed": MailOutcome.UNSUBSCRIBED,
}
"""Anymail's normalized types."""


class TrackingWebhook(Webhook):
    """``view`` is anymail's view of the vendor's tracking events."""

    @abstractmethod
    def view(self, secrets: list[str]) -> Any:
        """Anymail's view, which verifies with any of these. Raises ``ValueError`` for a secret that is none of this vendor's."""

    @abstractmethod
    def parts(self, body: Any) -> Iterable[tuple[str, str, Any]]:
        """(the vendor's id, or an empty one; its type; the part of the body) of each event."""

    def tracked(self, part: Any) -> Any:
        """Anymail's event for a part that was stored."""
        return self.view([]).esp_to_anymail_event(part)

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:
        self.verify(request, raw, secrets, now)
        try:
            found = list(self.parts(json.loads(raw)))
        except UnicodeDecodeError:
            raise BadJson("The body is not UTF-8.") from None
        except (ValueError, RecursionError):
            raise BadJson("The body is not JSON.") from None
        except (AttributeError, KeyError, TypeError):
            raise Malformed("The body holds no event of this vendor.") from None
        return Delivery([_received(id_, type_, part) for id_, type_, part in found])

    def verify(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> None:  # noqa: ARG002
        """Raises ``NotVerified``."""
        again = repeated(request, raw)
        for secret in secrets:
            try:
                self.view([secret]).run_validators(again)
            except (AnymailWebhookValidationFailure, AnymailError, AttributeError, KeyError, TypeError, ValueError):
                continue  # also where the body has not the shape in which a signature stands
            return
        raise NotVerified("The event is not signed with a secret of this connection.")

    def read(self, stored: InboundEvent) -> Event:
        try:
            told = self.tracked(without_nul(json.loads(stored.raw)))
        except (AnymailError, AttributeError, KeyError, TypeError, ValueError, OverflowError) as problem:
            raise UnexpectedShape(f"The event lacks what its vendor documents ({type(problem).__name__}).") from None
        outcome = _OUTCOMES.get(told.event_type)
        if outcome is None:
            return Ignored(reason=f"Nothing follows from a mail that was {told.event_type}.")
        reference = told.metadata.get("reference", "") if isinstance(told.metadata, Mapping) else ""
        return MailBounced(
            outcome=outcome,
            message_id=str(told.message_id or ""),
            reference=reference if isinstance(reference, str) else "",
            reason=_reason(told),
        )


def repeated(request: HttpRequest, raw: bytes) -> HttpRequest:
    """The request with its body, which has been read already, to be read again."""
    environ = {**request.META, "wsgi.input": io.BytesIO(raw), "CONTENT_LENGTH": str(len(raw))}
    return WSGIRequest(environ)


def check_basic_auth(request: HttpRequest, secrets: list[str]) -> None:
    """``user:password`` of the address that the vendor was given (RFC 7617). Raises ``NotVerified``."""
    given = get_request_basic_auth(request) or ""
    if not any([hmac.compare_digest(given.encode(), secret.encode()) for secret in secrets]):  # noqa: C419  (all of them)
        raise NotVerified("The user name and password are not those of this connection.")


def check_time(seconds: str, now: datetime) -> None:
    """That a signature's Unix time is near. Raises ``NotVerified``."""
    try:
        signed = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        raise NotVerified("The signature's timestamp is missing or malformed.") from None
    if abs(now - signed) > TOLERANCE:
        raise NotVerified("The signature's timestamp is too far from now.")


def _received(id_: str, type_: str, part: Any) -> ReceivedEvent:
    body = json.dumps(part)
    known_by = id_ or hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()
    return ReceivedEvent(known_by, type_, body)


def _reason(told: Any) -> str:
    """What the other side said, without the address."""
    said = " ".join(str(told.mta_response or told.description or told.reject_reason or "").split())
    return said.replace(told.recipient, "the address") if told.recipient else said
