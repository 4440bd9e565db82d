"""Salesforce's objects, for the conformance suite."""

from collections.abc import Sequence

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import CrmAccount, CrmContact, CrmNote, Deal, SuccessPlan, VendorObject
from tests.integrations.vendors.conformance import Bench, Case

DOMAIN = "acme-logistics.com"
EMAIL = f"jordan@{DOMAIN}"
LIMITS = {429: 403}
"""Salesforce has no 429."""


def account(bench: Bench, name: str) -> CrmAccount:
    bench.connector().probe()  # signed in: what fails then is the call that a rule is about
    return CrmAccount(name=name, domain=DOMAIN, country="DE")


def contact(bench: Bench, name: str) -> CrmContact:
    bench.connector().probe()
    return CrmContact(email=EMAIL, first_name=name, last_name="Lee")


def deal(bench: Bench, name: str) -> Deal:
    bench.connector().probe()
    return Deal(name=name, amount=12000, currency="EUR")


def note(bench: Bench, name: str) -> CrmNote:
    company = bench.create(account(bench, "Acme Logistics"), "firstvalue:the-notes-company")
    return CrmNote(body=f"<p>{name}</p>", at="2026-12-01T09:00:00Z", company_id=company)


def success_plan(bench: Bench, name: str) -> SuccessPlan:
    company = bench.create(account(bench, "Acme Logistics"), "firstvalue:the-plans-company")
    return SuccessPlan(name=name, body="First value", due_on="2026-12-15", company_id=company)


def note_keys(made: VendorObject, reference: str) -> Sequence[MatchKey]:
    assert isinstance(made, CrmNote | SuccessPlan)
    return (MatchKey("reference", reference, within=made.company_id),)


def company_of(bench: Bench) -> tuple[str, str]:
    return "company", bench.create(account(bench, "Acme Logistics"), "firstvalue:another-company")


CASES = [
    Case(
        "salesforce", "company", "Account", account,
        lambda _, reference: [MatchKey("reference", reference), MatchKey("domain", DOMAIN)],
        change=CrmAccount(name="Acme Renamed"),
        shows=lambda body: body.get("Name") == "Acme Renamed",
        others=lambda number: {"Name": f"Other {number}", "Website": f"https://my-{DOMAIN}/shop"},
        answered_as=LIMITS,
    ),
    Case(
        "salesforce", "contact", "Contact", contact,
        lambda _, reference: [MatchKey("reference", reference), MatchKey("email", EMAIL)],
        change=CrmContact(last_name="Roe"),
        shows=lambda body: body.get("LastName") == "Roe",
        ties=company_of,
        answered_as=LIMITS,
    ),
    Case(
        "salesforce", "deal", "Opportunity", deal, lambda _, reference: [MatchKey("reference", reference)],
        change=Deal(onboarding_status="complete"),
        shows=lambda body: body.get("Firstvalue_Onboarding_Status__c") == "complete",
        ties=company_of,
        answered_as=LIMITS,
    ),
    Case(
        "salesforce", "note", "Task", note, note_keys,
        change=CrmNote(body="<p>Another brief</p>"),
        shows=lambda body: "Another brief" in body["Description"],
        answered_as=LIMITS,
    ),
    Case(
        "salesforce", "success-plan", "Task", success_plan, note_keys,
        change=SuccessPlan(body="Another plan"),
        shows=lambda body: "Another plan" in body["Description"],
        answered_as=LIMITS,
    ),
]  # fmt: skip
