"""What a connection to Chargebee may look like. Nothing is sent there: its webhooks tell of payments."""

from integrations.connectors.options import WEBHOOK_SECRET, Secret
from integrations.connectors.provider_info import ProviderInfo
from integrations.vendors.chargebee.webhook import ChargebeeWebhook

CHARGEBEE = ProviderInfo(
    name="chargebee",
    systems=frozenset({"billing"}),
    secrets=(
        Secret(
            name=WEBHOOK_SECRET,
            label="Webhook user and password",
            help="As entered in Chargebee for the webhook's basic authentication, with a colon between: user:password.",
            pattern=r"[^:]+:.+",
            allowed="a user and a password with a colon between, as in user:password",
        ),
    ),
    probes="that the webhook's user and password are stored and readable; nothing is called",
    webhook=ChargebeeWebhook(),
)
