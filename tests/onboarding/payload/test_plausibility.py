"""Placeholders by words and whole meaning; and a person's own word, which wins and lasts."""

import pytest

from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from onboarding import services
from onboarding.enums import OriginKind, Scope, Status
from onboarding.intake import service
from onboarding.models import AuditEntry, OnboardingTransaction
from onboarding.origins import Sender
from onboarding.payload.catalogue import Type
from onboarding.payload.gate import same_confirmed
from onboarding.payload.plausibility import implausible
from onboarding.payload.schema import OnboardingPayload
from onboarding.playbooks.requirements import problems_of
from onboarding.services import Refused
from tests.conftest import Payload
from tests.onboarding.conftest import Accept, status_of, ticket_of

KIM = Actor("kim", Scope.OPERATE)


@pytest.mark.parametrize("type_", [Type.TEXT, Type.NAME])
@pytest.mark.parametrize(
    "text",
    [
        "null null", "undefined", "undefined undefined", "N/A", "n.a.", "NA", "(none)", "none none", "tbd tbd", "To be confirmed",
        "[object Object]", "Test", "TEST TEST", "test 123", "Test Company", "Test User", "Null", "{{ company }}", "${name}", "#N/A",
        "<name>", "Unknown", "unknown customer", "Jane Doe", "lorem ipsum", "not provided", "??", "0",
    ],
)  # fmt: skip
def test_placeholder_counts_as_missing(text: str, type_: Type) -> None:
    assert "is a placeholder" in implausible(text, type_)


@pytest.mark.parametrize(
    "text",
    [
        "ABC", "XYZ", "X", "Test Rite International", "Testo", "Nanotech", "Temp", "Object Systems", "Dummy Brands Ltd & Co",
        "Null & Void Records", "The Unknown Brewery", "NA Foods", "Foo Fighters", "Sample Logistics", "Company Inc", "3M",
    ],
)  # fmt: skip
def test_a_company_that_is_really_called_so_passes(text: str) -> None:
    assert implausible(text, Type.TEXT) == ""


@pytest.mark.parametrize("text", ["Jennifer Null", "Na Li", "Nan Goldin", "Bar Refaeli", "Test Ament"])
def test_a_person_who_is_really_called_so_passes(text: str) -> None:
    assert implausible(text, Type.NAME) == ""


@pytest.mark.parametrize(
    "text", ["na@acme.io", "na@company.com", "x@acme.io", "abc@acme.io", "temp@acme.io", "bar@foo.io"]
)
def test_a_short_mailbox_passes(text: str) -> None:
    assert implausible(text, Type.EMAIL) == ""


@pytest.mark.parametrize("text", ["none@acme.io", "you@company.com", "x@x.com", "no-email@acme.io", "kim@example.org"])
def test_placeholder_mailbox_counts_as_missing(text: str) -> None:
    assert "is a placeholder" in implausible(text, Type.EMAIL)


def fresh(run: OnboardingTransaction) -> OnboardingTransaction:
    return OnboardingTransaction.objects.get(pk=run.pk)


def fix(run: OnboardingTransaction, path: str, value: str, *, confirm: bool = True) -> None:
    confirmed = [path] if confirm else []
    actions.perform(ticket_of(run).pk, "fix", KIM, fields={path: value}, confirmed=confirmed)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("customer.legal_name", "Test"),
        ("customer.primary_contact.name", "Jane Doe"),
        ("customer.primary_contact.email", "test@acme-logistics.com"),
        ("customer.primary_contact.email", "kim@gmial.com"),
        ("customer.domain", "company.com"),
    ],
)
def test_a_persons_own_confirmation_wins(transactional_db: None, accept: Accept, path: str, value: str) -> None:
    run = accept(**{path: value})
    assert [problem["path"] for problem in ticket_of(run).problems] == [path]
    with pytest.raises(Refused, match=r"placeholder|mistyped"):
        fix(run, path, value, confirm=False)

    fix(run, path, value)

    assert status_of(run) == Status.PROVISIONING
    assert fresh(run).snapshot.confirmed == [path]
    entry = AuditEntry.objects.get(name="onboarding.payload.fixed")
    assert (entry.actor, entry.data["confirmed"]) == ("kim", [path])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("customer.domain", "gmail.com"),
        ("customer.domain", "nowhere"),
        ("customer.primary_contact.email", "kim at acme.com"),
        ("customer.legal_name", "---"),
    ],
)
def test_unusable_value_cannot_be_confirmed_in_the_payload(
    transactional_db: None, accept: Accept, path: str, value: str
) -> None:
    run = accept(**{path: "", "commercial__term": ""})
    with pytest.raises(Refused):
        fix(run, path, value)
    with pytest.raises(Refused, match="Confirm only"):
        actions.perform(ticket_of(run).pk, "fix", KIM, fields={"commercial.term": "annual"}, confirmed=[path])


def test_a_confirmation_lasts_as_long_as_its_value(transactional_db: None, accept: Accept, payload: Payload) -> None:
    run = accept(customer__legal_name="Test", commercial__term="")
    fix(run, "customer.legal_name", "Test")
    assert [problem.path for problem in problems_of(fresh(run))] == ["commercial.term"]

    # The source fills in the rest and says the same name: nobody is asked about it again.
    told = OnboardingPayload.model_validate(payload(customer__legal_name="Test")).content()
    assert service.accept(told, actor="tests").verdict is service.Verdict.FILLED
    assert status_of(run) == Status.PROVISIONING
    change = services.request_change(run.pk, {"customer.country": "AT"}, actor="kim")
    services.apply_change(change.pk, actor="lee")
    assert problems_of(fresh(run)) == []

    # Another placeholder is another value.
    with pytest.raises(Refused, match="placeholder"):
        services.request_change(run.pk, {"customer.legal_name": "Dummy"}, actor="kim")
    change = services.request_change(
        run.pk, {"customer.legal_name": "Dummy"}, actor="kim", confirmed=["customer.legal_name"]
    )
    services.apply_change(change.pk, actor="lee")
    assert (fresh(run).customer_name, problems_of(fresh(run))) == ("Dummy", [])


def test_a_placeholder_stays_confirmed_whatever_else_changes() -> None:
    before = {"customer": {"tax_id": "n/a", "legal_name": "Acme"}}
    after = {"customer": {"tax_id": "n/a", "legal_name": "Acme GmbH"}}
    assert same_confirmed(["customer.tax_id"], before, after) == {"customer.tax_id"}
    real = [{"customer": each["customer"] | {"tax_id": "DE136695976"}} for each in (before, after)]
    assert same_confirmed(["customer.tax_id"], *real) == frozenset()


def test_what_a_person_confirms_when_starting_a_run_needs_no_ticket(transactional_db: None, payload: Payload) -> None:
    content = OnboardingPayload.model_validate(payload(customer__legal_name="Test")).content()
    sender = Sender(OriginKind.PERSON, "kim")
    run = service.accept(content, actor="kim", sender=sender, confirmed=frozenset({"customer.legal_name"})).run
    assert status_of(run) == Status.PROVISIONING
