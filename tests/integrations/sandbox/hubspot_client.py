"""Calls to the HubSpot stand-in, as its tests make them."""

from typing import Any

from integrations.sandbox.control import SandboxControl
from tests.integrations.sandbox.conftest import Vendor

COMPANIES = "/crm/v3/objects/companies"
CONTACTS = "/crm/v3/objects/contacts"
DEALS = "/crm/v3/objects/deals"
NOTES = "/crm/v3/objects/notes"
PROPERTY = {"label": "Our reference", "groupName": "companyinformation", "type": "string", "fieldType": "text"}


def new(**properties: Any) -> dict[str, Any]:
    return {"properties": properties, "associations": []}


def create(hubspot: Vendor, path: str = COMPANIES, **properties: str) -> str:
    answer = hubspot.post(path, new(**properties))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def companies(control: SandboxControl) -> int:
    return int(control.counts()["vendors"]["hubspot"]["companies"]["total"])


def search(hubspot: Vendor, *groups: dict[str, str], path: str = COMPANIES, limit: int = 10, after: str = "0") -> dict:
    filters = [[{"propertyName": k, "operator": "EQ", "value": v} for k, v in group.items()] for group in groups]
    body = {"properties": ["name"], "limit": limit, "after": after, "sorts": []}
    answer = hubspot.post(f"{path}/search", {**body, "filterGroups": [{"filters": each} for each in filters]})
    assert answer.status_code == 200, answer.text
    return answer.json()


def found(hubspot: Vendor, *groups: dict[str, str], path: str = COMPANIES) -> list[str]:
    return [each["id"] for each in search(hubspot, *groups, path=path)["results"]]


def upsert(hubspot: Vendor, *inputs: tuple[str, str, dict[str, str]], path: str = COMPANIES):
    body = [{"id": value, "idProperty": name, "properties": rest} for name, value, rest in inputs]
    return hubspot.post(f"{path}/batch/upsert", {"inputs": body})
