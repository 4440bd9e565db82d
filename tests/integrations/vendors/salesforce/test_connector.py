"""What Salesforce does in its own way."""

import pytest

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import CrmAccount, CrmContact, Deal
from integrations.errors import Kind, ProviderError
from integrations.sandbox.control import SandboxControl
from integrations.vendors.salesforce.sandbox.schema import new_id
from tests.integrations.vendors.conformance import REFERENCE, Bench

pytestmark = [pytest.mark.django_db(transaction=True)]
ACME = CrmAccount(name="Acme Logistics", domain="acme-logistics.com")


@pytest.fixture
def bench(sandbox: SandboxControl) -> Bench:
    return Bench("salesforce", sandbox)


def test_a_duplicate_rule_is_a_persons_decision(bench: Bench) -> None:
    there = bench.create(ACME, "firstvalue:other")
    bench.sandbox.configure("salesforce", duplicate_rules=["Account"])
    with pytest.raises(ProviderError) as refused:
        bench.create(ACME)
    assert (refused.value.kind, refused.value.existing_id, refused.value.existing_by) == (Kind.CONFLICT, there, "")
    assert set(bench.bodies("Account")) == {there}


def test_the_loser_of_a_race_writes_into_what_the_other_made(bench: Bench) -> None:
    first = bench.create(ACME)
    bench.sandbox.configure("salesforce", racing_upserts=1)
    assert bench.create(ACME) == first


def test_a_reference_that_is_not_unique_at_salesforce_is_a_conflict(bench: Bench) -> None:
    bench.sandbox.configure("salesforce", fields={"Account.Firstvalue_Reference__c": {"unique": False}})
    with pytest.raises(ProviderError, match="is not External ID and Unique"):
        bench.connector().probe()
    bench.create(ACME)
    bench.sandbox.configure("salesforce", racing_upserts=1)
    bench.create(ACME)
    with pytest.raises(ProviderError) as refused:
        bench.create(ACME)
    assert (refused.value.kind, refused.value.http_status) == (Kind.CONFLICT, 300)
    assert len(bench.connector().find("company", MatchKey("reference", REFERENCE))) == 2


def test_a_merged_account_is_told_as_the_one_that_stays(bench: Bench) -> None:
    stays, gone = bench.create(ACME), new_id("Account", "7")
    merged = {"id": gone, "Name": "Acme", "IsDeleted": True, "MasterRecordId": stays}
    bench.sandbox.seed("salesforce", "Account", [merged])
    found = bench.connector().get("company", gone)
    assert found is not None
    assert found.external_id == stays
    assert bench.connector().archived("company", gone) is None
    with pytest.raises(ProviderError, match=f"merged the company {gone} into {stays}") as refused:
        bench.connector().update(gone, CrmAccount(name="New"))
    assert refused.value.kind is Kind.CONFLICT


def test_a_deleted_account_is_archived(bench: Bench) -> None:
    gone = bench.create(ACME)
    bench.connector().undo("company", gone)
    found = bench.connector().archived("company", gone)
    assert found is not None
    assert found.label == "Acme Logistics"


def test_fifteen_and_eighteen_characters_are_one_record(bench: Bench) -> None:
    made = bench.create(ACME)
    found = bench.connector().get("company", made[:15])
    assert found is not None
    assert found.external_id == made[:15]


def test_an_account_in_use_is_not_deleted(bench: Bench) -> None:
    account = bench.create(ACME)
    contact = bench.create(CrmContact(email="jo@acme-logistics.com", last_name="Lee"), "firstvalue:jo")
    bench.connector().associate("contact", contact, "company", account)
    with pytest.raises(ProviderError, match="has contacts") as refused:
        bench.connector().undo("company", account)
    assert refused.value.kind is Kind.CONFLICT
    bench.connector().undo("contact", contact)
    bench.connector().undo("company", account)
    assert bench.bodies("Account") == {}


def test_a_contact_of_another_account_stays_there(bench: Bench) -> None:
    account, other = bench.create(ACME), bench.create(CrmAccount(name="Other"), "firstvalue:other")
    contact = bench.create(CrmContact(email="jo@acme-logistics.com", last_name="Lee"), "firstvalue:jo")
    bench.connector().associate("contact", contact, "company", other)
    with pytest.raises(ProviderError) as refused:
        bench.connector().associate("contact", contact, "company", account)
    assert refused.value.kind is Kind.CONFLICT
    assert bench.bodies("Contact")[contact]["AccountId"] == other


@pytest.mark.parametrize("value", ["' OR Name != '", "\\", "\\' OR Id != null", "%", "_", "a'b\nc", "ünï\u2028"])
def test_a_value_ends_no_query_and_is_no_wildcard(bench: Bench, value: str) -> None:
    bench.create(ACME)
    for name in ("reference", "domain", "name+billing-email"):
        assert bench.connector().find("company", MatchKey(name, value, extra=value)) == []


def test_too_many_calls_are_a_rate_limit(bench: Bench) -> None:
    bench.connector().probe()
    bench.sandbox.add_fault("salesforce", "rate_limit", count=1)
    with pytest.raises(ProviderError) as refused:
        bench.connector().get("company", new_id("Account", "1"))
    assert (refused.value.kind, refused.value.http_status) == (Kind.RATE_LIMIT, 403)
    assert refused.value.retry_after


def test_a_missing_last_name_is_named(bench: Bench) -> None:
    with pytest.raises(ProviderError) as refused:
        bench.create(CrmContact(email="jo@acme-logistics.com", first_name="Jo"))
    assert refused.value.kind is Kind.INVALID
    assert [each.field for each in refused.value.fields] == ["last_name"]


def test_an_inactive_owner_is_named_and_owns_nothing(bench: Bench) -> None:
    active, gone = new_id("User", "1"), new_id("User", "3")
    with pytest.raises(ProviderError) as refused:
        bench.create(CrmAccount(name="Acme", owner_id=gone))
    assert [each.field for each in refused.value.fields] == ["owner_id"]
    assert (bench.connector().person(active), bench.connector().person(gone)) == ("Sam Sales", None)
    (deal,) = bench.sandbox.seed("salesforce", "Opportunity", [{"Name": "Deal", "OwnerId": gone}])
    facts = bench.connector().lookup_owner(domain="", deal_id=deal)  # type: ignore[attr-defined]
    assert (facts.owner_id, "no active user" in facts.note) == ("", True)
    bench.create(ACME)
    facts = bench.connector().lookup_owner(domain="acme-logistics.com", deal_id=deal)  # type: ignore[attr-defined]
    assert facts.owner_id == active


def test_an_amount_in_another_currency_is_left_out(bench: Bench) -> None:
    for currency, amount in (("USD", None), ("EUR", 120.5)):
        made = bench.create(Deal(name="Deal", amount="120.50", currency=currency), f"firstvalue:{currency}")
        assert bench.bodies("Opportunity")[made].get("Amount") == amount
