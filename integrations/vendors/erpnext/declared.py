"""What ERPNext can do for us, and what is entered for a connection to it."""

from integrations.connectors.base import Capability, CreateSafety
from integrations.connectors.objects import ErpCustomer, ErpOrder
from integrations.connectors.options import TOKEN, Option, Secret

REFERENCE_FIELD = "custom_firstvalue_reference"
_FIELD = r"\w+"

KINDS = (
    Capability(
        kind=ErpCustomer.KIND,
        safety=CreateSafety.UNIQUE_UPSERT,
        rollback="disabled, under a reference with a mark; made anew when wanted again",
    ),
    Capability(
        kind=ErpOrder.KIND,
        safety=CreateSafety.UNIQUE_UPSERT,
        rollback="deleted while it is a draft; one that was submitted stays",
    ),
)
OPTIONS = (
    Option(
        name="reference_field",
        label="Reference field",
        help="Custom field of type Data on Customer and Sales Order, marked Unique, for our reference.",
        default=REFERENCE_FIELD,
        pattern=_FIELD,
        allowed=f"the name of a field, such as {REFERENCE_FIELD}",
    ),
    Option(
        name="customer_group",
        label="Customer group",
        help="Of new customers, as the site calls it.",
        empty="the site's own",
    ),
    Option(name="territory", label="Territory", help="Of new customers, as the site calls it.", empty="the site's own"),
    Option(
        name="business_unit_field",
        label="Business unit",
        help="Field of an accounting dimension of sales order items, such as business_unit.",
        empty="there is none: a playbook that names business units is refused",
        pattern=_FIELD,
        allowed="the name of a field, such as business_unit",
    ),
    Option(
        name="start_field",
        label="First day of orders",
        help="Date field of sales orders for the first day that is billed.",
        empty="the day stands in the items' descriptions alone",
        pattern=_FIELD,
        allowed="the name of a field, such as custom_start",
    ),
    Option(
        name="end_field",
        label="Last day of orders",
        help="The same for the last day that is billed.",
        empty="the day stands in the items' descriptions alone",
        pattern=_FIELD,
        allowed="the name of a field, such as custom_end",
    ),
)
SECRETS = (Secret(name=TOKEN, label="API key and secret", help="Of the user that Firstvalue works as, as KEY:SECRET."),)
