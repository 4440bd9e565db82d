"""The objects of an org: their fields, what is required, how long a text may be, and record ids.

From the object reference (developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference: Account, Contact,
Opportunity, Task, User, Organization) and "ID Field Type" (.../field_types.htm#i1435616).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from integrations.sandbox.store import Json

PREFIXES = {
    "Account": "001",
    "Contact": "003",
    "Opportunity": "006",
    "Task": "00T",
    "User": "005",
    "Organization": "00D",
}
WRITABLE = ("Account", "Contact", "Opportunity", "Task")
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
REFERENCE = "Firstvalue_Reference__c"


@dataclass(frozen=True)
class Field:
    length: int = 255
    kind: str = "string"
    refers_to: tuple[str, ...] = ()
    writable: bool = True
    required: bool = False
    external_id: bool = False
    unique: bool = False
    filterable: bool = True
    #: of a pick-list that takes nothing else
    values: tuple[str, ...] = ()


def _reference(*types: str, writable: bool = True) -> Field:
    return Field(18, "reference", types, writable=writable)


_SYSTEM = {
    "Id": Field(18, "id", writable=False), "IsDeleted": Field(kind="boolean", writable=False),
    "CreatedDate": Field(kind="datetime", writable=False), "LastModifiedDate": Field(kind="datetime", writable=False),
    "SystemModstamp": Field(kind="datetime", writable=False),
}  # fmt: skip
_OUR_REFERENCE = Field(external_id=True, unique=True)
STAGES = ("Prospecting", "Qualification", "Negotiation/Review", "Closed Won", "Closed Lost")
STATUSES = ("Not Started", "In Progress", "Completed", "Waiting on someone else", "Deferred")
FIELDS: dict[str, dict[str, Field]] = {
    "Account": {
        **_SYSTEM,
        "Name": Field(required=True), "Website": Field(), "BillingCity": Field(40), "BillingCountry": Field(80),
        "OwnerId": _reference("User"), "MasterRecordId": _reference("Account", writable=False), REFERENCE: _OUR_REFERENCE,
    },
    "Contact": {
        **_SYSTEM,
        "FirstName": Field(40), "LastName": Field(80, required=True), "Email": Field(80, "email"),
        "AccountId": _reference("Account"), "OwnerId": _reference("User"),
        "MasterRecordId": _reference("Contact", writable=False), REFERENCE: _OUR_REFERENCE,
    },
    "Opportunity": {
        **_SYSTEM,
        "Name": Field(120, required=True), "StageName": Field(kind="picklist", required=True, values=STAGES),
        "CloseDate": Field(kind="date", required=True), "Amount": Field(kind="currency"),
        "IsClosed": Field(kind="boolean", writable=False), "IsWon": Field(kind="boolean", writable=False),
        "LastStageChangeDate": Field(kind="datetime", writable=False),
        "AccountId": _reference("Account"), "OwnerId": _reference("User"), REFERENCE: _OUR_REFERENCE,
        "Firstvalue_Onboarding_Status__c": Field(), "Firstvalue_Transaction_Id__c": Field(),
        "Firstvalue_Implementation_Owner__c": Field(),
    },
    "Task": {
        **_SYSTEM,
        "Subject": Field(), "Description": Field(32_000, "textarea", filterable=False),
        "Status": Field(kind="picklist", values=STATUSES), "ActivityDate": Field(kind="date"),
        "WhatId": _reference("Account", "Opportunity"), "AccountId": _reference("Account", writable=False),
        "OwnerId": _reference("User"),
    },
    "User": {**_SYSTEM, "Name": Field(121), "Email": Field(80, "email"), "IsActive": Field(kind="boolean")},
    "Organization": {**_SYSTEM, "Name": Field(80)},
}  # fmt: skip


def described(kind: str, fields: dict[str, Field]) -> Json:
    told = [
        {
            "name": name, "type": each.kind, "length": each.length, "externalId": each.external_id, "unique": each.unique,
            "updateable": each.writable, "createable": each.writable, "nillable": not each.required, "custom": name.endswith("__c"),
        }
        for name, each in fields.items()
    ]  # fmt: skip
    return {"name": kind, "label": kind, "keyPrefix": PREFIXES[kind], "fields": told}


def full_id(text: str) -> str:
    """The 18 characters of an id: the last three say which of the others are capitals. Empty for what is none."""
    if not _ID.fullmatch(text):
        return ""
    parts = (text[0:5], text[5:10], text[10:15])
    return text[:15] + "".join(_SUFFIX[sum(each.isupper() << at for at, each in enumerate(part))] for part in parts)


def new_id(kind: str, number: str) -> str:
    return full_id(f"{PREFIXES[kind]}Qy{number.zfill(10)}")
