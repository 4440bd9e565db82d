"""A run started by hand: who may, what comes of it, and that once is once."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from exceptions_queue.models import Ticket
from integrations import clock
from integrations.models import Connection
from onboarding.enums import OriginKind, Status
from onboarding.models import ChangeRequest, OnboardingTransaction
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import RUNS, As, text

pytestmark = pytest.mark.one_database("postgres")
START = f"{RUNS}start/"
ENTERED = {
    "onboarding_transaction_id": "RE-2026-113",
    "event_source": "bank-transfer",
    "customer.legal_name": "Beta Works",
    "customer.domain": "beta-works.com",
    "customer.primary_contact.name": "Ann Beta",
    "customer.primary_contact.email": "ann@beta-works.com",
    "commercial.plan_sku": "pro",
    "commercial.term": "annual",
    "ownership.crm_owner_id": "u_1",
    "kickoff.urgency": "normal",
}
MAY = ("sales", "engineer", "finance", "lead", "admin")

Enter = Callable[..., Any]


@pytest.fixture
def enter(as_: As) -> Enter:
    """``enter({"customer.domain": ""}, by="finance")``: the page after the form was sent."""

    def send(changed: dict[str, str] | None = None, *, by: str = "sales") -> Any:
        return as_(by).post(START, ENTERED | (changed or {}), follow=True)

    return send


@pytest.mark.parametrize("name", MAY)
def test_permitted_users_can_start_a_run(as_: As, enter: Enter, name: str) -> None:
    assert f'href="{START}"' in as_(name).get(RUNS).content.decode()
    assert as_(name).get(START).status_code == 200
    shown = enter(by=name)
    run = OnboardingTransaction.objects.get()
    assert shown.redirect_chain == [(f"{RUNS}{run.pk}/change/", 302)]
    assert "The run is started. Provisioning continues." in text(shown)
    assert (run.event_source, run.status) == ("bank-transfer", Status.PROVISIONING)
    assert run.audit.get(name="onboarding.run.accepted").actor == name


def test_other_users_cannot_start_a_run(as_: As, enter: Enter, people: dict[str, User]) -> None:
    assert "Start a run" not in text(as_("support").get(RUNS))
    assert as_("support").get(START).status_code == 403
    assert enter(by="support").status_code == 403
    people["sales"].groups.clear()
    assert enter(by="sales").status_code == 403
    assert Client().post(START, ENTERED)["Location"].startswith("/admin/login/")
    assert not OnboardingTransaction.objects.exists()


def test_without_the_forms_token_nothing_is_started(people: dict[str, User]) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(people["sales"])
    assert careful.post(START, ENTERED).status_code == 403
    assert careful.put(START).status_code in (403, 405)
    assert not OnboardingTransaction.objects.exists()


def test_a_get_starts_nothing_and_suggests_a_new_id_each_time(as_: As) -> None:
    pages = [as_("sales").get(START, ENTERED).content.decode() for _ in range(2)]
    ids = {found for page in pages for found in re.findall(r'value="(manual_\d{4}-\d\d-\d\d_[0-9a-f]{8})"', page)}
    assert len(ids) == 2
    assert 'value="manual"' in pages[0]
    assert not OnboardingTransaction.objects.exists()


def test_a_double_click_makes_one_run(enter: Enter) -> None:
    enter()
    assert "Nothing was changed or started twice" in text(enter())
    assert OnboardingTransaction.objects.count() == 1


def test_a_started_run_completes(enter: Enter, connections: dict[str, Connection], drain: Drain) -> None:
    enter()
    drain()
    assert OnboardingTransaction.objects.get().status == Status.COMPLETE


def test_what_is_not_known_may_stay_empty(as_: As, enter: Enter) -> None:
    assert "Unknown fields may stay empty; Sales operations will be asked." in text(as_("sales").get(START))
    shown = enter({"customer.primary_contact.name": "", "commercial.term": ""})
    assert "It waits for: Contact's name, Term. Sales operations was asked with a ticket." in text(shown)
    ticket = Ticket.objects.get()
    assert ticket.queue == "sales-ops"
    assert [problem["path"] for problem in ticket.problems] == ["customer.primary_contact.name", "commercial.term"]


def test_with_a_crm_it_is_asked_first(enter: Enter, connections: dict[str, Connection]) -> None:
    shown = enter({"ownership.crm_owner_id": ""})
    assert "The CRM is asked first for what is missing (CRM owner)" in text(shown)


def test_the_same_id_with_more_data_fills_the_run(enter: Enter) -> None:
    enter({"commercial.term": ""})
    assert "the missing data is filled in. Provisioning continues." in text(enter())
    run = OnboardingTransaction.objects.get()
    assert (run.status, run.payload["commercial"]["term"]) == (Status.PROVISIONING, "annual")


def test_the_same_id_with_other_data_is_a_change_request(enter: Enter) -> None:
    enter()
    shown = text(enter({"commercial.plan_sku": "enterprise"}))
    assert "A run with this transaction id is there already, with other data." in shown
    assert "Other data arrived from sales (bank-transfer)" in shown
    assert ChangeRequest.objects.get().paths == ["commercial.plan_sku"]
    assert OnboardingTransaction.objects.get().plan_sku == "pro"


def test_the_clock_starts_when_it_was_paid(enter: Enter) -> None:
    paid = clock.now() - timedelta(hours=2)
    enter({"occurred_at": f"{paid:%Y-%m-%dT%H:%M}"})
    assert OnboardingTransaction.objects.get().occurred_at == paid.replace(second=0, microsecond=0)


def test_without_a_time_it_was_paid_now(enter: Enter) -> None:
    before = clock.now()
    enter()
    assert before <= OnboardingTransaction.objects.get().occurred_at <= clock.now()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"occurred_at": "2150-01-01T00:00"}, "This lies in the future"),
        ({"occurred_at": "1970-01-01T00:00"}, "must lie between the years 2000 and 2199"),
        ({"occurred_at": "yesterday"}, "Enter a valid date/time."),
        ({"onboarding_transaction_id": "RE 2026/113"}, "Letters, digits and . _ : @ ~ + - only"),
        ({"onboarding_transaction_id": ""}, "This field is required."),
        ({"event_source": " "}, "This field is required."),
        ({"event_source": "x" * 65}, "at most 64 characters"),
        ({"customer.legal_name": "x" * 2001}, "at most 2000 characters"),
        ({"customer.domain": "gmail.com"}, "“gmail.com” is a mail provider"),
        ({"customer.primary_contact.email": "ann@"}, "“ann@” is not an email address. Leave the field empty"),
        ({"kickoff.start_date": "soon"}, "“soon” is not a date"),
        ({"kickoff.urgency": "at once"}, "Select a valid choice."),
        ({"commercial.amount": "a lot"}, "Enter a number."),
        ({"commercial.amount": "-1"}, "greater than or equal to 0"),
        ({"commercial.amount": "nan"}, "Enter a number."),
        ({"first_value_target.target_days": "4000"}, "less than or equal to 3650"),
        ({"users": "Ann, ann@beta-works.com\nBob"}, "“Bob”: the email is missing"),
        ({"handover.risks": "x\x00"}, "Null characters are not allowed."),
    ],
)
def test_form_errors_are_shown_at_their_field_and_input_is_kept(
    enter: Enter, changed: dict[str, str], said: str
) -> None:
    shown = enter(changed)
    assert shown.status_code == 422
    assert said in text(shown)
    assert not OnboardingTransaction.objects.exists()
    (name,) = changed
    field = next(field for field in shown.context["form"] if field.name == name)
    assert field.errors
    assert field.value() == changed[name]
    assert 'value="annual"' in shown.content.decode()


def test_everything_that_can_be_entered_arrives(enter: Enter) -> None:
    enter(
        {
            "customer.no_domain": "on",
            "customer.domain": "",
            "commercial.billing_email": "ap@beta-works.com",
            "commercial.amount": "12000.50",
            "commercial.nonstandard_terms": "on",
            "security.review_required": "on",
            "first_value_target.target_days": "0",
            "users": "Ann Beta, ann@beta-works.com, admin\n\nBob, bob@beta-works.com",
            "handover.risks": "Short of staff\n Holidays ",
            "handover.success_criteria": "A report\na week",
        }
    )
    content = OnboardingTransaction.objects.get().payload
    assert content["customer"]["no_domain"] is True
    assert content["commercial"]["amount"] == 12000.5
    assert content["commercial"]["nonstandard_terms"] is content["security"]["review_required"] is True
    assert content["first_value_target"] == {"target_days": 0}
    assert content["users"] == [
        {"name": "Ann Beta", "email": "ann@beta-works.com", "role": "admin"},
        {"name": "Bob", "email": "bob@beta-works.com"},
    ]
    assert content["handover"] == {"risks": ["Short of staff", "Holidays"], "success_criteria": "A report\na week"}
    assert "occurred_at" not in content


def test_a_name_that_looks_like_a_placeholder_is_taken_where_it_is_confirmed(enter: Enter) -> None:
    asked = enter({"customer.legal_name": "Test"})
    assert asked.status_code == 422
    assert "“Test” is a placeholder. Tick the box below if it is correct" in text(asked)
    enter({"customer.legal_name": "Test", "confirm:customer.legal_name": "on"})
    run = OnboardingTransaction.objects.get()
    assert (run.customer_name, run.status, run.origin) == ("Test", Status.PROVISIONING, OriginKind.PERSON)
