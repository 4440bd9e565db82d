"""What a connection to a sender of Standard Webhooks may look like. Nothing is sent there."""

from integrations.connectors.options import WEBHOOK_SECRET, Secret
from integrations.connectors.provider_info import ProviderInfo
from integrations.inbound.standard_webhooks import PREFIX, SECRET_FORM
from integrations.vendors.standard_webhooks.webhook import StandardWebhook

STANDARD_WEBHOOKS = ProviderInfo(
    name="standard-webhooks",
    systems=frozenset({"billing"}),
    secrets=(
        Secret(
            name=WEBHOOK_SECRET,
            label="Webhook signing secret",
            help=f"Shared with the sender: {SECRET_FORM} of 24 to 64 random bytes.",
            pattern=rf"({PREFIX})?[A-Za-z0-9+/]+={{0,2}}",
            allowed=SECRET_FORM,
        ),
    ),
    probes="that the signing secret is stored and readable; nothing is called",
    webhook=StandardWebhook(),
)
