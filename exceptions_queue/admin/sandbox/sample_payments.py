"""The sandbox page's "Let a customer pay": a payment as its billing system would tell of it, through our own front door."""

import random
import re
from collections.abc import Mapping
from typing import Any

import requests
from django import forms
from django.conf import settings
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from exceptions_queue.admin.sandbox.page import SandboxDown, asked
from exceptions_queue.models import CrmOwner
from integrations import clock, crypto
from integrations.connectors.registry import WEBHOOK_SECRET
from integrations.enums import Environment
from integrations.models import Connection
from integrations.sandbox.customers import Payer, SandboxObject, SandboxPayment
from integrations.sandbox.payers import PAYERS
from onboarding.models import OnboardingTransaction

CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 5.0
FIRST = (
    "Harbour",
    "Juniper",
    "Kestrel",
    "Larch",
    "Meridian",
    "Nimbus",
    "Osprey",
    "Pinewood",
    "Quartz",
    "Saffron",
    "Tundra",
)
SECOND = (
    "Analytics",
    "Bakeries",
    "Dental",
    "Freight",
    "Instruments",
    "Legal",
    "Optics",
    "Robotics",
    "Textiles",
    "Energy",
)
PEOPLE = (
    "Ada Berg",
    "Bo Lindqvist",
    "Carla Neri",
    "Dilan Aksoy",
    "Emil Novak",
    "Farah Haddad",
    "Gus Olsen",
    "Hana Mori",
)


class NotDelivered(Exception):
    """In plain words, for the page."""


class PayForm(forms.Form):
    """An unbound one proposes a customer who never paid before."""

    name = forms.CharField(label="Customer", max_length=100, widget=UnfoldAdminTextInputWidget())
    domain = forms.CharField(
        label="Domain",
        required=False,
        max_length=200,
        widget=UnfoldAdminTextInputWidget(attrs={"autocapitalize": "none"}),
        help_text="Empty: they pay from a Gmail address, and Sales operations is asked for the domain.",
    )
    contact = forms.CharField(
        label="Contact",
        required=False,
        max_length=100,
        widget=UnfoldAdminTextInputWidget(),
        help_text="“TBD” counts as missing.",
    )
    owner = forms.CharField(
        label="CRM owner id",
        required=False,
        max_length=50,
        widget=UnfoldAdminTextInputWidget(attrs={"autocapitalize": "none"}),
        help_text="Empty: the CRM is asked; if it does not know, Sales operations is.",
    )
    twice = forms.BooleanField(
        label="Deliver each event twice",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="As billing systems do now and then. It must still make one run.",
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, initial=None if data else sample(), auto_id="pay-%s", label_suffix="")


def sample() -> dict[str, str]:
    names = [f"{first} {second}" for first in FIRST for second in SECOND]
    known = set(OnboardingTransaction.objects.filter(customer_name__in=names).values_list("customer_name", flat=True))
    name = random.choice([each for each in names if each not in known] or names)  # noqa: S311 (sample data)
    owner = CrmOwner.objects.order_by("pk").values_list("crm_owner_id", flat=True).first()
    return {
        "name": name,
        "domain": f"{name.lower().replace(' ', '-')}.com",
        "contact": random.choice(PEOPLE),  # noqa: S311
        "owner": owner or "u_1",
    }


def paying_connection() -> Connection | None:
    """The enabled connection that takes test payments; the oldest of several."""
    found = Connection.objects.filter(provider__in=PAYERS, environment=Environment.SANDBOX, enabled=True)
    return found.order_by("pk").first()


def pay(given: dict[str, Any]) -> SandboxPayment:
    """Sends what a billing system tells of a payment, signed with the stored secret, to our own webhook address.

    Raises ``NotDelivered``.
    """
    connection = paying_connection()
    if connection is None:
        raise NotDelivered("No connection of the environment “sandbox” is there to take a payment.")
    try:
        secret = next(iter(connection.secrets(WEBHOOK_SECRET)), None)
    except crypto.SecretUnreadable as problem:
        raise NotDelivered(f"The secret of {connection} cannot be read: {problem}.") from None
    if secret is None:
        raise NotDelivered(f"The connection {connection} has no webhook signing secret yet.")
    payment = PAYERS[connection.provider](_payer(given), secret, int(clock.now().timestamp()))
    for each in payment.objects:
        _put_there(each)
    for body, headers in payment.deliveries * (2 if given.get("twice") else 1):
        _deliver(f"{settings.PUBLIC_URL}/webhooks/{connection.slug}/", body, headers)
    return payment


def _put_there(wanted: SandboxObject) -> None:
    try:
        asked(lambda sandbox: sandbox.seed(wanted.vendor, wanted.kind, [wanted.body]))
    except SandboxDown as problem:
        raise NotDelivered(str(problem)) from None


def _payer(given: dict[str, Any]) -> Payer:
    local = re.sub(r"[^a-z0-9]+", ".", given["contact"].lower()).strip(".") or "accounts"
    metadata = {"crm_owner_id": given["owner"], "domain": given["domain"], "contact_name": given["contact"]}
    return Payer(
        company=given["name"],
        contact=given["contact"],
        email=f"{local}@{given['domain'] or 'gmail.com'}",
        metadata={name: value for name, value in metadata.items() if value},
    )


def _deliver(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    with requests.Session() as session:
        session.trust_env = False  # our own address: no proxy gets between
        try:
            answer = session.post(
                url,
                data=body,
                headers={"Content-Type": "application/json", **headers},
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
            )
        except requests.RequestException as problem:
            raise NotDelivered(
                f"Our own webhook endpoint at {url} did not answer ({type(problem).__name__})."
            ) from None
    if answer.status_code != requests.codes.ok:
        raise NotDelivered(
            f"Our own webhook endpoint at {url} refused the payment: {answer.status_code}. {_reason(answer)}"
        )


def _reason(answer: requests.Response) -> str:
    """RFC 9457's detail, where the answer has one."""
    try:
        return str(answer.json().get("detail", ""))
    except (ValueError, AttributeError):
        return ""
