"""What Salesforce can do, and what is entered for a connection to it."""

from integrations.connectors.base import Capability, CreateSafety
from integrations.connectors.objects import CrmAccount, CrmContact, CrmNote, Deal, SuccessPlan
from integrations.connectors.options import TOKEN, Option, OptionType, Secret

_RECYCLED = "deleted; Salesforce keeps it in the recycle bin for 15 days"
_DEPENDS = "neither without a reference field"


KINDS = (
    Capability(
        kind=CrmAccount.KIND,
        safety=CreateSafety.UNIQUE_UPSERT,
        safety_depends=_DEPENDS,
        rollback=f"{_RECYCLED}; one with contacts or opportunities stays",
    ),
    Capability(
        kind=CrmContact.KIND,
        safety=CreateSafety.UNIQUE_UPSERT,
        safety_depends=_DEPENDS,
        rollback=_RECYCLED,
        associations=(CrmAccount.KIND,),
    ),
    Capability(
        kind=Deal.KIND,
        safety=CreateSafety.UNIQUE_UPSERT,
        safety_depends=_DEPENDS,
        rollback=_RECYCLED,
        associations=(CrmAccount.KIND,),
    ),
    Capability(
        kind=CrmNote.KIND,
        safety=CreateSafety.NEITHER,
        rollback=_RECYCLED,
        associations=(CrmAccount.KIND,),
    ),
    Capability(
        kind=SuccessPlan.KIND,
        safety=CreateSafety.NEITHER,
        rollback=_RECYCLED,
        associations=(CrmAccount.KIND,),
    ),
)
OPTIONS: tuple[Option, ...] = (
    Option(
        name="client_id",
        label="Consumer key",
        help="Of the connected app, or external client app, that Firstvalue signs in as.",
        required=True,
    ),
    Option(
        name="api_version",
        label="API version",
        help="Such as v62.0.",
        default="v62.0",
        pattern=r"v\d{2}\.0",
        allowed="a version such as v62.0",
    ),
    Option(
        name="reference_field",
        label="Reference field",
        help="Custom text field of accounts, contacts and opportunities, marked External ID and Unique, for our reference.",
        default="Firstvalue_Reference__c",
        empty="there is none: a create whose outcome is indeterminate goes to a person",
        pattern=r"\w+__c",
        allowed="the API name of a custom field, such as Firstvalue_Reference__c",
    ),
    Option(
        name="deal_fields",
        label="Deal fields",
        help="Off: opportunities have none of our custom fields but the reference field.",
        type=OptionType.FLAG,
        default="on",
        empty="off",
    ),
    Option(
        name="deal_stage",
        label="Stage of new deals",
        help="As in the org's list of stages.",
        default="Closed Won",
    ),
    Option(
        name="currency",
        label="Currency",
        help="The org's own, such as EUR: a deal in another one is written without its amount. “many” where the org has "
        "several currencies.",
        empty="amounts are not written",
    ),
    Option(
        name="country_field",
        label="Country",
        help="Field of accounts for the customer's two-letter country. BillingCountryCode where the org has lists of countries.",
        type=OptionType.CHOICE,
        choices=("BillingCountry", "BillingCountryCode"),
        default="BillingCountry",
        empty="the country is not written",
    ),
    Option(
        name="note_status",
        label="Status of notes",
        help="A closed status of tasks, as in the org's list: notes are tasks that are done.",
        default="Completed",
    ),
    Option(
        name="success_owner",
        label="Owner of success plans",
        help="Id of the Salesforce user in customer success whose tasks they are. Empty: the account's owner.",
    ),
    Option(
        name="success_status",
        label="Status of success plans",
        help="An open status of tasks, as in the org's list.",
        default="Not Started",
    ),
)
SECRETS: tuple[Secret, ...] = (
    Secret(name=TOKEN, label="Consumer secret", help="Of the same app."),
    Secret(
        name="refresh_token",
        label="Refresh token",
        help="Only where the app signs in for a person. Without one, the client credentials flow is used.",
        required=False,
    ),
)
