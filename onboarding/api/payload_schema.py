"""The canonical payload as JSON Schema: its shape from the pydantic model, what is needed from the field catalogue."""

from functools import cache
from typing import Any

from onboarding.payload.catalogue import FIELDS, Field, Type
from onboarding.payload.schema import OnboardingPayload

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NEEDED = "x-required-before-provisioning"
ABOUT = (
    "Malformed is a wrong shape or type, or no onboarding_transaction_id or event_source. Fields marked with "
    f"{NEEDED} may be missing: the run is accepted, waits in awaiting-data, and a ticket lists them. An empty string or null "
    "is an absent field; a placeholder counts as missing. Unknown fields are kept."
)
KICKOFF = "One of kickoff.start_date and kickoff.urgency is needed before provisioning."
EXAMPLE: dict[str, Any] = {
    "onboarding_transaction_id": "pay_12345",
    "event_source": "billing",
    "occurred_at": "2026-11-22T10:00:00Z",
    "customer": {
        "legal_name": "Acme Logistics",
        "domain": "acme-logistics.com",
        "segment": "mid-market",
        "country": "DE",
        "primary_contact": {"name": "Jordan Lee", "email": "jordan@acme-logistics.com"},
    },
    "commercial": {"plan_sku": "pro", "term": "annual", "amount": 12000, "currency": "EUR"},
    "ownership": {"crm_owner_id": "u_789"},
    "kickoff": {"start_date": "2026-12-01", "urgency": "normal"},
}


@cache
def payload_schema(ref_template: str = "#/$defs/{model}") -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the payload, its parts under ``$defs``. Not to be changed by the caller."""
    schema = OnboardingPayload.model_json_schema(ref_template=ref_template)
    parts = schema["$defs"]
    for field in FIELDS:
        _describe(schema, parts, field, ref_template.partition("{")[0])
    for node in (schema, *parts.values()):
        for found in node["properties"].values():
            found.pop("default", None)  # an absent field is absent, not empty
    amount = parts["Commercial"]["properties"]["amount"]
    amount.pop("anyOf", None)  # pydantic would take a number in a text, we do not
    amount |= {"type": "number", "minimum": 0, "description": "In major units of the currency."}
    schema["properties"]["kickoff"]["description"] = KICKOFF
    schema["properties"]["occurred_at"] = {
        "type": "string",
        "format": "date-time",
        "title": "Occurred at",
        "description": "When it was paid: starts the SLA clocks. Default: its receipt.",
    }
    parts["FirstValueTarget"]["properties"]["target_days"] = {
        "type": "integer",
        "minimum": 0,
        "maximum": 3650,
        "title": "Target days",
    }
    return {"title": "Onboarding", **schema, "description": ABOUT, "examples": [EXAMPLE]}


def _describe(schema: dict[str, Any], parts: dict[str, Any], field: Field, prefix: str) -> None:
    *parents, name = field.path.split(".")
    node = schema
    for parent in parents:
        node = parts[node["properties"][parent]["$ref"].removeprefix(prefix)]
    needs = "Required before provisioning. " if field.required else ""
    found = node["properties"][name]
    found["title"] = field.label
    found["description"] = f"{needs}{field.help}".strip() or field.label
    if field.required:
        found[NEEDED] = True
    if field.personal:
        found["x-personal-data"] = True
    if field.type is Type.DATE:
        found["examples"] = ["2026-12-01"]
    if field.choices:
        found["examples"] = list(field.choices)
