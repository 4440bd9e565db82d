"""What is there already: conflicts, namesakes and several matches."""

from typing import Any

import pytest

from exceptions_queue.models import Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations.sandbox.control import SandboxControl
from integrations.vendors.zendesk.connector import Zendesk
from onboarding import services
from onboarding.enums import Category, Scope, Status
from onboarding.models import MatchChoice, OnboardingTransaction
from onboarding.services import Refused
from tests.conftest import Drain
from tests.integrations.sandbox.conftest import Vendor
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_flow import created

KIM = Actor("kim", Scope.OPERATE)

pytestmark = pytest.mark.usefixtures("connections")


def test_a_contact_that_appears_meanwhile_is_a_conflict_and_linked(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    # The look-up comes too early: only the create meets the truth.
    (contact,) = sandbox.seed("hubspot", "contacts", [{"email": "jordan@acme-logistics.com"}])
    sandbox.add_fault("hubspot", "error_before", method="GET", path="*/contacts/*", status=404, count=1)
    run = accept()
    drain()
    assert run.mappings.get(kind="contact").external_id == contact
    refused = [r["status"] for r in sandbox.requests("hubspot") if r["path"] == "/crm/v3/objects/contacts"]
    assert refused == [409]
    settled()


def test_help_desk_namesake_on_another_domain_is_ambiguous(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    (namesake,) = sandbox.seed(
        "zendesk", "organizations", [{"name": "Acme Logistics", "domain_names": ["acme-logistics.fr"]}]
    )
    run = accept()
    drain()
    ticket = ticket_of(run, "support.organization")
    assert ticket.category == Category.AMBIGUOUS_MATCH
    assert [candidate["external_id"] for candidate in ticket.candidates] == [namesake]
    settled()


def test_a_namesake_at_the_help_desk_on_the_same_domain_is_linked(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    (same,) = sandbox.seed(
        "zendesk", "organizations", [{"name": "ACME logistics", "domain_names": ["acme-logistics.com"]}]
    )
    run = accept()
    drain()
    assert status_of(run) == Status.COMPLETE
    assert run.mappings.get(kind="organization").external_id == same
    settled()


@pytest.mark.parametrize(("domain", "linked"), [("acme-logistics.com", True), ("acme-logistics.fr", False)])
def test_a_name_that_search_shows_too_late_is_met_as_a_duplicate_value(
    domain: str,
    linked: bool,
    accept: Accept,
    drain: Drain,
    sandbox: SandboxControl,
    settled: Settled,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (same,) = sandbox.seed("zendesk", "organizations", [{"name": "Acme Logistics", "domain_names": [domain]}])
    search, lagging = Zendesk._search, [True, True]  # by reference, by name
    monkeypatch.setattr(Zendesk, "_search", lambda *args: [] if lagging and lagging.pop() else search(*args))
    run = accept()
    drain()
    assert 422 in [request["status"] for request in sandbox.requests("zendesk")]
    if linked:
        assert status_of(run) == Status.COMPLETE, shown(run)
        assert run.mappings.get(kind="organization").external_id == same
    else:
        assert ticket_of(run, "support.organization").category == Category.AMBIGUOUS_MATCH
    settled()


def test_duplicate_name_missing_from_search_goes_to_support(
    accept: Accept, drain: Drain, settled: Settled, sandbox: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.seed("zendesk", "organizations", [{"name": "Acme Logistics"}])
    monkeypatch.setattr(Zendesk, "_search", lambda *_: [])
    run = accept()
    drain()
    ticket = ticket_of(run, "support.organization")
    assert ticket.category == Category.VALIDATION_ERROR
    # Another name for the customer is no way out.
    assert [problem["path"] for problem in ticket.problems] == [""]
    assert ticket.queue == "support-ops"
    assert "link-object" in {action.name for action in actions.available(ticket, KIM)}
    settled()


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ({}, "Acme Logistics (acme-logistics.com)"),
        (
            {
                "customer__domain": "",
                "customer__no_domain": True,
                "commercial__billing_email": "pay@acme-logistics.com",
            },
            "Acme Logistics (pay@acme-logistics.com)",
        ),
    ],
)
def test_a_new_organization_beside_a_namesake_is_told_apart_by_its_name(
    overrides: dict[str, Any], name: str, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.seed("zendesk", "organizations", [{"name": "Acme Logistics"}])
    run = accept(**overrides)
    drain()
    actions.perform(ticket_of(run, "support.organization").pk, "choose-match", KIM, create=True)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    made = run.mappings.get(kind="organization").external_id
    names = {each["id"]: each["body"]["name"] for each in sandbox.objects("zendesk", "organizations")}
    assert names[made] == name
    settled()


@pytest.fixture
def ambiguous(accept: Accept, drain: Drain, sandbox: SandboxControl) -> Ticket:
    """The ticket of a run whose customer has two accounts in the CRM."""
    sandbox.seed("hubspot", "companies", [{"name": name, "domain": "acme-logistics.com"} for name in ("Acme", "ACME")])
    run = accept()
    drain()
    return ticket_of(run, "crm.account")


def run_of(ticket: Ticket) -> OnboardingTransaction:
    assert ticket.transaction is not None
    return ticket.transaction


def test_two_accounts_on_one_domain_are_ambiguous(ambiguous: Ticket, sandbox: SandboxControl, settled: Settled) -> None:
    assert ambiguous.category == Category.AMBIGUOUS_MATCH
    assert ambiguous.queue == "sales-ops"
    assert {candidate["label"] for candidate in ambiguous.candidates} == {"Acme", "ACME"}
    assert created(sandbox) == {}
    settled()


def test_chosen_match_is_linked(ambiguous: Ticket, drain: Drain, sandbox: SandboxControl, settled: Settled) -> None:
    chosen = ambiguous.candidates[1]["external_id"]
    actions.perform(ambiguous.pk, "choose-match", KIM, external_id=chosen)
    drain()
    run = run_of(ambiguous)
    assert status_of(run) == Status.COMPLETE
    assert run.mappings.get(kind="company").external_id == chosen
    assert sandbox.counts()["vendors"]["hubspot"]["companies"]["created"] == 0
    settled()


def test_the_choice_is_kept_for_the_customers_next_run(
    ambiguous: Ticket, accept: Accept, drain: Drain, settled: Settled
) -> None:
    chosen = ambiguous.candidates[1]["external_id"]
    actions.perform(ambiguous.pk, "choose-match", KIM, external_id=chosen)
    drain()
    second = accept(onboarding_transaction_id="pay_2")
    drain()
    assert status_of(second) == Status.COMPLETE
    assert second.mappings.get(kind="company").external_id == chosen
    assert Ticket.objects.count() == 1
    settled()


def test_one_choice_resolves_all_runs_with_the_same_question(
    ambiguous: Ticket, accept: Accept, drain: Drain, settled: Settled
) -> None:
    others = [accept(onboarding_transaction_id=f"pay_{number}") for number in (2, 3)]
    drain()
    assert Ticket.objects.filter(category=Category.AMBIGUOUS_MATCH, resolved_at=None).count() == 3
    actions.perform(ambiguous.pk, "choose-match", KIM, external_id=ambiguous.candidates[0]["external_id"])
    drain()
    assert [status_of(run) for run in others] == [Status.COMPLETE, Status.COMPLETE]
    settled()


def test_choosing_a_new_one_creates_it_once(
    ambiguous: Ticket, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    actions.perform(ambiguous.pk, "choose-match", KIM, create=True)
    drain()
    second = accept(onboarding_transaction_id="pay_2")
    drain()
    assert [status_of(run) for run in (run_of(ambiguous), second)] == [Status.COMPLETE, Status.COMPLETE]
    assert sandbox.counts()["vendors"]["hubspot"]["companies"]["created"] == 1
    assert len({each.mappings.get(kind="company").external_id for each in OnboardingTransaction.objects.all()}) == 1


def test_a_choice_is_one_of_the_candidates(ambiguous: Ticket) -> None:
    with pytest.raises(Refused, match="not among the candidates"):
        actions.perform(ambiguous.pk, "choose-match", KIM, external_id="1")
    assert not MatchChoice.objects.exists()


def test_linking_a_missing_object_reopens_the_question(
    ambiguous: Ticket, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    actions.perform(ambiguous.pk, "link-object", KIM, external_id="99999999")
    drain()
    again = ticket_of(run_of(ambiguous), "crm.account")
    assert again.category == Category.AMBIGUOUS_MATCH
    assert "99999999" in again.message
    assert len(again.candidates) == 2
    assert {"choose-match", "link-object"} <= {action.name for action in actions.available(again, KIM)}
    assert not MatchChoice.objects.exists()
    assert created(sandbox) == {}
    right = again.candidates[0]["external_id"]
    actions.perform(again.pk, "link-object", KIM, external_id=right)
    drain()
    assert status_of(run_of(ambiguous)) == Status.COMPLETE
    next_run = accept(onboarding_transaction_id="pay_2")
    drain()
    assert status_of(next_run) == Status.COMPLETE, shown(next_run)
    assert next_run.mappings.get(kind="company").external_id == right
    settled()


def test_the_customers_next_run_asks_anew_after_a_link_to_nothing(
    ambiguous: Ticket, accept: Accept, drain: Drain, settled: Settled
) -> None:
    actions.perform(ambiguous.pk, "link-object", KIM, external_id="99999999")
    drain()
    next_run = accept(onboarding_transaction_id="pay_2")
    drain()
    ticket = ticket_of(next_run, "crm.account")
    assert ticket.category == Category.AMBIGUOUS_MATCH
    assert "99999999" not in ticket.message
    settled()


def test_a_choice_for_a_step_that_asks_nothing_is_refused(accept: Accept, drain: Drain) -> None:
    run = accept()
    drain()
    with pytest.raises(Refused, match="does not wait for a choice"):
        services.choose_match(step_of(run, "crm.account").pk, external_id="1", actor="kim")


def test_archived_account_is_restored_or_recreated_by_a_person(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    first = accept()
    drain()
    gone = first.mappings.get(kind="company").external_id
    as_somebody(sandbox, "DELETE", gone)
    second, third = (accept(onboarding_transaction_id=f"pay_{number}") for number in (2, 3))
    drain()
    ticket = ticket_of(second, "crm.account")
    assert ticket.category == Category.AMBIGUOUS_MATCH
    assert f"HubSpot has archived the company “Acme Logistics” ({gone})" in ticket.message
    assert created(sandbox).get("companies") is None, "nobody asked for another one"
    actions.perform(ticket.pk, "choose-match", KIM, create=True)
    drain()
    assert status_of(second) == status_of(third) == Status.COMPLETE, [*shown(second), *shown(third)]
    (made,) = {run.mappings.get(kind="company").external_id for run in (second, third)}
    assert made != gone
    settled()


def test_earlier_choice_does_not_apply_to_a_later_archived_object(
    ambiguous: Ticket, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    actions.perform(ambiguous.pk, "choose-match", KIM, create=True)
    drain()
    made = run_of(ambiguous).mappings.get(kind="company").external_id
    as_somebody(sandbox, "DELETE", made)
    later = accept(onboarding_transaction_id="pay_2")
    drain()
    assert "has archived the company" in ticket_of(later, "crm.account").message


def test_merged_account_is_confirmed_by_a_person(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    first = accept()
    drain()
    other = first.mappings.get(kind="company").external_id
    (survivor,) = sandbox.seed("hubspot", "companies", [{"name": "Acme Group", "domain": "acme-group.com"}])
    as_somebody(sandbox, "POST", "merge", {"primaryObjectId": survivor, "objectIdToMerge": other})
    second = accept(onboarding_transaction_id="pay_2")
    drain()
    ticket = ticket_of(second, "crm.account")
    assert ticket.category == Category.AMBIGUOUS_MATCH
    assert f"HubSpot has merged the company {other} into “Acme Group” ({survivor})" in ticket.message
    assert [each["external_id"] for each in ticket.candidates] == [survivor]
    actions.perform(ticket.pk, "choose-match", KIM, external_id=survivor)
    drain()
    third = accept(onboarding_transaction_id="pay_3")
    drain()
    assert status_of(second) == status_of(third) == Status.COMPLETE, [*shown(second), *shown(third)]
    assert {run.mappings.get(kind="company").external_id for run in (second, third)} == {survivor}
    settled()


def test_a_rollback_leaves_what_was_merged_into_another(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept()
    drain()
    other = run.mappings.get(kind="company").external_id
    (survivor,) = sandbox.seed("hubspot", "companies", [{"name": "Acme Group", "domain": "acme-group.com"}])
    as_somebody(sandbox, "POST", "merge", {"primaryObjectId": survivor, "objectIdToMerge": other})
    (verdict,) = [each for each in services.rollback_preview(run.pk) if each.kind == "company"]
    assert (verdict.verdict, "merged into “Acme Group”" in verdict.text) == ("keep", True)
    services.rollback(run.pk, actor="kim", reason="They cancelled.")
    drain()
    assert status_of(run) == Status.ROLLED_BACK
    assert [each["id"] for each in sandbox.objects("hubspot", "companies")] == [survivor]


def test_customer_with_another_known_domain_gets_no_second_account(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    seed = {"name": "Acme", "domain": "acme.com", "hs_additional_domains": "acme.eu;acme-logistics.com"}
    (known,) = sandbox.seed("hubspot", "companies", [seed])
    run = accept()
    drain()
    assert run.mappings.get(kind="company").external_id == known
    assert sandbox.counts()["duplicates"] == 0


def test_two_accounts_listing_the_domain_are_ambiguous(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    seeds = [{"domain": "acme.com", "hs_additional_domains": "acme-logistics.com"}, {"domain": "acme-logistics.com"}]
    known = sandbox.seed("hubspot", "companies", seeds)
    run = accept()
    drain()
    assert [each["external_id"] for each in ticket_of(run, "crm.account").candidates] == known


def as_somebody(sandbox: SandboxControl, method: str, path: str, body: Any = None) -> None:
    """As another user of this HubSpot would do it to companies."""
    vendor = Vendor(sandbox.base_url, "hubspot")
    vendor(method, f"/crm/v3/objects/companies/{path}", body).raise_for_status()
    vendor.session.close()
