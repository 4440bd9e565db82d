"""What a connection to Paddle may look like."""

from integrations.connectors.provider_info import ProviderInfo
from integrations.vendors.paddle.connector import Paddle
from integrations.vendors.paddle.webhook import PaddleWebhook

PADDLE = ProviderInfo(
    name=Paddle.provider,
    systems=Paddle.systems,
    hosts=Paddle.hosts,
    default_base_url=Paddle.default_base_url,
    secrets=Paddle.secrets,
    probes=Paddle.probes,
    connector=Paddle,
    webhook=PaddleWebhook(),
)
"""The connector's declaration, with the webhook, which reads through it."""
