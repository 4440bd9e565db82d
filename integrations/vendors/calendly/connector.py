"""Calendly (scheduling): single-use links, which nobody can list, read or revoke.

Sources: https://developer.calendly.com/api-docs/calendly-api/scheduling-links/create-scheduling-link (the answer has the link and
no id), https://developer.calendly.com/api-docs/overview/rate-limits (``X-RateLimit-Reset`` in seconds, no ``Retry-After``),
https://developer.calendly.com/api-docs/calendly-api/webhooks/get-sample-webhook-data (``tracking``: the UTM parameters of the
link that was followed). A second link is only a second way to book: the kickoff's first booking counts.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from integrations.connectors.answers import VendorAnswer
from integrations.connectors.base import Capability, Created, CreateSafety, Found, HttpConnector, JobAccepted, MatchKey
from integrations.connectors.objects import SchedulingLink, VendorObject
from integrations.connectors.options import OPTIONAL_SIGNING_SECRET, TOKEN_SECRET, Option
from integrations.errors import FieldProblem, Kind, ProviderError
from integrations.vendors.calendly.webhook import SOURCE, CalendlyWebhook

TOO_MANY = 429
USUAL_WAIT = 60.0
"""Seconds: a limit is counted by the minute."""


class _Link(VendorAnswer):
    booking_url: str


class _OneLink(VendorAnswer):
    resource: _Link


class _User(VendorAnswer):
    name: str = ""
    email: str = ""


class _Me(VendorAnswer):
    resource: _User


class Calendly(HttpConnector):
    provider = "calendly"
    systems = frozenset({"scheduling"})
    hosts = ("api.calendly.com",)
    default_base_url = "https://api.calendly.com"
    secrets = (TOKEN_SECRET, OPTIONAL_SIGNING_SECRET)
    kinds = (
        Capability(
            kind=SchedulingLink.KIND,
            safety=CreateSafety.NEITHER,
            safety_depends="a second link does no harm",
            harmless=True,
            reversible=False,
            rollback="an unused link expires by itself, a booking is the customer's",
            updatable=False,
        ),
    )
    options = (
        Option(
            name="event_type",
            label="Event type",
            help="Of the kickoff: its URI, as the API lists it (https://api.calendly.com/event_types/…).",
            required=True,
        ),
    )
    webhook = CalendlyWebhook()
    probes = "the token, and whose it is"

    def find(self, kind: str, key: MatchKey) -> list[Found]:  # noqa: ARG002
        return []

    def get(self, kind: str, external_id: str) -> Found | None:  # noqa: ARG002
        """A link is known by its address alone, and stays what it was."""
        return Found(external_id, "single-use link") if external_id.startswith("https://") else None

    def create(self, wanted: VendorObject, reference: str) -> Created | JobAccepted:  # noqa: ARG002
        if not isinstance(wanted, SchedulingLink):
            raise TypeError(f"calendly has no {wanted.kind}")
        asked = {"max_event_count": 1, "owner": self.option("event_type"), "owner_type": "EventType"}
        made = self.http.request("POST", "/scheduling_links", json=asked, ok=(201,), expect=_OneLink).data.resource
        told = urlencode({"utm_source": SOURCE, "utm_content": wanted.transaction_id})
        return Created(made.booking_url, f"{made.booking_url}{'&' if '?' in made.booking_url else '?'}{told}")

    def probe(self) -> str:
        me = self.http.request("GET", "/users/me", expect=_Me).data.resource
        return f"Calendly user {me.name or me.email}"

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:
        if status == TOO_MANY:
            error = ProviderError(Kind.RATE_LIMIT, "Calendly has too many requests of ours", status)
            error.retry_after = _seconds(headers.get("X-RateLimit-Reset", ""))
            return error
        return _invalid(body, status) if status in (400, 422) and isinstance(body, dict) else None


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdecimal() else USUAL_WAIT


def _invalid(body: dict[str, Any], status: int) -> ProviderError:
    listed = body.get("details")
    details = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    fields = [FieldProblem(str(each.get("parameter", "")), str(each.get("message", ""))) for each in details]
    said = "; ".join(f"{each.name}: {each.reason}" for each in fields) or str(body.get("message", "no reason given"))
    return ProviderError(Kind.INVALID, f"Calendly did not accept this: {said}", status, fields=fields)
