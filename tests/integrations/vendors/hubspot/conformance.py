"""HubSpot's objects, for the conformance suite."""

from collections.abc import Sequence

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import CrmAccount, CrmContact, CrmNote, Deal, DealLine, SuccessPlan, VendorObject
from tests.integrations.vendors.conformance import Bench, Case

DOMAIN = "acme-logistics.com"
EMAIL = f"jordan@{DOMAIN}"


def account(_: Bench, name: str) -> CrmAccount:
    return CrmAccount(name=name, domain=DOMAIN, country="DE")


def contact(_: Bench, name: str) -> CrmContact:
    return CrmContact(email=EMAIL, first_name=name, last_name="Lee")


def deal(_: Bench, name: str) -> Deal:
    return Deal(name=name, amount=12000, currency="EUR")


def line(_: Bench, name: str) -> DealLine:
    return DealLine(name=name, sku="pro", quantity=3, unit_price="1000.5")


def note(bench: Bench, name: str) -> CrmNote:
    company = bench.create(account(bench, "Acme Logistics"), "firstvalue:the-notes-company")
    return CrmNote(body=f"<p>{name}</p>", at="2026-12-01T09:00:00Z", company_id=company)


def success_plan(bench: Bench, name: str) -> SuccessPlan:
    company = bench.create(account(bench, "Acme Logistics"), "firstvalue:the-plans-company")
    return SuccessPlan(name=name, body="First value", due_on="2026-12-15", company_id=company)


def account_keys(_: VendorObject, reference: str) -> Sequence[MatchKey]:
    return MatchKey("reference", reference), MatchKey("domain", DOMAIN)


def note_keys(made: VendorObject, reference: str) -> Sequence[MatchKey]:
    assert isinstance(made, CrmNote | SuccessPlan)
    return (MatchKey("reference", reference, within=made.company_id),)


def deal_of(bench: Bench) -> tuple[str, str]:
    return "deal", bench.create(deal(bench, "Acme Logistics"), "firstvalue:the-lines-deal")


def company_of(bench: Bench) -> tuple[str, str]:
    return "company", bench.create(account(bench, "Acme Logistics"), "firstvalue:another-company")


CASES = [
    Case(
        "hubspot", "company", "companies", account, account_keys,
        change=CrmAccount(name="Acme Renamed"),
        shows=lambda body: body.get("name") == "Acme Renamed",
        others=lambda number: {"name": f"Other {number}", "hs_additional_domains": f"my-{DOMAIN}"},
    ),
    Case(
        "hubspot", "contact", "contacts", contact, lambda _, __: [MatchKey("email", EMAIL)],
        change=CrmContact(last_name="Roe"),
        shows=lambda body: body.get("lastname") == "Roe",
        ties=company_of,
    ),
    Case(
        "hubspot", "deal", "deals", deal, lambda _, reference: [MatchKey("reference", reference)],
        change=Deal(onboarding_status="complete"),
        shows=lambda body: body.get("firstvalue_onboarding_status") == "complete",
        ties=company_of,
    ),
    Case(
        "hubspot", "line-item", "line_items", line, lambda _, reference: [MatchKey("reference", reference)],
        change=DealLine(quantity=5),
        shows=lambda body: body.get("quantity") == "5",
        ties=deal_of,
    ),
    Case(
        "hubspot", "note", "notes", note, note_keys,
        change=CrmNote(body="<p>Another brief</p>"),
        shows=lambda body: "Another brief" in body["hs_note_body"],
    ),
    Case(
        "hubspot", "success-plan", "tasks", success_plan, note_keys,
        change=SuccessPlan(body="Another plan"),
        shows=lambda body: "Another plan" in body["hs_task_body"],
    ),
]  # fmt: skip
