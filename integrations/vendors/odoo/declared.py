"""What Odoo can do for us, and what is entered for a connection to it."""

from integrations.connectors.base import Capability, CreateSafety
from integrations.connectors.objects import ErpCustomer, ErpOrder
from integrations.connectors.options import TOKEN, Option, OptionType, Secret

_FIELD = r"\w+"

KINDS = (
    Capability(
        kind=ErpCustomer.KIND,
        safety=CreateSafety.NEITHER,
        search_lag_option="longest_request",
        rollback="archived, under a reference with a mark; made anew when wanted again",
    ),
    Capability(
        kind=ErpOrder.KIND,
        safety=CreateSafety.NEITHER,
        search_lag_option="longest_request",
        rollback="cancelled while it is a quotation; one that was confirmed stays",
    ),
)
OPTIONS = (
    Option(
        name="database",
        label="Database",
        help="Only where one server has several, and does not tell them apart by the host's name.",
        pattern=r"[\w.-]+",
        allowed="the name of a database",
    ),
    Option(
        name="longest_request",
        label="Longest request",
        help="After so long the server has ended a request that it did not answer (limit_time_real): until then a search may "
        "not see what it wrote.",
        type=OptionType.SECONDS,
        default="120",
    ),
    Option(
        name="start_field",
        label="First day of orders",
        help="Date field of sales orders for the first day that is billed, such as start_date where Odoo's subscriptions are "
        "installed.",
        empty="the day stands in the order's note alone",
        pattern=_FIELD,
        allowed="the name of a field, such as x_studio_start",
    ),
    Option(
        name="end_field",
        label="Last day of orders",
        help="The same for the last day that is billed.",
        empty="the day stands in the order's note alone",
        pattern=_FIELD,
        allowed="the name of a field, such as x_studio_end",
    ),
)
SECRETS = (
    Secret(name=TOKEN, label="API key", help="Of the user that Firstvalue works as; it ends after three months."),
)
