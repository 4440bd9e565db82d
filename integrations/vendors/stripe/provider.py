"""What a connection to Stripe may look like. Nothing is sent there: its webhooks tell of payments."""

from integrations.connectors.options import SIGNING_SECRET, Option, OptionType
from integrations.connectors.provider_info import ProviderInfo
from integrations.inbound.events import PaymentSucceeded
from integrations.inbound.starting import starts_or_joins
from integrations.vendors.stripe import dashboard, payments
from integrations.vendors.stripe.webhook import StripeWebhook

STRIPE = ProviderInfo(
    name="stripe",
    systems=frozenset({"billing"}),
    hosts=("api.stripe.com",),
    default_base_url="https://api.stripe.com",
    secrets=(SIGNING_SECRET,),
    options=(
        Option(
            name="accounts",
            label="Accounts",
            help="Whose events are taken.",
            type=OptionType.LIST,
            default=payments.OWN_ACCOUNT,
            pattern=payments.ACCOUNT,
            allowed="own (the account itself) or ids of connected accounts (acct_…), with commas between",
        ),
        starts_or_joins(PaymentSucceeded, what="A settled payment"),
    ),
    probes="that the signing secret is stored and readable; nothing is called",
    webhook=StripeWebhook(),
    page=dashboard.page,
)
