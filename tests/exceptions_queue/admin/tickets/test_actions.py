"""Each role by real POSTs: what a person may not do is neither offered nor done."""

import pytest

from exceptions_queue.models import Ticket
from exceptions_queue.tickets.actions import ACTIONS
from integrations import clock
from integrations.enums import Breaker
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import ChangeStatus, Status
from onboarding.models import AuditEntry, ChangeRequest, MatchChoice, ObjectMapping, OnboardingTransaction
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import As, Pay, act, hidden, open_ticket, page, text


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_a_get_changes_nothing(missing: Ticket, as_: As, name: str) -> None:
    assert as_("admin").get(act(missing, name)).status_code == 405


def test_an_unknown_action_is_not_found(missing: Ticket, as_: As) -> None:
    assert as_("admin").post(act(missing, "explode")).status_code == 404
    assert as_("admin").get("/admin/exceptions_queue/ticket/999/change/").status_code == 404


def test_a_ticket_page_takes_no_post(missing: Ticket, as_: As) -> None:
    assert as_("admin").post(page(missing)).status_code == 405


def test_a_stranger_is_sent_to_the_login(missing: Ticket, client: object) -> None:
    from django.test import Client

    answer = Client().get(page(missing))
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


def test_staff_without_a_role_see_no_ticket(missing: Ticket, as_: As, people: dict[str, object]) -> None:
    from django.contrib.auth.models import User

    User.objects.get(username="sales").groups.clear()
    assert as_("sales").get(page(missing)).status_code == 403
    assert as_("sales").post(act(missing, "note"), {"text": "hello"}).status_code == 403


def test_candidates_are_shown_side_by_side_and_one_is_chosen(ambiguous: Ticket, as_: As, drain: Drain) -> None:
    client = as_("sales")
    shown = client.get(page(ambiguous))
    assert "HubSpot has two companies on beta-works.com: which one is Beta Works?" in text(shown)
    assert "Beta Works GmbH" in text(shown)
    assert "Beta (old)" in text(shown)
    wanted = ambiguous.candidates[0]["external_id"]
    answer = client.post(act(ambiguous, "choose-match"), {"external_id": wanted}, follow=True)
    assert "Your choice is saved for this customer" in text(answer)
    drain()
    assert ObjectMapping.objects.get(step__key="crm.account").external_id == wanted
    assert OnboardingTransaction.objects.get().status == Status.COMPLETE


def test_none_of_these_creates_a_new_one(ambiguous: Ticket, as_: As, drain: Drain) -> None:
    as_("sales").post(act(ambiguous, "choose-match"), {"create": "true"})
    drain()
    assert ObjectMapping.objects.get(step__key="crm.account").created_by_us


def test_what_is_not_among_the_candidates_is_refused(ambiguous: Ticket, as_: As) -> None:
    answer = as_("sales").post(act(ambiguous, "choose-match"), {"external_id": "1"}, follow=True)
    assert "Not done: 1 is not among the candidates." in text(answer)
    assert not MatchChoice.objects.exists()


def test_sales_may_not_link_objects(ambiguous: Ticket, as_: As) -> None:
    assert "Link another company" not in text(as_("sales").get(page(ambiguous)))
    answer = as_("sales").post(act(ambiguous, "link-object"), {"external_id": "20100000001"})
    assert answer.status_code == 403
    assert "sales may not link an object on this ticket" in text(answer)
    assert not MatchChoice.objects.exists()


def test_sales_may_not_act_on_supports_ticket(support_ticket: Ticket, as_: As) -> None:
    shown = as_("sales").get(page(support_ticket))
    assert "This ticket belongs to another queue" in text(shown)
    assert "Yes, use it" not in text(shown)
    for name, data in (
        ("choose-match", {"create": "true"}),
        ("retry", {}),
        ("note", {"text": "let me"}),
        ("assign", {"queue": "sales-ops", "owner": "sales"}),
    ):
        assert as_("sales").post(act(support_ticket, name), data).status_code == 403
    support_ticket = Ticket.objects.get(pk=support_ticket.pk)
    assert support_ticket.queue == "support-ops"
    assert not MatchChoice.objects.exists()


def test_support_links_its_own_objects(support_ticket: Ticket, as_: As, drain: Drain) -> None:
    wanted = support_ticket.candidates[0]["external_id"]
    as_("support").post(act(support_ticket, "link-object"), {"external_id": f" {wanted} "})
    drain()
    assert ObjectMapping.objects.get(step__key="support.organization").external_id == wanted


def test_new_organization_shows_the_name_it_will_get(support_ticket: Ticket, as_: As, drain: Drain) -> None:
    browser = as_("support")
    shown = text(browser.get(page(support_ticket)))
    assert "Is this Beta Works?" in shown
    assert "it is called “Beta Works (beta-works.com)”" in shown
    browser.post(act(support_ticket, "choose-match"), {"create": "true"})
    drain()
    assert ObjectMapping.objects.get(step__key="support.organization").created_by_us


@pytest.mark.parametrize("wrong", ["abc/../1", "..", "a b", "https://acme.zendesk.com/agent/1", "1?x=2", "x\u200b1"])
def test_invalid_id_is_reported_at_its_field(support_ticket: Ticket, as_: As, wrong: str) -> None:
    answer = as_("support").post(act(support_ticket, "link-object"), {"external_id": wrong})
    assert answer.status_code == 422
    assert "give the id alone" in text(answer)
    assert not MatchChoice.objects.exists()


def test_choice_waits_while_the_breaker_is_open(support_ticket: Ticket, as_: As) -> None:
    Connection.objects.filter(slug="zendesk").update(breaker=Breaker.OPEN)
    data = {"external_id": support_ticket.candidates[0]["external_id"]}
    shown = text(as_("support").post(act(support_ticket, "choose-match"), data, follow=True))
    assert "Resumes when Zendesk is reconnected." in shown
    assert "any moment now" not in shown
    assert "retried now" not in shown


def test_a_lead_assigns_and_the_new_owner_acts(support_ticket: Ticket, as_: As) -> None:
    answer = as_("lead").post(act(support_ticket, "assign"), {"queue": "support-ops", "owner": "sales"}, follow=True)
    assert "Assigned to Support operations, sales." in text(answer)
    assert "Yes, use it" in text(as_("sales").get(page(support_ticket)))
    assert as_("support").post(act(support_ticket, "assign"), {"queue": "finance"}).status_code == 403


def test_the_ticket_of_a_cancelled_run_says_so(support_ticket: Ticket, as_: As) -> None:
    services.cancel(support_ticket.transaction_id, actor="lead", reason="The customer withdrew")
    shown = text(as_("support").get(page(support_ticket)))
    assert "The step was skipped. The run is cancelled; no further steps run." in shown
    assert "The run continues" not in shown


def test_a_note_is_kept_and_shown_as_text(missing: Ticket, as_: As) -> None:
    answer = as_("sales").post(act(missing, "note"), {"text": "<script>alert(1)</script>"}, follow=True)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.content.decode()
    assert "<script>alert(1)" not in answer.content.decode()
    assert as_("sales").post(act(missing, "note"), {"text": " "}).status_code == 422


def test_finance_reads_and_sees_no_personal_data(pay: Pay, as_: As) -> None:
    ticket = open_ticket(pay("beta", customer__primary_contact__email="tbd@beta-works.com"))
    for url in (page(ticket), f"/admin/onboarding/onboardingtransaction/{ticket.transaction_id}/change/"):
        shown = as_("finance").get(url)
        assert shown.status_code == 200
        assert "tbd@beta-works.com" not in shown.content.decode()
        assert "Ann Beta" not in shown.content.decode()
    assert (
        as_("finance").post(act(ticket, "fix"), {"customer.primary_contact.email": "a@beta-works.com"}).status_code
        == 403
    )


def test_the_page_follows_a_retry(
    pay: Pay, sandbox: SandboxControl, connections: dict[str, Connection], as_: As, drain: Drain
) -> None:
    fault = sandbox.add_fault("asana", "error_before", status=422)
    run = pay("beta")
    drain()
    ticket = open_ticket(run)
    live = f"/admin/exceptions_queue/ticket/{ticket.pk}/live/"
    engineer = as_("engineer")
    before = engineer.get(live).json()
    assert before["moving"] is False
    sandbox.clear_faults(fault)
    answer = engineer.post(act(ticket, "retry"), follow=True)
    assert "It is being retried now" in text(answer)
    during = engineer.get(live).json()
    assert during["moving"] is True
    assert during["version"] != before["version"]
    drain()
    after = engineer.get(live).json()
    assert after["moving"] is False
    assert "The run is complete" in after["html"]


# --- Each role, each action --------------------------------------------------------------------------------------------

QUEUE_OF = {
    "sales": "sales-ops",
    "support": "support-ops",
    "engineer": "revenue-operations",
    "finance": "finance",
    "lead": "leads",
}
DATA = {
    "done": {"text": "Renamed it at the vendor"},
    "fix": {"customer.legal_name": "Beta Works AG"},
    "choose-match": {"create": "true"},
    "retry": {},
    "link-object": {"external_id": "999"},
    "replay": {},
    "skip": {"reason": "Done by hand"},
    "rollback": {"reason": "The customer withdrew"},
    "assign": {"queue": "leads", "owner": ""},
    "note": {"text": "Seen"},
    "snooze": {"minutes": "60", "reason": "They answer after lunch"},
}
MAY = {
    "done": {"sales", "support", "engineer", "finance", "lead"},
    "fix": {"sales", "support", "engineer", "lead"},
    "choose-match": {"sales", "support", "engineer", "lead"},
    "retry": {"sales", "support", "engineer", "finance", "lead"},
    "link-object": {"support", "engineer"},
    "replay": {"support", "engineer", "lead"},
    "skip": {"support", "engineer", "finance", "lead"},
    "rollback": {"engineer", "finance", "lead"},
    "assign": {"engineer", "lead"},
    "note": {"sales", "support", "engineer", "finance", "lead"},
    "snooze": {"sales", "support", "engineer", "finance", "lead"},
}
OFFERED_FOR = {"fix": "validation-error", "choose-match": "unknown-outcome"}
"""The category in which an action makes sense; most do after a server error."""


def test_the_table_names_every_action() -> None:
    """But the answers to an approval, which no other ticket takes: ``test_who_may_approve_follows_the_queue``."""
    assert set(MAY) == set(DATA) == set(ACTIONS) - {"approve", "reject"}


@pytest.mark.one_database("postgres")
@pytest.mark.parametrize("who", sorted(QUEUE_OF))
@pytest.mark.parametrize("name", sorted(MAY))
def test_each_role_can_only_perform_its_permitted_ticket_actions(
    support_ticket: Ticket, as_: As, name: str, who: str
) -> None:
    problems = [{"path": "customer.legal_name", "name": "name", "reason": "is taken"}] if name == "fix" else []
    category = OFFERED_FOR.get(name, "server-error")
    Ticket.objects.filter(pk=support_ticket.pk).update(queue=QUEUE_OF[who], category=category, problems=problems)
    if name == "done":
        assert support_ticket.transaction
        change = ChangeRequest.objects.create(
            transaction=support_ticket.transaction,
            proposed={},
            digest="0",
            status=ChangeStatus.APPLIED,
            created_at=clock.now(),
        )
        Ticket.objects.filter(pk=support_ticket.pk).update(change_request=change, step=None)
    before = AuditEntry.objects.filter(actor=who).count()

    client, url = as_(who), act(support_ticket, name)
    answer = client.post(
        url, hidden(client.get(page(support_ticket)), url, holding=next(iter(DATA[name]), "")) | DATA[name]
    )

    did = AuditEntry.objects.filter(actor=who).count() > before
    assert (answer.status_code, did) == ((302, True) if who in MAY[name] else (403, False))
