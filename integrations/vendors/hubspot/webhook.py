"""HubSpot's webhooks: that a deal's stage was changed. What the deal is now, HubSpot is asked.

Sources: signature v3, developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation (HMAC
SHA-256 with the app's client secret over method, URI, body and timestamp, in base64; not older than 5 minutes; v1 and v2 have no
time in them, and are not taken); the events, .../docs/guides/crm/private-apps/webhooks (a list of up to 100; ``eventId`` is not
guaranteed to be unique); a deal's ``hs_is_closed_won``, which holds in every pipeline:
knowledge.hubspot.com/properties/hubspots-default-deal-properties.

HubSpot signs the address that it called: the one in ``PUBLIC_URL``, whatever a proxy makes of it on the way.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from integrations.http.strict_json import parse_list, parse_object
from integrations.inbound.delivery import Delivery, Malformed, NotVerified, ReceivedEvent, UnexpectedShape, Webhook
from integrations.inbound.events import DealWon, Event, Ignored
from integrations.models import InboundEvent
from integrations.vendors.hubspot.deals import HubSpotDeals, won_deal

TOLERANCE_SECONDS = 300
DEALS = "0-3"
"""The object type of deals, in events of any type of object."""
_STAGE = frozenset({"dealstage", "hs_is_closed_won", "hs_is_closed"})
_DECODED = {
    "%3A": ":", "%2F": "/", "%3F": "?", "%40": "@", "%21": "!", "%24": "$", "%27": "'", "%28": "(", "%29": ")", "%2A": "*",
    "%2C": ",", "%3B": ";",
}  # fmt: skip
"""The escapes that HubSpot decodes before it signs; all others stay."""
_ESCAPE = re.compile("|".join(_DECODED), re.IGNORECASE)
_IDENTITY = ("portalId", "subscriptionType", "objectId", "propertyName", "occurredAt", "propertyValue")
_LONGEST_ID = 200


class HubSpotWebhook(Webhook):
    deals = HubSpotDeals()
    events = {
        "deal.propertyChange": (DealWon,),
        "object.propertyChange": (DealWon,),
        "deal.creation": (DealWon,),
        "object.creation": (DealWon,),
    }

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:
        query = request.META.get("QUERY_STRING", "")
        address = f"{settings.PUBLIC_URL}{request.path}{f'?{query}' if query else ''}"
        verify(str(request.method), address, raw, request.headers, secrets, now)
        return Delivery([_received(item) for item in parse_list(raw)])

    def read(self, stored: InboundEvent) -> Event:
        event = parse_object(stored.raw.encode())
        if reason := _is_other(event, stored):
            return Ignored(reason=reason)
        deal_id = str(event.get("objectId") or "")
        if not deal_id.isdecimal():
            raise UnexpectedShape("The event names no deal (objectId).")
        return won_deal(stored, deal_id)


def verify(
    method: str, address: str, raw: bytes, headers: Mapping[str, str], secrets: list[str], now: datetime
) -> None:
    """Raises ``NotVerified``. A time in the future is refused as well as an old one, in which HubSpot's own helper differs."""
    signature, stamp = headers.get("X-HubSpot-Signature-v3", ""), headers.get("X-HubSpot-Request-Timestamp", "")
    if not signature or not (stamp.isascii() and stamp.isdecimal()):
        raise NotVerified("The X-HubSpot-Signature-v3 or X-HubSpot-Request-Timestamp header is missing or malformed.")
    called = _ESCAPE.sub(lambda found: _DECODED[found[0].upper()], address)
    signed = f"{method}{called}".encode() + raw + stamp.encode()
    wanted = [base64.b64encode(hmac.digest(secret.encode(), signed, "sha256")) for secret in secrets]
    given = signature.strip().encode("utf-8", "replace")
    # Every secret is tried, so that the time taken does not tell which one matched.
    if not any([hmac.compare_digest(each, given) for each in wanted]):  # noqa: C419
        raise NotVerified(
            "X-HubSpot-Signature-v3 does not match this request: HubSpot must call the address in PUBLIC_URL."
        )
    if abs(now.timestamp() - int(stamp) / 1000) > TOLERANCE_SECONDS:
        raise NotVerified(f"The request's time is more than {TOLERANCE_SECONDS} seconds away from now.")


def _received(item: Any) -> ReceivedEvent:
    if not isinstance(item, dict):
        raise Malformed("An event is not an object.")
    if any(item.get(name) in (None, "") for name in ("portalId", "subscriptionType", "objectId", "occurredAt")):
        raise Malformed("An event lacks its portalId, subscriptionType, objectId or occurredAt.")
    identity = ":".join(str(item.get(name, "")) for name in _IDENTITY)
    if len(identity) > _LONGEST_ID:
        identity = f"{item['portalId']}:{hashlib.sha256(identity.encode('utf-8', 'replace')).hexdigest()}"
    return ReceivedEvent(identity, item["subscriptionType"], json.dumps(item), occurred_at=_moment(item["occurredAt"]))


def _is_other(event: Mapping[str, Any], stored: InboundEvent) -> str:
    """Why it is none of ours; empty where it is."""
    portal = str(stored.connection.options.get("portal_id") or "")
    if portal and str(event.get("portalId")) != portal:
        return f"An event of the portal {event.get('portalId')}, which this connection does not take."
    kind = str(event.get("subscriptionType", ""))
    if kind not in HubSpotWebhook.events or (kind.startswith("object.") and event.get("objectTypeId") != DEALS):
        return "It says nothing of a deal's stage."
    if kind.endswith("propertyChange") and event.get("propertyName") not in _STAGE:
        return "It says nothing of a deal's stage."
    return ""


def _moment(milliseconds: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if type(milliseconds) is int else None
    except (OverflowError, OSError, ValueError):
        return None
