"""What a connection to Stripe may look like. Nothing is sent there: its webhooks tell of payments."""

from integrations.connectors.base import WEBHOOK_SECRET
from integrations.connectors.provider_info import ProviderInfo
from integrations.vendors.stripe import dashboard, payments
from integrations.vendors.stripe.webhook import StripeWebhook

STRIPE = ProviderInfo(
    name="stripe",
    systems=frozenset({"billing"}),
    hosts=("api.stripe.com",),
    default_base_url="https://api.stripe.com",
    secret_names=(WEBHOOK_SECRET,),
    option_names=("accounts",),
    option_help={"accounts": payments.ACCOUNTS_HELP},
    check_options=payments.check_options,
    webhook=StripeWebhook(),
    page=dashboard.page,
)
