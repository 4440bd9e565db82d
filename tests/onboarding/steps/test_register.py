"""The tax check with a register: found, not found, another's, and a register that does not answer."""

from typing import Any

import pytest

from exceptions_queue.admin.tickets.forms import FixForm
from integrations.connections.services import set_connection
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine.policy import ATTEMPTS_BEFORE_TICKET
from onboarding.enums import Category, OriginKind, Status, StepState
from onboarding.intake import service
from onboarding.models import OnboardingTransaction
from onboarding.origins import Sender
from onboarding.payload.schema import OnboardingPayload
from tests.conftest import Drain, Payload, connect
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of
from tests.onboarding.steps.test_erp import BOUGHT, attempts, bodies

pytestmark = pytest.mark.usefixtures("connections", "odoo", "vies")
CHECK = "erp.tax-check"
FRENCH = {**BOUGHT, "customer__country": "FR", "customer__tax_id": "FR 40 303 265 045"}
UNREGISTERED = "DE811115368"


@pytest.fixture
def odoo(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return connect("odoo", "erp", "/odoo", sandbox, longest_request="5")


@pytest.fixture
def vies(transactional_db: None, sandbox: SandboxControl) -> Connection:
    base = f"{sandbox.base_url}/vies"
    return set_connection(
        "vies", system="register", provider="vies", base_url=base, environment="sandbox", actor="tests"
    )


def fix(run: OnboardingTransaction, fields: dict[str, Any], **given: Any) -> None:
    services.fix(run.pk, fields, actor="fin", step_pk=step_of(run, CHECK).pk, **given)


def test_a_registered_number_passes_and_its_evidence_is_kept(
    accept: Accept, drain: Drain, settled: Settled, vies: Connection
) -> None:
    run = accept(**BOUGHT)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    (found,) = attempts(run, CHECK)
    assert found.startswith("Format checked; registered, the register does not tell the name (VIES, 20")
    assert step_of(run, CHECK).connection == vies
    settled()


def test_a_number_that_is_not_registered_is_finances(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept(**BOUGHT | {"customer__tax_id": UNREGISTERED})
    drain()
    ticket = ticket_of(run, CHECK)
    assert (ticket.queue, ticket.category) == ("finance", Category.VALIDATION_ERROR)
    assert ticket.message.startswith("Tax id: is not registered (VIES, 20")
    assert [problem["path"] for problem in ticket.problems] == ["customer.tax_id"]
    assert bodies(sandbox, "res.partner") == []
    settled()
    fix(run, {"customer.tax_id": "DE136695976"})
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)


def test_another_name_is_a_doubt_that_shows_both(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept(**FRENCH)
    drain()
    ticket = ticket_of(run, CHECK)
    assert ticket.queue == "finance"
    assert ticket.message == "Tax id: is registered for “SA SODIMAS”, and not for “Acme Logistics”."
    assert [problem["path"] for problem in ticket.problems] == ["customer.tax_id", "customer.legal_entity"]
    assert bodies(sandbox, "res.partner") == []
    settled()
    fix(run, {"customer.legal_entity": "Sodimas S.A."})
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert "; registered, name as registered (VIES, 20" in attempts(run, CHECK)[-1]
    assert [body["name"] for body in bodies(sandbox, "res.partner")] == ["Sodimas S.A."]


def test_a_person_may_stand_by_the_number(accept: Accept, drain: Drain, settled: Settled) -> None:
    run = accept(**FRENCH)
    drain()
    number = "FR 40 303 265 045"
    form = FixForm(
        ticket_of(run, CHECK),
        {"customer.tax_id": number, "confirm:customer.tax_id": "on"},
        see_personal=True,
    )
    assert form.is_valid(), form.errors
    assert (form.answers, form.confirmed) == ({"customer.tax_id": number}, {"customer.tax_id"})
    fix(run, form.answers, confirmed=form.confirmed)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert "registered for “SA SODIMAS”, which a person has confirmed (VIES, 20" in attempts(run, CHECK)[-1]
    settled()


@pytest.fixture
def confirmed(accept: Accept, drain: Drain) -> OnboardingTransaction:
    """Complete: a person has confirmed that the number, which is SA SODIMAS's, is Acme Logistics's."""
    run = accept(**FRENCH)
    drain()
    fix(run, {"customer.tax_id": FRENCH["customer__tax_id"]}, confirmed={"customer.tax_id"})
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    return run


def change(run: OnboardingTransaction, fields: dict[str, Any], **given: Any) -> None:
    services.apply_change(services.request_change(run.pk, fields, actor="kim", **given).pk, actor="lee")


def test_what_was_confirmed_for_one_company_is_not_for_another(
    confirmed: OnboardingTransaction, drain: Drain, settled: Settled
) -> None:
    change(confirmed, {"customer.legal_entity": "Totally Different Holding BV"})
    drain()
    told = "Tax id: is registered for “SA SODIMAS”, and not for “Totally Different Holding BV”."
    assert ticket_of(confirmed, CHECK).message == told
    settled()
    change(confirmed, {"customer.legal_entity": "Acme Logistics"})
    drain()
    assert ticket_of(confirmed, CHECK).message.endswith("not for “Acme Logistics”."), "nobody has confirmed that since"


def test_what_was_confirmed_stays_so_while_the_check_reads_the_same(
    confirmed: OnboardingTransaction, drain: Drain
) -> None:
    change(confirmed, {"customer.territory": "amer"})
    drain()
    assert status_of(confirmed) == Status.COMPLETE, shown(confirmed)
    number = {"customer.tax_id": "FR40303265045"}
    change(confirmed, {"customer.legal_entity": "Acme SARL", **number}, confirmed=set(number))
    drain()
    assert status_of(confirmed) == Status.COMPLETE, shown(confirmed)
    assert "which a person has confirmed" in attempts(confirmed, CHECK)[-1]


def test_a_confirmation_that_is_applied_later_is_of_what_was_shown_then(
    confirmed: OnboardingTransaction, drain: Drain
) -> None:
    number = {"customer.tax_id": "FR40303265045"}
    request = services.request_change(confirmed.pk, number, actor="kim", confirmed=set(number))
    change(confirmed, {"customer.legal_entity": "Totally Different Holding BV"})
    services.apply_change(request.pk, actor="lee")
    drain()
    assert ticket_of(confirmed, CHECK).message.endswith("not for “Totally Different Holding BV”.")


def test_a_register_that_does_not_answer_is_asked_again_then_it_is_a_ticket(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.configure("vies", unavailable="DE")
    run = accept(**BOUGHT)
    drain()
    ticket = ticket_of(run, CHECK)
    assert (ticket.category, ticket.queue) == (Category.SERVER_ERROR, "revenue-operations")
    assert "the member state's register is not available (MS_UNAVAILABLE)" in ticket.message
    assert len(attempts(run, CHECK)) >= ATTEMPTS_BEFORE_TICKET
    assert bodies(sandbox, "res.partner") == []
    settled()
    sandbox.configure("vies", unavailable="")
    services.retry_step(step_of(run, CHECK).pk, actor="fin")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    settled()


@pytest.mark.parametrize("away", ["member state", "service"])
def test_where_the_playbook_says_so_it_is_shown_as_unchecked(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled, away: str
) -> None:
    if away == "service":
        sandbox.add_fault("vies", "error_before")
    else:
        sandbox.configure("vies", unavailable="DE")
    run = accept(**BOUGHT | {"commercial__plan_sku": "invoiced"})
    drain()
    assert step_of(run, CHECK).state == StepState.SUCCEEDED, shown(run)
    told = attempts(run, CHECK)
    assert len(told) == ATTEMPTS_BEFORE_TICKET
    assert told[-1].startswith("Format checked, register not checked: VIES ")
    assert len(bodies(sandbox, "sale.order")) == 1


def test_an_invalid_number_is_a_ticket_in_that_playbook_too(accept: Accept, drain: Drain) -> None:
    run = accept(**BOUGHT | {"commercial__plan_sku": "invoiced", "customer__tax_id": UNREGISTERED})
    drain()
    assert ticket_of(run, CHECK).queue == "finance"


def test_a_country_without_a_register_is_shown_as_unchecked(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    american = {"customer__country": "US", "customer__tax_id": "91-1144442", "commercial__currency": "USD"}
    run = accept(**BOUGHT | american | {"commercial__payment_terms": "net 45"})
    drain()
    assert attempts(run, CHECK) == ["Format checked, register not checked: vies has none of US."]
    assert sandbox.requests("vies") == []


def test_a_disabled_connection_is_none(accept: Accept, drain: Drain, sandbox: SandboxControl, vies: Connection) -> None:
    Connection.objects.filter(pk=vies.pk).update(enabled=False)
    run = accept(**BOUGHT)
    drain()
    assert attempts(run, CHECK) == ["Format checked, register not checked."]
    assert sandbox.requests("vies") == []


# --- What a check saw is checked again once it is other data, however that came


@pytest.fixture
def checked(accept: Accept, drain: Drain) -> OnboardingTransaction:
    """The check has passed; the order waits to be confirmed."""
    run = accept(**BOUGHT | {"commercial__plan_sku": "invoiced"})
    drain()
    assert step_of(run, CHECK).state == StepState.SUCCEEDED, shown(run)
    return run


def test_a_fill_by_another_source_is_checked(
    checked: OnboardingTransaction, payload: Payload, drain: Drain, settled: Settled
) -> None:
    content = OnboardingPayload.model_validate(payload(customer__legal_entity="Acme Logistics GmbH")).content()
    service.join(checked.pk, content, sender=Sender(OriginKind.IMPORT, ""), actor="tests", keys=[])
    drain()
    assert len(attempts(checked, CHECK)) == 2
    settled()


def test_a_fix_of_what_it_does_not_read_is_not(checked: OnboardingTransaction, drain: Drain) -> None:
    services.fix(checked.pk, {"customer.territory": "amer"}, actor="fin")
    drain()
    assert len(attempts(checked, CHECK)) == 1


def test_what_a_joined_run_fills_is_checked(
    checked: OnboardingTransaction, accept: Accept, drain: Drain, settled: Settled
) -> None:
    other = accept(
        **BOUGHT | {"commercial__plan_sku": "invoiced", "onboarding_transaction_id": "pay_2"},
        customer__legal_entity="Acme Logistics GmbH",
    )
    services.join(other.pk, str(checked), actor="lead", reason="Both are of order 1001.")
    drain()
    assert len(attempts(checked, CHECK)) == 2
    settled()


def test_a_change_is_checked_once(checked: OnboardingTransaction, drain: Drain, settled: Settled) -> None:
    request = services.request_change(checked.pk, {"customer.legal_entity": "Acme GmbH"}, actor="kim")
    services.apply_change(request.pk, actor="lee")
    drain()
    assert len(attempts(checked, CHECK)) == 2
    settled()
