"""DocuSign's envelopes as Connect delivers them, and what a completed one says of an order.

Sources: the message, developers.docusign.com/platform/webhooks/connect/json-sim-event-model and
github.com/docusign/OpenAPI-Specifications (``connect.schema-v2.json``: every value is a text, booleans and numbers too); custom
fields, developers.docusign.com/docs/esign-rest-api/reference/envelopes/envelopecustomfields; form data,
.../envelopes/envelopeformdata/get. ``envelope-completed`` comes once, when everybody has acted.

What a configuration does not include is absent: the whole ``envelopeSummary``, its ``customFields``, or the recipients' ``tabs``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import Field

from integrations.connectors.answers import VendorAnswer
from integrations.inbound.events import ContractApproved, OrderEvent, OrderSigned, written_keys

COMPLETED = "envelope-completed"
KINDS: Mapping[str, type[OrderEvent]] = {"order-signed": OrderSigned, "contract-approved": ContractApproved}
KIND_FIELD = "firstvalue_event"
"""The custom field by which an envelope says what its completion means."""


class CustomField(VendorAnswer):
    name: str = ""
    value: str = ""


class CustomFields(VendorAnswer):
    textCustomFields: list[CustomField] = []  # noqa: N815
    listCustomFields: list[CustomField] = []  # noqa: N815

    @property
    def values(self) -> dict[str, str]:
        """By name; an envelope has each name once."""
        given = [*self.textCustomFields, *self.listCustomFields]
        return {each.name.strip(): each.value.strip() for each in given if each.name.strip() and each.value.strip()}


class Tab(VendorAnswer):
    """One field of the form: those with a value of their own. Check boxes and groups of radio buttons have none here."""

    tabLabel: str = ""  # noqa: N815
    value: str = ""


class Signer(VendorAnswer):
    name: str = ""
    email: str = ""
    roleName: str = ""  # noqa: N815
    tabs: dict[str, list[Tab]] | None = None


class Recipients(VendorAnswer):
    signers: list[Signer] = []


class Summary(VendorAnswer):
    status: str = ""
    emailSubject: str = ""  # noqa: N815
    completedDateTime: str = ""  # noqa: N815
    customFields: CustomFields | None = None  # noqa: N815
    recipients: Recipients | None = None


class Data(VendorAnswer):
    accountId: str = Field(min_length=1)  # noqa: N815
    envelopeId: str = Field(min_length=1)  # noqa: N815
    envelopeSummary: Summary | None = None  # noqa: N815


class Message(VendorAnswer):
    event: str
    generatedDateTime: str = ""  # noqa: N815
    data: Data


class FormItem(VendorAnswer):
    name: str = ""
    value: str = ""


class FormData(VendorAnswer):
    formData: list[FormItem] = []  # noqa: N815

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        return tuple((each.name, each.value) for each in self.formData if each.name and each.value)


def form_fields(recipients: Recipients | None) -> tuple[tuple[str, str], ...] | None:
    """What the signers filled in: (label, value), each label once. None where the delivery does not include it."""
    if recipients is None or all(signer.tabs is None for signer in recipients.signers):
        return None
    found: dict[str, str] = {}
    for signer in recipients.signers:
        for tab in (tab for tabs in (signer.tabs or {}).values() for tab in tabs):
            if tab.tabLabel and tab.value:
                # A label that several share carries a prefix in templates: \\* or \*.
                found.setdefault(tab.tabLabel.lstrip("\\*"), tab.value)
    return tuple(found.items())


def customer_of(recipients: Recipients | None, role: str) -> Signer:
    """Who signed for the customer: of several nobody knows which."""
    signers = recipients.signers if recipients and role else []
    found = [each for each in signers if each.roleName.strip().casefold() == role.strip().casefold()]
    return found[0] if len(found) == 1 else Signer()


def order_event(
    message: Message,
    *,
    kind: str,
    custom_fields: CustomFields,
    form: Sequence[tuple[str, str]],
    customer: Signer,
    occurred_at: datetime | None,
) -> OrderEvent:
    """``kind``: one of ``KINDS``, for an envelope that does not say it."""
    written = custom_fields.values
    said = written.pop(KIND_FIELD, "").lower().replace("_", "-").replace(".", "-")
    return KINDS.get(said, KINDS[kind])(
        object_id=message.data.envelopeId,
        keys=written_keys(written),
        occurred_at=occurred_at,
        metadata=written,
        custom_fields=tuple(form),
        contact_name=customer.name.strip(),
        email=customer.email.strip(),
    )
