"""What a connection to DocuSign may look like. Its webhooks tell of envelopes; only what they leave out is read at its API."""

from integrations.connectors.options import SIGNING_SECRET, TOKEN, Option, OptionType, Secret
from integrations.connectors.provider_info import ProviderInfo
from integrations.inbound.events import ContractApproved, OrderSigned
from integrations.inbound.starting import starts_or_joins
from integrations.vendors.docusign.api import ACCOUNT_SERVERS
from integrations.vendors.docusign.envelopes import KINDS
from integrations.vendors.docusign.webhook import DocuSignWebhook

_GUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

DOCUSIGN = ProviderInfo(
    name="docusign",
    systems=frozenset({"esign"}),
    hosts=("*.docusign.net", "*.docusign.com"),
    secrets=(
        SIGNING_SECRET,
        Secret(
            name=TOKEN,
            label="RSA private key",
            help="Only to read what deliveries leave out. Of the app under Apps and Keys, as one line: base64 of the PEM file.",
            required=False,
        ),
    ),
    options=(
        Option(
            name="account_id",
            label="API account ID",
            help="Under Apps and Keys. Envelopes of other accounts start nothing.",
            empty="envelopes of all accounts that sign with the secret are taken",
            pattern=_GUID,
            allowed="a GUID",
        ),
        Option(
            name="completed_envelope",
            label="A completed envelope is",
            help="What it means where the envelope's custom field firstvalue_event does not say it.",
            type=OptionType.CHOICE,
            choices=tuple(KINDS),
            default="order-signed",
        ),
        Option(
            name="customer_role",
            label="Role of the customer",
            help="Of the recipient who signs for the customer: their name and address fill in the contact.",
            default="Customer",
            empty="no recipient fills in the contact",
        ),
        starts_or_joins(OrderSigned, what="A signed order"),
        starts_or_joins(ContractApproved, what="An approved contract"),
        Option(
            name="integration_key",
            label="Integration key",
            help="Of the app under Apps and Keys. Needed with the RSA private key.",
            pattern=_GUID,
            allowed="a GUID",
        ),
        Option(
            name="user_id",
            label="User ID",
            help="Of the user whom the app impersonates. Needed with the RSA private key.",
            pattern=_GUID,
            allowed="a GUID",
        ),
        Option(
            name="account_server",
            label="Account server",
            help="account-d.docusign.com for a developer account.",
            type=OptionType.CHOICE,
            choices=ACCOUNT_SERVERS,
            default=ACCOUNT_SERVERS[0],
        ),
    ),
    probes="that the signing secret is stored and readable; nothing is called",
    webhook=DocuSignWebhook(),
)
