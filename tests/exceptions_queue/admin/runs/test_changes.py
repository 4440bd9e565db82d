"""Change requests at the console: seen, previewed, applied or rejected, and asked for."""

import re
from typing import Any

import pytest

from exceptions_queue.models import Ticket
from exceptions_queue.tickets import lifecycle
from integrations import clock
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import ChangeStatus, OriginKind, Status
from onboarding.intake import service
from onboarding.models import ChangeRequest, OnboardingTransaction
from onboarding.payload.schema import OnboardingPayload, get, with_value
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import RUNS, As, Pay, act, page, text


@pytest.fixture
def run(pay: Pay, connections: dict[str, Connection], drain: Drain) -> OnboardingTransaction:
    made = pay("beta")
    drain()
    return OnboardingTransaction.objects.get(pk=made.pk)


@pytest.fixture
def asked(run: OnboardingTransaction) -> ChangeRequest:
    """Billing tells another country and another contact of a complete run."""
    content = with_value(run.payload, "customer.country", "AT")
    content = with_value(content, "customer.primary_contact", {"name": "Kim Sato", "email": "kim@beta-works.com"})
    service.accept(OnboardingPayload.model_validate(content).content(), actor="tests")
    return ChangeRequest.objects.get()


def address(change: ChangeRequest, more: str = "") -> str:
    return f"{RUNS}{change.transaction_id}/changes/{change.pk}/{more}"


def seen(page: Any) -> dict[str, str]:
    found = re.search(r'name="seen" value="(\w+)"', page.content.decode())
    assert found
    return {"seen": found[1]}


def test_change_request_is_listed_on_home_list_and_run_until_decided(asked: ChangeRequest, as_: As) -> None:
    sales = as_("sales")
    assert "1 change request waits" in text(sales.get("/admin/"))
    assert "Beta Works" in text(sales.get(f"{RUNS}?change=waits"))
    assert "See what it would do, and decide" in text(sales.get(f"{RUNS}{asked.transaction_id}/change/"))
    services.reject_change(asked.pk, actor="lee", reason="A mistake.")
    assert "change request waits" not in text(sales.get("/admin/"))
    assert "Beta Works" not in text(sales.get(f"{RUNS}?change=waits"))
    assert "Rejected by lee" in text(sales.get(f"{RUNS}{asked.transaction_id}/change/"))


def test_change_preview_matches_what_is_applied(
    asked: ChangeRequest, as_: As, drain: Drain, sandbox: SandboxControl
) -> None:
    sales = as_("sales")
    page = sales.get(address(asked))
    for expected in (
        "kim@beta-works.com",
        "Changes the country of the company in HubSpot",
        "another contact",
        "Apply the change",
    ):
        assert expected in text(page)
    assert asked.transaction.snapshot_version == 1
    assert "The change is applied" in text(sales.post(address(asked), seen(page), follow=True))
    drain()
    run = OnboardingTransaction.objects.get()
    assert (run.status, get(run.payload, "customer.country")) == (Status.COMPLETE, "AT")
    assert len(sandbox.objects("hubspot", "contacts")) == 2
    shown = text(sales.get(f"{RUNS}{run.pk}/change/"))
    assert "a change request was applied" in shown
    assert "Applied by sales" in shown
    assert "Before Since then Country DE AT" in " ".join(shown.split())


def test_change_outdated_since_its_preview_is_not_applied(asked: ChangeRequest, as_: As, drain: Drain) -> None:
    sales = as_("sales")
    page = sales.get(address(asked))
    other = services.request_change(asked.transaction_id, {"customer.country": "CH"}, actor="kim")
    services.apply_change(other.pk, actor="kim")
    drain()
    answer = sales.post(address(asked), seen(page))
    assert (answer.status_code, "has changed since the preview" in text(answer)) == (409, True)
    assert ChangeRequest.objects.get(pk=asked.pk).status == ChangeStatus.OPEN


def test_it_is_rejected_with_a_reason(asked: ChangeRequest, as_: As) -> None:
    sales = as_("sales")
    assert sales.get(address(asked, "reject/")).status_code == 405
    assert sales.post(address(asked, "reject/"), {"reason": " "}).status_code == 422
    answer = sales.post(address(asked, "reject/"), {"reason": "A mistake in billing."}, follow=True)
    assert "rejected; the run is unchanged" in text(answer)
    assert "A mistake in billing." in text(answer)
    again = sales.post(address(asked, "reject/"), {"reason": "Once more."}, follow=True)
    assert "rejected already" in text(again)
    assert "rejected already" in text(sales.get(address(asked), follow=True))


@pytest.mark.parametrize(("person", "may"), [
    ("sales", True), ("finance", True), ("lead", True), ("engineer", True), ("support", False),
])  # fmt: skip
def test_who_may_decide(asked: ChangeRequest, as_: As, person: str, may: bool) -> None:
    browser = as_(person)
    expected = 200 if may else 403
    assert browser.get(address(asked)).status_code == expected
    assert browser.get(f"{RUNS}{asked.transaction_id}/data/").status_code == expected
    if not may:
        assert browser.post(address(asked), {"seen": "x"}).status_code == 403
        assert browser.post(address(asked, "reject/"), {"reason": "No."}).status_code == 403
        assert "change request waits" not in text(browser.get("/admin/"))
    assert ("See what it would do" in text(browser.get(f"{RUNS}{asked.transaction_id}/change/"))) is may


def test_personal_data_is_hidden_from_those_who_may_not_see_it(asked: ChangeRequest, as_: As) -> None:
    finance = as_("finance")
    for url in (address(asked), f"{RUNS}{asked.transaction_id}/data/", f"{RUNS}{asked.transaction_id}/change/"):
        page = finance.get(url).content.decode()
        assert "kim@beta-works.com" not in page
        assert "ann@beta-works.com" not in page
        assert "Kim Sato" not in page
    assert "AT" in text(finance.get(address(asked)))


def test_a_request_of_another_run_is_not_found(asked: ChangeRequest, pay: Pay, as_: As) -> None:
    other = pay("gamma")
    url = f"{RUNS}{other.pk}/changes/{asked.pk}/"
    assert as_("lead").get(url).status_code == 404
    assert as_("lead").post(f"{url}reject/", {"reason": "No."}).status_code == 404


# --- Asking for a change


def form_of(page: Any) -> dict[str, Any]:
    form = page.context["form"]
    data = {field.name: field.value() for field in form}
    return {name: form[name].field.prepare_value(value) for name, value in data.items() if value not in (None, False)}


def test_a_person_alters_data_sees_what_it_would_do_and_applies_it(
    run: OnboardingTransaction, as_: As, drain: Drain, sandbox: SandboxControl
) -> None:
    sales = as_("sales")
    url = f"{RUNS}{run.pk}/data/"
    given = form_of(sales.get(url)) | {"customer.legal_name": "Beta Freight", "customer.segment": ""}
    page = sales.post(url, given, follow=True)
    change = ChangeRequest.objects.get()
    assert (change.paths, change.origin, change.origin_name) == (
        ["customer.legal_name", "customer.segment"],
        OriginKind.PERSON,
        "sales",
    )
    assert "sales asked for this change" in text(page)
    assert "Changes the name of the organization in Zendesk" in text(page)
    assert OnboardingTransaction.objects.get().customer_name == "Beta Works"
    sales.post(address(change), seen(page))
    drain()
    run = OnboardingTransaction.objects.get()
    assert (run.customer_name, run.segment, run.status) == ("Beta Freight", "", Status.COMPLETE)
    (organization,) = sandbox.objects("zendesk", "organizations")
    assert organization["body"]["name"] == "Beta Freight"


def test_the_form_says_what_is_wrong(run: OnboardingTransaction, as_: As) -> None:
    sales = as_("sales")
    url = f"{RUNS}{run.pk}/data/"
    given = form_of(sales.get(url))
    same = sales.post(url, given)
    assert (same.status_code, "Nothing was changed yet." in text(same)) == (422, True)
    wrong = text(sales.post(url, given | {"customer.primary_contact.email": "a@a.com", "commercial.plan_sku": ""}))
    assert "is a placeholder" in wrong
    assert "is required" in wrong
    assert not ChangeRequest.objects.exists()


def test_a_cancelled_run_is_not_changed(asked: ChangeRequest, as_: As) -> None:
    run = asked.transaction
    services.replay(run.pk, "crm.account", actor="kim")
    services.cancel(run.pk, actor="lee", reason="Paid back.")
    lead = as_("lead")
    assert "cannot be changed any more" in text(lead.get(f"{RUNS}{run.pk}/data/", follow=True))
    page = text(lead.get(address(asked)))
    assert "its data is not changed any more" in page
    assert "Apply the change" not in page
    assert "change request waits" not in text(lead.get("/admin/"))


def test_the_ticket_of_a_change_leads_to_its_decision(asked: ChangeRequest, as_: As) -> None:
    ticket = Ticket.objects.get(change_request=asked)
    shown = as_("sales").get(page(ticket))
    assert "waits for a decision" in text(shown)
    assert address(asked) in shown.content.decode()
    assert "Roll the whole run back" not in text(shown)


def test_manual_change_is_closed_with_a_note(run: OnboardingTransaction, as_: As, drain: Drain) -> None:
    change = services.request_change(run.pk, {"customer.domain": "beta-freight.com"}, actor="kim")
    lifecycle.for_change(change, by_hand=["Change “Domain” in Asana: project 12."], due=clock.now())
    change.apply(by="kim", at=clock.now())
    change.save()
    ticket = Ticket.objects.get(change_request=change)
    sales = as_("sales")
    shown = sales.get(page(ticket))
    assert "must be made manually" in text(shown)
    assert "Change “Domain” in Asana: project 12." in text(shown)
    assert sales.post(act(ticket, "done"), {"text": " "}).status_code == 422
    done = sales.post(act(ticket, "done"), {"text": "Renamed it."}, follow=True)
    assert "the ticket closed" in text(done)
    assert Ticket.objects.get(pk=ticket.pk).resolution == "sales did it manually."


def test_a_name_that_looks_like_a_placeholder_is_requested_and_applied_where_it_is_confirmed(
    run: OnboardingTransaction, as_: As, drain: Drain
) -> None:
    sales, url = as_("sales"), f"{RUNS}{run.pk}/data/"
    given = form_of(sales.get(url)) | {"customer.legal_name": "Dummy"}
    assert "“Dummy” is correct" in text(sales.post(url, given))
    page = sales.post(url, given | {"confirm:customer.legal_name": "on"}, follow=True)
    sales.post(address(ChangeRequest.objects.get()), seen(page))
    drain()
    fresh = OnboardingTransaction.objects.get()
    assert (fresh.customer_name, fresh.status) == ("Dummy", Status.COMPLETE)
