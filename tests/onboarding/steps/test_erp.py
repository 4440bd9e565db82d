"""A run with an ERP: the tax id is checked first, the order says what was bought, and follows the plan."""

from typing import Any

import pytest
import requests

from exceptions_queue.models import Ticket
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.recording import record
from onboarding.enums import Category, Status, StepState
from onboarding.models import OnboardingTransaction
from tests.conftest import Drain, connect
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of

pytestmark = pytest.mark.usefixtures("connections", "odoo")
TAX_ID = "DE136695976"
BOUGHT = {
    "commercial__plan_sku": "erp",
    "customer__tax_id": "DE 136 695 976",
    "commercial__payment_terms": "Net 30",
    "commercial__billing_email": "billing@acme-logistics.com",
}
EMEA, AMERICAS, MID_MARKET = 21, 22, 31
"""Analytic accounts of the sandbox."""


@pytest.fixture
def odoo(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return connect("odoo", "erp", "/odoo", sandbox, longest_request="5")


@pytest.fixture
def ready(accept: Accept, drain: Drain) -> OnboardingTransaction:
    run = accept(**BOUGHT)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    return run


def bodies(sandbox: SandboxControl, kind: str) -> list[dict[str, Any]]:
    return [each["body"] | {"id": int(each["id"])} for each in sandbox.objects("odoo", kind)]


def only(sandbox: SandboxControl, kind: str) -> dict[str, Any]:
    (body,) = bodies(sandbox, kind)
    return body


def lines(sandbox: SandboxControl) -> list[tuple[str, float, float]]:
    """(description, price, quantity) of the lines with a product, in their order."""
    found = sorted(bodies(sandbox, "sale.order.line"), key=lambda body: int(body["sequence"]))
    return [(each["name"], each["price_unit"], each["product_uom_qty"]) for each in found if each.get("product_id")]


def note(sandbox: SandboxControl) -> str:
    (found,) = [body["name"] for body in bodies(sandbox, "sale.order.line") if body.get("display_type")]
    return str(found)


def at_odoo(sandbox: SandboxControl, model: str, method: str, **arguments: Any) -> Any:
    """As a person there would."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            f"{sandbox.base_url}/odoo/json/2/{model}/{method}",
            json=arguments,
            headers={"Authorization": "bearer sandbox-odoo-token"},
            timeout=10,
        )
    answer.raise_for_status()
    return answer.json()


def attempts(run: OnboardingTransaction, key: str) -> list[str]:
    return [attempt.message for attempt in step_of(run, key).attempt_rows.order_by("pk")]


# --- What is made


def test_the_customer_and_the_order_are_made_once(
    ready: OnboardingTransaction, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    partner, order = only(sandbox, "res.partner"), only(sandbox, "sale.order")
    assert (partner["name"], partner["vat"], partner["country_id"]) == ("Acme Logistics", TAX_ID, 57)
    assert (partner["property_payment_term_id"], partner["property_product_pricelist"]) == (2, 1)
    assert partner["ref"] == f"firstvalue:tax-id:{TAX_ID}"
    assert (order["partner_id"], order["state"], order["company_id"]) == (partner["id"], "draft", 1)
    assert (order["client_order_ref"], order["origin"]) == ("firstvalue:pay_12345", "Acme Logistics: erp")
    assert lines(sandbox) == [
        ("Pro (from 2026-12-01, to 2027-11-30)", 8400.0, 1),
        ("erp: implementation (from 2026-12-01, to 2026-12-30)", 2400.0, 1),
        ("erp: managed support (from 2026-12-01, to 2027-11-30)", 1200.0, 1),
    ]
    assert order["amount_untaxed"] == 12000.0
    spread = {
        str(body.get("analytic_distribution")) for body in bodies(sandbox, "sale.order.line") if body.get("product_id")
    }
    assert spread == {str({f"{EMEA},{MID_MARKET}": 100})}
    paid = ready.occurred_at.date().isoformat()
    assert note(sandbox).startswith(f"Schedule: annual; billed from {paid} to ")
    assert note(sandbox).endswith("; revenue from 2026-12-01 to 2027-11-30")
    accept(**BOUGHT, onboarding_transaction_id="pay_2")
    drain()
    assert only(sandbox, "res.partner") == partner
    assert len(bodies(sandbox, "sale.order")) == 2
    settled()


def test_the_check_says_how_far_it_went(ready: OnboardingTransaction) -> None:
    assert attempts(ready, "erp.tax-check") == ["Format checked, register not checked."]
    assert step_of(ready, "erp.tax-check").connection is None, "whether the ERP works is no matter of it"


def test_dollars_are_another_subsidiarys_and_a_cost_centre_of_the_order_wins(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    american = {"customer__country": "US", "customer__tax_id": "", "commercial__currency": "USD"}
    run = accept(**{**BOUGHT, **american, "commercial__payment_terms": "net 45", "commercial__cost_centre": "CC-EMEA"})
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    order = only(sandbox, "sale.order")
    assert (order["company_id"], order["currency_id"], order["payment_term_id"]) == (2, 1, 3)
    keys = {key for body in bodies(sandbox, "sale.order.line") for key in body.get("analytic_distribution") or {}}
    assert keys == {f"{EMEA},{MID_MARKET}"}
    assert attempts(run, "erp.tax-check") == ["No tax id, and none is needed in US: nothing checked."]


def test_the_payloads_own_lines_are_ordered(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    listed = [
        {"sku": "FV-PRO", "name": "Pro seats", "quantity": 25, "unit_price": 400},
        {"sku": "erp-enterprise", "amount": 1000.01},
    ]
    accept(**BOUGHT, commercial__lines=listed)
    drain()
    until = "(from 2026-12-01, to 2027-11-30)"
    assert lines(sandbox) == [
        (f"Pro seats {until}", 400.0, 25),
        (f"Enterprise {until}", 800.01, 1),
        (f"erp-enterprise: managed support {until}", 200.0, 1),
    ]


def test_a_lost_answer_makes_no_second_one(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    for model in ("res.partner", "sale.order"):
        sandbox.add_fault("odoo", "reset_after", method="POST", path=f"*/{model}/create", count=1)
    run = accept(**BOUGHT)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert run.mappings.filter(created_by_us=True, step__system="erp").count() == 2
    assert (len(bodies(sandbox, "res.partner")), len(bodies(sandbox, "sale.order"))) == (1, 1)
    settled()


# --- What is refused


@pytest.mark.parametrize(
    ("tax_id", "reason"),
    [
        ("DE136695977", "check digit"),
        ("FR40303265045", "is not written as one of DE is"),
        ("", "is missing"),
        ("tbd", "placeholder"),
    ],
)
def test_a_bad_tax_id_is_finances_ticket_and_nothing_is_made(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled, tax_id: str, reason: str
) -> None:
    run = accept(**{**BOUGHT, "customer__tax_id": tax_id})
    drain()
    ticket = ticket_of(run, "erp.tax-check")
    assert (ticket.queue, ticket.category) == ("finance", Category.VALIDATION_ERROR)
    assert [problem["path"] for problem in ticket.problems] == ["customer.tax_id"]
    assert reason in ticket.message
    assert bodies(sandbox, "res.partner") == []
    assert step_of(run, "crm.account").state == StepState.SUCCEEDED
    settled()
    services.fix(run.pk, {"customer.tax_id": TAX_ID}, actor="fin", step_pk=step_of(run, "erp.tax-check").pk)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert only(sandbox, "res.partner")["vat"] == TAX_ID
    assert not Ticket.objects.filter(transaction=run, resolved_at=None).exists()


def test_a_tax_id_that_is_fixed_at_another_steps_ticket_is_checked_again(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept(**{**BOUGHT, "commercial__payment_terms": "Net 90"})
    drain()
    fields = {"customer.tax_id": "DE136695977", "commercial.payment_terms": "Net 30"}
    services.fix(run.pk, fields, actor="fin", step_pk=step_of(run, "erp.customer").pk)
    drain()
    assert "check digit" in ticket_of(run, "erp.tax-check").message


@pytest.mark.parametrize(
    ("given", "step", "path"),
    [
        ({"commercial__term": "as agreed"}, "erp.order", "commercial.term"),
        ({"commercial__amount": None}, "erp.order", "commercial.amount"),
        ({"commercial__currency": "GBP"}, "erp.customer", "commercial.currency"),
        ({"commercial__payment_terms": "Net 90"}, "erp.customer", "commercial.payment_terms"),
        ({"commercial__cost_centre": "CC-MOON"}, "erp.order", "commercial.cost_centre"),
    ],
)
def test_what_the_erp_needs_and_does_not_find_is_asked_for_by_field(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled, given: dict[str, Any], step: str, path: str
) -> None:
    run = accept(**{**BOUGHT, **given})
    drain()
    ticket = ticket_of(run, step)
    assert ticket.category == Category.VALIDATION_ERROR
    assert path in [problem["path"] for problem in ticket.problems]
    assert bodies(sandbox, "sale.order") == []
    settled()


def test_a_namesake_is_for_a_person(accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled) -> None:
    (namesake,) = sandbox.seed("odoo", "res.partner", [{"name": "ACME logistics", "city": "Lyon"}])
    run = accept(**BOUGHT)
    drain()
    ticket = ticket_of(run, "erp.customer")
    assert ticket.category == Category.AMBIGUOUS_MATCH
    assert [candidate["external_id"] for candidate in ticket.candidates] == [namesake]
    assert step_of(run, "erp.order").state == StepState.PENDING
    settled()
    services.choose_match(step_of(run, "erp.customer").pk, external_id=namesake, actor="fin")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert only(sandbox, "sale.order")["partner_id"] == int(namesake)


def test_the_same_tax_id_is_the_same_customer_whatever_they_are_called(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    (held,) = sandbox.seed("odoo", "res.partner", [{"name": "Acme Holding", "vat": "136695976", "country_id": 57}])
    run = accept(**BOUGHT)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert run.mappings.get(kind="customer").external_id == held
    assert only(sandbox, "res.partner")["name"] == "Acme Holding"


def test_an_archived_customer_is_for_a_person(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.seed("odoo", "res.partner", [{"name": "Acme", "vat": TAX_ID, "active": False}])
    run = accept(**BOUGHT)
    drain()
    assert "has archived the customer" in ticket_of(run, "erp.customer").message


# --- What changes


def change(run: OnboardingTransaction, drain: Drain, **fields: Any) -> dict[str, str]:
    """What each step was said to do; then it is done."""
    named = {path.replace("__", "."): value for path, value in fields.items()}
    request = services.request_change(run.pk, named, actor="kim")
    effects = {each.step: each.verdict for each in services.change_preview(request.pk)}
    services.apply_change(request.pk, actor="lee")
    drain()
    return {step: str(verdict) for step, verdict in effects.items()}


def test_another_plan_changes_our_lines_and_leaves_those_that_people_added(
    ready: OnboardingTransaction, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    order = only(sandbox, "sale.order")
    added = {"product_id": 15, "name": "Added by hand", "product_uom_qty": 1.0, "price_unit": 5.0}
    at_odoo(sandbox, "sale.order", "write", ids=[order["id"]], vals={"order_line": [[0, 0, added]]})
    effects = change(ready, drain, commercial__plan_sku="erp-enterprise", commercial__amount=20000)
    assert (effects["erp.order"], effects["erp.customer"]) == ("update", "nothing")
    assert status_of(ready) == Status.COMPLETE, shown(ready)
    until = "(from 2026-12-01, to 2027-11-30)"
    assert sorted(lines(sandbox)) == sorted(
        [
            (f"Enterprise {until}", 16000.0, 1),
            (f"erp-enterprise: managed support {until}", 4000.0, 1),
            ("Added by hand", 5.0, 1.0),
        ]
    )
    changed = only(sandbox, "sale.order")
    assert (changed["id"], changed["origin"]) == (order["id"], "Acme Logistics: erp-enterprise")
    settled()


def test_a_lost_answer_of_a_change_makes_no_line_twice(
    ready: OnboardingTransaction, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault("odoo", "reset_after", method="POST", path="*/sale.order/write", count=1)
    change(ready, drain, commercial__plan_sku="erp-enterprise")
    assert status_of(ready) == Status.COMPLETE, shown(ready)
    assert len(lines(sandbox)) == 2
    assert only(sandbox, "sale.order")["amount_untaxed"] == 12000.0
    assert note(sandbox)


def test_a_changed_tax_id_is_checked_before_it_is_written(
    ready: OnboardingTransaction, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    effects = change(ready, drain, customer__tax_id="DE136695977")
    assert (effects["erp.tax-check"], effects["erp.customer"]) == ("look-up", "update")
    assert ticket_of(ready, "erp.tax-check").queue == "finance"
    assert only(sandbox, "res.partner")["vat"] == TAX_ID
    settled()
    services.fix(ready.pk, {"customer.tax_id": "DE811115368"}, actor="fin", step_pk=step_of(ready, "erp.tax-check").pk)
    drain()
    assert status_of(ready) == Status.COMPLETE, shown(ready)
    assert only(sandbox, "res.partner")["vat"] == "DE811115368"


def test_what_changes_during_the_check_is_checked_as_well(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept(**BOUGHT)
    claimed = claiming.claim(step_of(run, "erp.tax-check").pk)
    assert claimed
    outcome = engine.perform(claimed)
    request = services.request_change(run.pk, {"customer.tax_id": "DE136695977"}, actor="kim")
    services.apply_change(request.pk, actor="lee")
    record(claimed, outcome, inline=False)
    drain()
    assert ticket_of(run, "erp.tax-check").queue == "finance"
    assert bodies(sandbox, "res.partner") == []


def test_a_confirmed_order_is_finances(
    ready: OnboardingTransaction, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    at_odoo(sandbox, "sale.order", "action_confirm", ids=[only(sandbox, "sale.order")["id"]])
    change(ready, drain, commercial__plan_sku="erp-enterprise")
    ticket = ticket_of(ready, "erp.order")
    assert "confirmed at Odoo" in ticket.message
    assert ticket.queue == "finance"
    assert len(lines(sandbox)) == 3
    settled()


# --- Rollback


def test_rollback_archives_the_customer_and_cancels_the_order(
    ready: OnboardingTransaction, accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    services.rollback(ready.pk, actor="kim", reason="The customer withdrew")
    drain()
    assert status_of(ready) == Status.ROLLED_BACK, shown(ready)
    assert (only(sandbox, "res.partner")["active"], only(sandbox, "sale.order")["state"]) == (False, "cancel")
    again = accept(**BOUGHT, onboarding_transaction_id="pay_2")
    drain()
    assert status_of(again) == Status.COMPLETE, shown(again)
    assert [body["active"] for body in bodies(sandbox, "res.partner")] == [False, True]


def test_rollback_leaves_a_customer_that_was_there(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.seed("odoo", "res.partner", [{"name": "Acme", "vat": TAX_ID}])
    run = accept(**BOUGHT)
    drain()
    services.rollback(run.pk, actor="kim", reason="The customer withdrew")
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert (only(sandbox, "res.partner")["active"], only(sandbox, "sale.order")["state"]) == (True, "cancel")
