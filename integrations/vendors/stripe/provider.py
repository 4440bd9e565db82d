"""What a connection to Stripe may look like. Nothing is sent there: its webhooks tell of payments."""

from integrations.providers import stripe, stripe_pages
from integrations.providers.base import WEBHOOK_SECRET
from integrations.providers.info import ProviderInfo
from integrations.webhooks.stripe import StripeWebhook

STRIPE = ProviderInfo(
    name="stripe",
    systems=frozenset({"billing"}),
    hosts=("api.stripe.com",),
    default_base_url="https://api.stripe.com",
    secret_names=(WEBHOOK_SECRET,),
    option_names=("accounts",),
    option_help={"accounts": stripe.ACCOUNTS_HELP},
    check_options=stripe.check_options,
    webhook=StripeWebhook(),
    page=stripe_pages.page,
)
