"""Salesforce with its outbound messages: what the CRM is asked and told, and the won opportunities that it tells of."""

from integrations.connectors.options import WEBHOOK_SECRET, Option, Secret
from integrations.inbound.events import DealWon
from integrations.inbound.looking import EVERY
from integrations.inbound.starting import starts_or_joins
from integrations.vendors.salesforce.connector import Salesforce
from integrations.vendors.salesforce.webhook import SalesforceWebhook

_FIELD = r"\w+(__c)?"


class SalesforceProvider(Salesforce):
    webhook = SalesforceWebhook()
    secrets = (
        *Salesforce.secrets,
        Secret(
            name=WEBHOOK_SECRET,
            label="Token of outbound messages and flows",
            help="A long random text of yours: at the end of an outbound message's endpoint URL, …/webhooks/NAME/?token=TEXT, or "
            "in the header X-Firstvalue-Secret of a flow's named credential.",
            required=False,
        ),
    )
    options = (
        *Salesforce.options,
        starts_or_joins(DealWon, what="A won deal"),
        EVERY,
        Option(
            name="organization_id",
            label="Organization ID",
            help="Under Company Information. Needed for outbound messages and flows: those of other orgs start nothing.",
            pattern=r"00D[A-Za-z0-9]{12}([A-Za-z0-9]{3})?",
            allowed="an organization's id, such as 00D…",
        ),
        Option(
            name="order_field",
            label="Order number of an opportunity",
            help="API name of the field with the number of the customer's order, by which its events are joined.",
            pattern=_FIELD,
            allowed="the API name of a field, such as Order_Number__c",
        ),
        Option(
            name="quote_field",
            label="Quote number of an opportunity",
            help="API name of the field with the number of the quote, by which its events are joined.",
            pattern=_FIELD,
            allowed="the API name of a field, such as Quote_Number__c",
        ),
    )
