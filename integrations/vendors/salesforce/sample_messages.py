"""Salesforce's outbound messages as Salesforce sends them, and a flow's call: for tests and the demo.

From developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_om_outboundmessaging_notifications.htm; a flow's call
is what its HTTP Callout action is set up to send.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from html import escape

_numbers = itertools.count(1)


def notification_id() -> str:
    return f"04lQy{next(_numbers):010d}AAA"


def message(
    opportunities: Sequence[str], *, organization: str, ids: Sequence[str] = (), kind: str = "Opportunity"
) -> bytes:
    """One message with a notification for each opportunity; ``ids``: the notifications', where it is sent again."""
    listed = zip(ids or [notification_id() for _ in opportunities], opportunities, strict=True)
    notifications = "".join(
        f'<Notification><Id>{escape(own)}</Id><sObject xsi:type="sf:{kind}" '
        f'xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>{escape(each)}</sf:Id></sObject></Notification>'
        for own, each in listed
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        '<notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
        f'<OrganizationId>{organization}</OrganizationId><ActionId>04kQy0000000001AAA</ActionId><SessionId xsi:nil="true"/>'
        "<EnterpriseUrl>https://acme.my.salesforce.com/services/Soap/c/62.0/1</EnterpriseUrl>"
        "<PartnerUrl>https://acme.my.salesforce.com/services/Soap/u/62.0/1</PartnerUrl>"
        f"{notifications}</notifications></soapenv:Body></soapenv:Envelope>"
    ).encode()


def flow_call(opportunity: str, *, organization: str, changed: str = "2026-11-29T10:00:00.000+0000") -> bytes:
    """The body; the secret stands in a header of the named credential."""
    return json.dumps({"id": opportunity, "organization": organization, "changed": changed}).encode()
