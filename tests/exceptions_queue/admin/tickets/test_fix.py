"""Missing data: the form shows just what is missing, and saving it starts the onboarding."""

import pytest
from django.test import Client

from exceptions_queue.models import Ticket
from integrations.models import Connection
from onboarding.enums import Status
from onboarding.models import ObjectMapping, OnboardingTransaction
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import As, Pay, act, open_ticket, page, text

pytestmark = pytest.mark.one_database("postgres")


def test_the_form_asks_just_for_what_is_missing(missing: Ticket, as_: As) -> None:
    shown = as_("sales").get(page(missing))
    html = shown.content.decode()
    assert "is a mail provider" in text(shown)
    assert 'name="customer.domain"' in html
    assert 'value="gmail.com"' in html
    assert 'name="customer.no_domain"' in html
    assert 'name="commercial.plan_sku"' not in html
    assert "Beta Works paid, but the domain is missing or unusable" in text(shown)


def test_sales_fixes_it_and_the_run_completes(
    missing: Ticket, connections: dict[str, Connection], as_: As, drain: Drain
) -> None:
    client = as_("sales")
    answer = client.post(act(missing, "fix"), {"customer.domain": "beta-works.com"}, follow=True)
    assert answer.redirect_chain == [(page(missing), 302)]
    assert "The data is complete and the onboarding continues" in text(answer)
    drain()
    run = OnboardingTransaction.objects.get()
    assert run.status == Status.COMPLETE
    assert run.domain == "beta-works.com"
    assert "The run is complete" in text(client.get(page(missing)))


def test_a_refused_value_stands_in_the_form_with_its_reason(missing: Ticket, as_: As) -> None:
    answer = as_("sales").post(
        act(missing, "fix"), {"customer.domain": "hotmail.com", "commercial.billing_email": "bills at beta"}
    )
    assert answer.status_code == 422
    assert 'value="hotmail.com"' in answer.content.decode()
    assert "“hotmail.com” is a mail provider" in text(answer)
    assert "“bills at beta” is not an email address" in text(answer)
    assert open_ticket(OnboardingTransaction.objects.get()) == missing


def test_empty_fix_form_is_refused(missing: Ticket, as_: As) -> None:
    answer = as_("sales").post(act(missing, "fix"), {"customer.domain": "gmail.com"})
    assert answer.status_code == 422
    assert "Nothing was filled in or changed yet." in text(answer)


def test_a_part_of_the_answer_is_kept_and_the_rest_is_still_asked(pay: Pay, as_: As) -> None:
    ticket = open_ticket(pay("beta", customer__legal_name=None, commercial__term=None))
    answer = as_("sales").post(act(ticket, "fix"), {"commercial.term": "annual"}, follow=True)
    assert "Saved. Still missing: Legal name." in text(answer)
    assert OnboardingTransaction.objects.get().payload["commercial"]["term"] == "annual"


def test_a_customer_without_a_domain_needs_a_billing_email(
    missing: Ticket, connections: dict[str, Connection], as_: As, drain: Drain
) -> None:
    client: Client = as_("sales")
    without = client.post(act(missing, "fix"), {"customer.domain": "gmail.com", "customer.no_domain": "on"})
    assert without.status_code == 422
    assert "is needed for a customer without a domain" in text(without)
    fields = {
        "customer.domain": "gmail.com",
        "customer.no_domain": "on",
        "commercial.billing_email": "bills@beta-works.com",
    }
    client.post(act(missing, "fix"), fields)
    drain()
    assert OnboardingTransaction.objects.get().status == Status.COMPLETE


def test_customers_without_a_domain_are_not_merged(
    pay: Pay, connections: dict[str, Connection], as_: As, drain: Drain
) -> None:
    """What stands in the domain field, a mail provider's, must not tie strangers together."""
    for name in ("beta", "gamma"):
        ticket = open_ticket(pay(name, customer__domain="gmail.com"))
        fields = {"customer.no_domain": "on", "commercial.billing_email": f"bills@{name}-works.com"}
        as_("sales").post(act(ticket, "fix"), fields)
    drain()
    accounts = ObjectMapping.objects.filter(step__key="crm.account").values_list("external_id", flat=True)
    assert len(set(accounts)) == 2


def test_kickoff_takes_a_date_or_an_urgency(
    pay: Pay, connections: dict[str, Connection], as_: As, drain: Drain
) -> None:
    ticket = open_ticket(pay("beta", commercial__term=None, kickoff={"start_date": "soon"}))
    html = as_("sales").get(page(ticket)).content.decode()
    assert 'name="kickoff.start_date"' in html
    assert 'name="kickoff.urgency"' in html
    as_("sales").post(act(ticket, "fix"), {"commercial.term": "annual", "kickoff.urgency": "high"})
    drain()
    assert OnboardingTransaction.objects.get().status == Status.COMPLETE


def test_second_person_sees_that_the_ticket_is_resolved(
    missing: Ticket, connections: dict[str, Connection], as_: As
) -> None:
    as_("sales").post(act(missing, "fix"), {"customer.domain": "beta-works.com"})
    for name, data in (("fix", {"customer.domain": "other.com"}), ("link-object", {"external_id": "1"}), ("retry", {})):
        answer = as_("admin").post(act(missing, name), data, follow=True)
        assert answer.status_code == (409 if data else 200)
        assert "Not done: This ticket is resolved already. sales, " in text(answer)
        assert all(value in text(answer) for value in data.values())  # what was typed is not lost


def test_a_fixed_run_behind_a_broken_connection_says_so(pay: Pay, refused: Ticket, as_: As, drain: Drain) -> None:
    ticket = open_ticket(pay("gamma", commercial__term=None))
    answer = as_("sales").post(act(ticket, "fix"), {"commercial.term": "annual"}, follow=True)
    assert "The run waits until its connection works again." in text(answer)
    assert 'data-moving="0"' in answer.content.decode()


def test_a_value_that_looks_like_a_placeholder_is_confirmed_in_the_form(
    pay: Pay, connections: dict[str, Connection], as_: As, drain: Drain
) -> None:
    ticket = open_ticket(pay("beta", customer__legal_name="Test"))
    client = as_("sales")
    shown = client.get(page(ticket))
    assert "“Test” is correct" in text(shown)
    assert "Nothing was filled in" in text(client.post(act(ticket, "fix"), {"customer.legal_name": "Test"}))

    answer = client.post(
        act(ticket, "fix"), {"customer.legal_name": "Test", "confirm:customer.legal_name": "on"}, follow=True
    )

    assert "The data is complete and the onboarding continues" in text(answer)
    drain()
    run = OnboardingTransaction.objects.get()
    assert (run.status, run.customer_name, run.snapshot.confirmed) == (
        Status.COMPLETE,
        "Test",
        ["customer.legal_name"],
    )


def test_a_new_value_that_looks_like_a_placeholder_is_asked_about_once(pay: Pay, as_: As) -> None:
    ticket = open_ticket(pay("beta", customer__primary_contact={"name": "", "email": "ann@beta-works.com"}))
    path = "customer.primary_contact.name"
    client = as_("sales")
    asked = client.post(act(ticket, "fix"), {path: "ABC"})
    assert asked.status_code == 422
    assert "“ABC” is a placeholder. Tick the box below if it is correct" in text(asked)
    assert "“ABC” is correct" in text(asked)
    client.post(act(ticket, "fix"), {path: "ABC", f"confirm:{path}": "on"})
    assert OnboardingTransaction.objects.get().status == Status.PROVISIONING


def test_unusable_value_cannot_be_confirmed(missing: Ticket, as_: As) -> None:
    sent = {"customer.domain": "hotmail.com", "confirm:customer.domain": "on"}
    answer = as_("sales").post(act(missing, "fix"), sent)
    assert (answer.status_code, "is right" in text(answer)) == (422, False)
    assert "“hotmail.com” is a mail provider" in text(answer)
