"""HubSpot: what we created is archived, once or twice over, and what others did to it in the meantime shows."""

import json

import pytest

from integrations import clock
from integrations.connectors.objects import CrmAccount, CrmContact, CrmNote, Deal
from integrations.errors import Kind
from tests.integrations.sandbox.conftest import Vendor
from tests.integrations.vendors.hubspot.test_connector import ACME, REFERENCE, crm, refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("sqlite")]
KINDS = {"company": "companies", "contact": "contacts", "deal": "deals", "note": "notes"}
CHANGES = {
    "company": {"city": "Bonn"}, "contact": {"jobtitle": "CFO"}, "deal": {"amount": "1"}, "note": {"hs_note_body": "x"},
}  # fmt: skip


@pytest.fixture
def made(hubspot):
    """One object of each kind: its id by kind."""
    company = crm(hubspot).create(CrmAccount.of(ACME), REFERENCE).external_id
    contact = crm(hubspot).create(CrmContact(email="jordan@acme.com"), "").external_id
    deal = crm(hubspot).create(Deal(name="Acme", transaction_id="pay_1"), "pay_1").external_id
    brief = {"body": "<p>Brief</p>", "at": "2026-11-22T10:00:00Z", "company_id": company, "deal_id": deal}
    note = crm(hubspot).create(CrmNote.of(brief), "pay_1").external_id
    return {"company": company, "contact": contact, "deal": deal, "note": note}


def somebody(sandbox, method, path, body=None):
    """As another user of this HubSpot would."""
    vendor = Vendor(sandbox.base_url, "hubspot")
    vendor(method, f"/crm/{path}", body).raise_for_status()
    vendor.session.close()


def left(sandbox):
    counted = sandbox.counts()["vendors"]["hubspot"]
    return [kind for kind, of_vendor in KINDS.items() if counted[of_vendor]["total"]]


@pytest.mark.parametrize("kind", KINDS)
def test_undo_archives_it_and_nothing_else_however_often(hubspot, sandbox, made, kind):
    assert crm(hubspot).reversible(kind)
    for _ in range(2):
        crm(hubspot).undo(kind, made[kind])
        assert crm(hubspot).get(kind, made[kind]) is None
        assert left(sandbox) == [each for each in KINDS if each != kind]


def test_undo_of_an_archived_object_succeeds(hubspot, sandbox, made):
    somebody(sandbox, "DELETE", f"v3/objects/companies/{made['company']}")
    crm(hubspot).undo("company", made["company"])
    crm(hubspot).undo("deal", "404")
    sandbox.add_fault("hubspot", "error_before", method="DELETE", status=404, count=1)
    crm(hubspot).undo("contact", "405")
    assert left(sandbox) == ["contact", "deal", "note"]


def test_undo_under_the_dated_prefix(hubspot, sandbox, made):
    crm(hubspot, prefix="/crm/objects/2026-03").undo("note", made["note"])
    assert sandbox.requests("hubspot")[-1]["path"] == f"/crm/objects/2026-03/notes/{made['note']}"
    assert left(sandbox) == ["company", "contact", "deal"]


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (403, Kind.FORBIDDEN, "HubSpot does not allow this: This app hasn't been granted all required scopes"),
        (409, Kind.CONFLICT, "HubSpot says that this conflicts with what it has: Something went wrong"),
        (422, Kind.INVALID, "HubSpot did not accept the request: Something went wrong"),
    ],
)
def test_a_refused_undo_says_what_stays_and_why(hubspot, sandbox, made, status, kind, words):
    sandbox.add_fault("hubspot", "error_before", method="DELETE", status=status, count=1)
    error = refused(lambda: crm(hubspot).undo("deal", made["deal"]))
    assert (error.kind, error.http_status, error.effect_possible) == (kind, status, False)
    assert error.message.startswith(f"The deal {made['deal']} could not be deleted: {words}")
    assert "deal" in left(sandbox)


@pytest.mark.parametrize("fault", ["error_after", "reset_after", "wrong_shape", "malformed"])
def test_undo_with_a_lost_answer_can_be_repeated(hubspot, sandbox, made, fault):
    sandbox.add_fault("hubspot", fault, method="DELETE", count=1)
    assert refused(lambda: crm(hubspot).undo("company", made["company"])).effect_possible
    crm(hubspot).undo("company", made["company"])
    assert left(sandbox) == ["contact", "deal", "note"]


def test_undo_of_an_irreversible_kind_is_a_programming_error(hubspot):
    assert not crm(hubspot).reversible("invoice")
    with pytest.raises(TypeError, match="hubspot cannot undo a invoice"):
        crm(hubspot).undo("invoice", "1")


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_by_somebody_else_shows(hubspot, sandbox, made, kind):
    before = crm(hubspot).get(kind, made[kind])
    assert abs((clock.now() - before.changed_at).total_seconds()) < 60
    assert crm(hubspot).get(kind, made[kind]) == before
    somebody(sandbox, "PATCH", f"v3/objects/{KINDS[kind]}/{made[kind]}", {"properties": CHANGES[kind]})
    after = crm(hubspot).get(kind, made[kind])
    assert after.changed_at > before.changed_at
    assert json.loads(json.dumps(after.as_dict()))["changed_at"] == after.changed_at.isoformat()


def test_what_hubspot_counts_of_a_record_changes_it_too(hubspot, made):
    """So the engine must not take every later stamp for somebody's work."""
    before = crm(hubspot).get("company", made["company"]).changed_at
    crm(hubspot).associate("contact", made["contact"], "company", made["company"])
    tied = crm(hubspot).get("company", made["company"]).changed_at
    crm(hubspot).create(CrmNote(body="x", at="2026-11-22T10:00:00Z", company_id=made["company"]), "pay_2")
    assert before < tied < crm(hubspot).get("company", made["company"]).changed_at
