"""What HubSpot can do with each kind of object, and what is entered for a connection to it."""

from integrations.connectors.base import Capability, CreateSafety
from integrations.connectors.objects import CrmAccount, CrmContact, CrmNote, Deal, DealLine, SuccessPlan
from integrations.connectors.options import Option, OptionType

_ARCHIVED = "archived; HubSpot can restore it for 90 days"
_DEPENDS = "neither without a reference property"
KINDS = (
    Capability(kind=CrmAccount.KIND, safety=CreateSafety.UNIQUE_UPSERT, safety_depends=_DEPENDS, rollback=_ARCHIVED),
    Capability(
        kind=CrmContact.KIND,
        safety=CreateSafety.UNIQUE_UPSERT,
        rollback=_ARCHIVED,
        associations=(CrmAccount.KIND,),
    ),
    Capability(
        kind=Deal.KIND,
        safety=CreateSafety.UNIQUE_UPSERT,
        safety_depends=f"{_DEPENDS}, or with deal_properties off",
        rollback=_ARCHIVED,
        associations=(CrmAccount.KIND,),
    ),
    Capability(
        kind=DealLine.KIND,
        safety=CreateSafety.UNIQUE_UPSERT,
        safety_depends=_DEPENDS,
        rollback=_ARCHIVED,
        associations=(Deal.KIND,),
    ),
    Capability(
        kind=CrmNote.KIND,
        safety=CreateSafety.NEITHER,
        search_lag_option="search_lag",
        rollback=_ARCHIVED,
        associations=(CrmAccount.KIND, Deal.KIND),
    ),
    Capability(
        kind=SuccessPlan.KIND,
        safety=CreateSafety.NEITHER,
        search_lag_option="search_lag",
        rollback=_ARCHIVED,
        associations=(CrmAccount.KIND, Deal.KIND),
    ),
)

OPTIONS: tuple[Option, ...] = (
    Option(
        name="prefix",
        label="API path",
        help="Path of the objects' API, such as /crm/objects/2026-03.",
        default="/crm/v3",
    ),
    Option(
        name="reference_property",
        label="Reference property",
        help="Property of companies, deals and line items that carries our reference, with “Require unique values”.",
        default="firstvalue_reference",
        empty="there is none: a create whose outcome is indeterminate goes to a person",
    ),
    Option(
        name="deal_properties",
        label="Deal properties",
        help="Off: deals have none of our custom properties, the reference property among them.",
        type=OptionType.FLAG,
        default="on",
        empty="off",
    ),
    Option(name="deal_pipeline", label="Pipeline of new deals", help="Its id. Empty: HubSpot decides."),
    Option(name="deal_stage", label="Stage of new deals", help="Its id. Empty: HubSpot decides."),
    Option(name="portal_id", label="Portal", help="Its number, for links. Learnt when the connection is tested."),
    Option(name="ui_domain", label="Web address", help="Such as app-eu1.hubspot.com, for links. Learnt as the portal."),
    Option(
        name="success_owner",
        label="Owner of success plans",
        help="Id of the HubSpot owner in customer success whose tasks they are. Empty: the account's owner.",
    ),
    Option(
        name="search_lag",
        label="Search lag",
        help="How long a search may miss what was just written.",
        type=OptionType.SECONDS,
        default="20",
    ),
)
