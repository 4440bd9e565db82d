"""What Zendesk can do with each kind of object, and what is entered for a connection to it."""

from integrations.connectors.base import Capability, CreateSafety
from integrations.connectors.objects import SupportOrganization, SupportTicket, SupportUser
from integrations.connectors.options import Option, OptionType
from integrations.vendors.zendesk.tickets import KEY_SECONDS

_FIELD_KEY = r"[A-Za-z0-9_]+"
KINDS = (
    Capability(
        kind=SupportOrganization.KIND,
        safety=CreateSafety.UNIQUE_UPSERT,
        search_lag_option="search_lag",
        rollback="deleted; its users stay, without an organization",
    ),
    Capability(
        kind=SupportUser.KIND,
        safety=CreateSafety.UNIQUE_UPSERT,
        search_lag_option="search_lag",
        rollback="deleted, for good as far as we go; refused while they are the requester of a ticket that is not closed",
        associations=(SupportOrganization.KIND,),
    ),
    Capability(
        kind=SupportTicket.KIND,
        safety=CreateSafety.IDEMPOTENCY_KEY,
        key_lifetime=KEY_SECONDS,
        search_lag_option="search_lag",
        rollback="deleted, unless it is closed: as all deleted tickets, for good after 30 days",
    ),
)

OPTIONS = (
    Option(
        name="email",
        label="Agent's email address",
        help="With an API token: the address of the agent whose token it is. Empty: the token is an OAuth token.",
    ),
    Option(
        name="shared_tickets",
        label="Shared tickets",
        help="On: the users of a new organization see each other's tickets.",
        type=OptionType.FLAG,
        default="off",
    ),
    Option(
        name="sla_tier_field",
        label="Field of the SLA tier",
        help="Key of the organization field that an entitlement's SLA tier is written to.",
        default="sla_tier",
        pattern=_FIELD_KEY,
        allowed="letters, digits and underscores",
    ),
    Option(
        name="support_plan_field",
        label="Field of the support plan",
        help="Key of the organization field that an entitlement's support plan is written to.",
        default="support_plan",
        pattern=_FIELD_KEY,
        allowed="letters, digits and underscores",
    ),
    Option(
        name="search_lag",
        label="Search lag",
        help="How long a search may miss what was just written.",
        type=OptionType.SECONDS,
        default="0",
    ),
)
