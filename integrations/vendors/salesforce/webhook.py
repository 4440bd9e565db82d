"""Salesforce's outbound messages: that an opportunity was changed. What it is now, Salesforce is asked.

Sources: developer.salesforce.com/docs/atlas.en-us.api.meta/api: sforce_api_om_outboundmessaging_notifications.htm (up to 100
notifications a message; a message may come twice, late and out of order) and sforce_api_om_outboundmessaging_wsdl.htm (SOAP
1.1; the answer is the acknowledgement, without which the whole message is sent again for 24 hours).

A message has no signature. It is taken with a token that stands in its endpoint's address and nowhere else, and is a hint alone:
its organization is compared with the connection's, and the opportunity is read at Salesforce and believed there.
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
from integrations.vendors.salesforce.opportunities import won_opportunity
from integrations.vendors.salesforce.schemas import is_id, same

ACKNOWLEDGED = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    '<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>'
    "</soapenv:Body></soapenv:Envelope>"
)
MOST_NOTIFICATIONS = 100
_SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
_OUTBOUND = "{http://soap.sforce.com/2005/09/outbound}"
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"


class SalesforceWebhook(Webhook):
    content_types = ("text/xml",)
    events = {"Opportunity": (DealWon,)}

    def receive(self, request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> Delivery:  # noqa: ARG002
        given = request.GET.get("token", "").encode("utf-8", "replace")
        # Every secret is tried, so that the time taken does not tell which one matched.
        if not any([hmac.compare_digest(given, secret.encode()) for secret in secrets]):  # noqa: C419
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
