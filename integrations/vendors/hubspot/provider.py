"""HubSpot with its webhooks: what the CRM is asked and told, and the won deals that it tells of."""

from integrations.connectors.options import TOKEN_SECRET, WEBHOOK_SECRET, Option, Secret
from integrations.inbound.events import DealWon
from integrations.inbound.looking import EVERY
from integrations.inbound.starting import starts_or_joins
from integrations.vendors.hubspot.connector import HubSpot
from integrations.vendors.hubspot.webhook import HubSpotWebhook


class HubSpotProvider(HubSpot):
    webhook = HubSpotWebhook()
    secrets = (
        TOKEN_SECRET,
        Secret(
            name=WEBHOOK_SECRET,
            label="Client secret",
            help="Of the app that has the webhook subscriptions: it signs them. Only where won deals are taken.",
            required=False,
        ),
    )
    options = (
        *HubSpot.options,
        starts_or_joins(DealWon, what="A won deal"),
        EVERY,
        Option(
            name="order_property",
            label="Order number of a deal",
            help="Property of deals with the number of the customer's order, by which its events are joined.",
        ),
        Option(
            name="quote_property",
            label="Quote number of a deal",
            help="Property of deals with the number of the quote, by which its events are joined.",
        ),
    )
