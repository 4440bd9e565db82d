"""Salesforce's outbound messages, and calls of its flows: that an opportunity was changed. What it is now, Salesforce is asked.

Sources: developer.salesforce.com/docs/atlas.en-us.api.meta/api: sforce_api_om_outboundmessaging_notifications.htm (up to 100
notifications a message; a message may come twice, late and out of order) and sforce_api_om_outboundmessaging_wsdl.htm (SOAP
1.1; the answer is the acknowledgement, without which the whole message is sent again for 24 hours).

A message has no signature. It is taken with a token that stands in its endpoint's address and nowhere else, and is a hint alone:
its organization is compared with the connection's, and the opportunity is read at Salesforce and believed there.

A flow calls with JSON (HTTP Callout: help.salesforce.com, platform.flow_http_callout_configure). It can compute no signature: what
it can send is a custom header of its named credential (help.salesforce.com, nc_custom_headers_and_body). The same secret stands
there, and not in an address that is logged on the way. The body is ``{"id": "…", "organization": "…", "changed": "…"}``:
``changed`` (any text, such as the record's LastModifiedDate) tells one call from the next; without it each call counts anew.
"""

import hmac
import json
from datetime import datetime
from xml.etree import ElementTree as Xml

from django.http import HttpRequest

from integrations.http.strict_json import parse_object
from integrations.inbound.delivery import (
    Delivery,
    Malformed,
    NotVerified,
    ReceivedEvent,
    Response,
    UnexpectedShape,
    Webhook,
)
from integrations.inbound.events import DealWon, Event, Ignored
from integrations.models import InboundEvent
from integrations.vendors.salesforce.opportunities import SalesforceDeals, won_opportunity
from integrations.vendors.salesforce.schemas import is_id, same

ACKNOWLEDGED = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    '<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>'
    "</soapenv:Body></soapenv:Envelope>"
)
MOST_NOTIFICATIONS = 100
SECRET_HEADER = "X-Firstvalue-Secret"  # noqa: S105 (a name)
MOST_CHANGED = 100
_SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
_OUTBOUND = "{http://soap.sforce.com/2005/09/outbound}"
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"


class SalesforceWebhook(Webhook):
    content_types = ("text/xml", "application/json")
    events = {"Opportunity": (DealWon,)}
    deals = SalesforceDeals()

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:
        if request.content_type == "application/json":
            if not _is_secret(request.headers.get(SECRET_HEADER, ""), secrets):
                raise NotVerified(f"The header {SECRET_HEADER} is missing, or holds another secret.")
            return Delivery([_called(raw, now)])
        if not _is_secret(request.GET.get("token", ""), secrets):
            raise NotVerified("The endpoint's address has no token, or another one.")
        return Delivery(_received(raw), Response(ACKNOWLEDGED, content_type="text/xml; charset=utf-8"))

    def read(self, stored: InboundEvent) -> Event:
        told = parse_object(stored.raw.encode())
        own = str(stored.connection.options.get("organization_id") or "")
        if not own:
            raise UnexpectedShape(
                "The option organization_id is missing: enter it, then process the failed events again."
            )
        if not same(own, str(told["organization"])):
            return Ignored(reason=f"A message of the org {told['organization']}, which this connection does not take.")
        if stored.type != "Opportunity":
            return Ignored(reason="It is about no opportunity.")
        if not is_id(str(told["object"])):
            raise UnexpectedShape("The notification names no opportunity (sf:Id).")
        return won_opportunity(stored, str(told["object"]))


def _is_secret(given: str, secrets: list[str]) -> bool:
    """Every secret is tried, so that the time taken does not tell which one matched."""
    text = given.encode("utf-8", "replace")
    return any([hmac.compare_digest(text, secret.encode()) for secret in secrets])  # noqa: C419


def _called(raw: bytes, now: datetime) -> ReceivedEvent:
    """Raises ``Malformed``, ``strict_json.BadJson``."""
    told = parse_object(raw)
    opportunity, organization = (str(told.get(name) or "").strip() for name in ("id", "organization"))
    if not is_id(opportunity) or not is_id(organization):
        raise Malformed("The body names no opportunity (id), or not its organization.")
    changed = str(told.get("changed") or now.isoformat()).strip()[:MOST_CHANGED]
    body = {"organization": organization, "object": opportunity}
    return ReceivedEvent(f"flow:{opportunity}:{changed}", "Opportunity", json.dumps(body))


def _received(raw: bytes) -> list[ReceivedEvent]:
    message = _parsed(raw).find(f"{_SOAP}Body/{_OUTBOUND}notifications")
    organization = (message.findtext(f"{_OUTBOUND}OrganizationId") or "").strip() if message is not None else ""
    listed = message.findall(f"{_OUTBOUND}Notification") if message is not None else []
    if not organization or not 0 < len(listed) <= MOST_NOTIFICATIONS:
        raise Malformed("The body is no outbound message with its organization and 1 to 100 notifications.")
    return [_notification(each, organization) for each in listed]


def _notification(notification: Xml.Element, organization: str) -> ReceivedEvent:
    about = notification.find(f"{_OUTBOUND}sObject")
    if about is None:
        raise Malformed("A notification has no sObject.")
    # The object's own namespace differs between the enterprise and the partner edition.
    found = next((each.text for each in about if each.tag.rpartition("}")[2] == "Id"), "")
    body = {"organization": organization, "object": (found or "").strip()}
    kind = about.get(_TYPE, "").rpartition(":")[2]
    return ReceivedEvent((notification.findtext(f"{_OUTBOUND}Id") or "").strip(), kind, json.dumps(body))


def _parsed(raw: bytes) -> Xml.Element:
    """Without a DTD there are no entities, which are what makes XML dangerous; a text has one encoding, whatever it declares."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("The body is not UTF-8.") from None
    if "<!" in text:
        raise Malformed("The body has a document type declaration, a comment or a CDATA section.")
    try:
        return Xml.fromstring(text)  # noqa: S314  (no DTD, see above)
    except Xml.ParseError:
        raise Malformed("The body is not XML.") from None
