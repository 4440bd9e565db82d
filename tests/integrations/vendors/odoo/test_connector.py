"""What Odoo does otherwise than others: tax ids in any form, errors that are ours, lines, and what only it refuses."""

from typing import Any

import pytest
import requests

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import ErpCustomer, ErpOrder, OrderLine
from integrations.errors import Kind, ProviderError
from integrations.models import ApiCall
from integrations.sandbox.control import SandboxControl
from integrations.vendors.odoo.schemas import compact, refusal
from tests.integrations.vendors.conformance import REFERENCE, Bench
from tests.integrations.vendors.odoo.conformance import SCHEDULE, TAX_ID, customer, order

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("postgres")]


@pytest.fixture
def bench(sandbox: SandboxControl) -> Bench:
    return Bench("odoo", sandbox)


def at_odoo(bench: Bench, path: str, body: dict[str, Any], **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        whole = {"Authorization": "Bearer sandbox-odoo-token", **headers}
        return session.post(f"{bench.sandbox.base_url}/odoo/json/2/{path}", json=body, headers=whole, timeout=10)


def refused(bench: Bench, wanted: ErpCustomer | ErpOrder) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        bench.create(wanted)
    return raised.value


def line(product: str, price: str, **more: Any) -> OrderLine:
    return OrderLine(product=product, part="software", quantity=1, unit_price=price, **more)


def lines(bench: Bench) -> list[tuple[int, str, float]]:
    found = bench.bodies("sale.order.line").values()
    return sorted((each["product_id"], each["name"], each["price_unit"]) for each in found if each.get("product_id"))


# --- Finding


@pytest.mark.parametrize("stored", ["DE136695976", "136695976", "DE 136 695 976", "de136.695.976"])
def test_a_tax_id_is_found_however_it_is_written(bench: Bench, stored: str) -> None:
    (held,) = bench.sandbox.seed("odoo", "res.partner", [{"name": "Acme", "vat": stored}])
    bench.sandbox.seed("odoo", "res.partner", [{"name": "Other", "vat": "DE1366959761"}])
    (found,) = bench.connector().find("customer", MatchKey("tax-id", TAX_ID))
    assert (found.external_id, found.conclusive, found.evidence["tax id"]) == (held, True, stored)


def test_contacts_of_a_company_are_no_customers(bench: Bench) -> None:
    (held,) = bench.sandbox.seed("odoo", "res.partner", [{"name": "Acme", "vat": TAX_ID}])
    bench.sandbox.seed("odoo", "res.partner", [{"name": "Acme", "vat": TAX_ID, "parent_id": int(held)}])
    for key in (MatchKey("tax-id", TAX_ID), MatchKey("name", "acme")):
        assert [each.external_id for each in bench.connector().find("customer", key)] == [held]


def test_a_name_with_signs_of_a_pattern_is_a_name(bench: Bench) -> None:
    bench.sandbox.seed(
        "odoo", "res.partner", [{"name": "100% Wool"}, {"name": "100 big Wool"}, {"name": "A_B"}, {"name": "AxB"}]
    )
    for name in ("100% Wool", "A_B"):
        (found,) = bench.connector().find("customer", MatchKey("name", name))
        assert (found.label, found.conclusive) == (name, False)


def test_an_archived_customer_is_there_and_inactive(bench: Bench) -> None:
    (held,) = bench.sandbox.seed("odoo", "res.partner", [{"name": "Acme", "ref": REFERENCE, "active": False}])
    (found,) = bench.connector().find("customer", MatchKey("reference", REFERENCE))
    assert (found.external_id, found.inactive) == (held, "archived")
    bench.connector().undo("customer", held)
    assert bench.bodies("res.partner")[held]["ref"] == REFERENCE, "somebody else has archived it"


# --- Creating


def test_a_refused_tax_id_names_our_field_and_no_traceback_is_kept(bench: Bench) -> None:
    error = refused(bench, ErpCustomer(name="Acme", country="DE", tax_id="DE136695977"))
    assert (error.kind, error.http_status, error.effect_possible) == (Kind.INVALID, 422, False)
    assert [problem.field for problem in error.fields] == ["tax_id"]
    assert "Traceback" not in str(list(ApiCall.objects.values_list("response", flat=True)))
    assert bench.bodies("res.partner") == {}


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (ErpCustomer(name="Acme", country="XX"), "country"),
        (ErpCustomer(name="Acme", currency="GBP"), "currency"),
        (ErpCustomer(name="Acme", payment_terms="90 Days"), "payment_terms"),
    ],
)
def test_what_odoo_does_not_know_is_named_by_our_field(bench: Bench, wanted: ErpCustomer, field: str) -> None:
    error = refused(bench, wanted)
    assert (error.kind, [problem.field for problem in error.fields]) == (Kind.INVALID, [field])
    assert bench.bodies("res.partner") == {}


def test_a_subsidiary_that_is_not_there_is_to_be_set_up(bench: Bench) -> None:
    assert refused(bench, ErpCustomer(name="Acme", subsidiary="Firstvalue SA")).kind is Kind.NOT_CONFIGURED


def test_a_currency_is_its_price_lists_and_the_companys_own_needs_none(bench: Bench, sandbox: SandboxControl) -> None:
    buyer = bench.create(customer(bench, "Acme"), "firstvalue:buyer")
    euros = bench.create(ErpOrder(name="Euros", customer_id=buyer, currency="EUR"), "firstvalue:1")
    dollars = bench.create(
        ErpOrder(name="Dollars", customer_id=buyer, currency="USD", subsidiary="Firstvalue Inc."), "firstvalue:2"
    )
    held = bench.bodies("sale.order")
    assert [(held[each]["currency_id"], held[each]["company_id"]) for each in (euros, dollars)] == [(125, 1), (1, 2)]


def test_lines_and_their_analytic_accounts(bench: Bench) -> None:
    made = bench.create(order(bench, "Acme"))
    two = [
        line("FV-PRO", "70", cost_centre="CC-EMEA", business_unit="BU-MM"),
        line("FV-IMPL", "30", cost_centre="CC-AMER"),
    ]
    bench.connector().update(made, ErpOrder(lines=two, former_lines=[line("FV-PRO", "12000")]))
    found = bench.bodies("sale.order.line").values()
    spread = {each["product_id"]: each["analytic_distribution"] for each in found if each.get("product_id")}
    assert spread == {11: {"21,31": 100}, 13: {"22": 100}}


@pytest.mark.parametrize("wrong", [{"product": "FV-NONE"}, {"cost_centre": "CC-NONE"}])
def test_a_line_that_names_what_is_not_there_makes_no_order(bench: Bench, wrong: dict[str, str]) -> None:
    wanted = ErpOrder(name="Acme", customer_id="1", lines=[OrderLine(**{**line("FV-PRO", "1"), **wrong})])  # type: ignore[typeddict-item]
    error = refused(bench, wanted)
    assert (error.kind, error.fields[0].field) == (Kind.INVALID, "cost_centre" if "cost_centre" in wrong else "lines")
    assert bench.bodies("sale.order") == {}


# --- Changing and undoing


def test_an_update_replaces_our_lines_once_and_leaves_the_others(bench: Bench) -> None:
    made = bench.create(order(bench, "Acme"))
    before = [line("FV-PRO", "12000", description="Pro")]
    added = {"order_line": [[0, 0, {"product_id": 15, "name": "By hand", "product_uom_qty": 1.0, "price_unit": 5.0}]]}
    at_odoo(bench, "sale.order/write", {"ids": [int(made)], "vals": added}).raise_for_status()
    now = [line("FV-ENT", "15000", description="Enterprise"), line("FV-SUPPORT", "500", description="Support")]
    for _ in range(2):
        bench.connector().update(made, ErpOrder(lines=now, former_lines=before, schedule=SCHEDULE))
        assert lines(bench) == [(12, "Enterprise", 15000.0), (14, "Support", 500.0), (15, "By hand", 5.0)]
    notes = [each["name"] for each in bench.bodies("sale.order.line").values() if each.get("display_type")]
    assert len(notes) == 1


def test_an_order_that_is_confirmed_is_neither_changed_nor_cancelled(bench: Bench) -> None:
    made = bench.create(order(bench, "Acme"))
    at_odoo(bench, "sale.order/action_confirm", {"ids": [int(made)]}).raise_for_status()
    for call in (
        lambda: bench.connector().update(made, ErpOrder(name="Other")),
        lambda: bench.connector().undo("order", made),
    ):
        with pytest.raises(ProviderError, match="confirmed at Odoo") as raised:
            call()
        assert raised.value.kind is Kind.CONFLICT
    assert bench.bodies("sale.order")[made]["state"] == "sale"


def test_a_cut_off_cancellation_is_taken_up_again(bench: Bench) -> None:
    made = bench.create(order(bench, "Acme"))
    bench.sandbox.add_fault("odoo", "error_before", method="POST", path="*/action_cancel", count=1)
    with pytest.raises(ProviderError):
        bench.connector().undo("order", made)
    bench.connector().undo("order", made)
    assert bench.bodies("sale.order")[made]["state"] == "cancel"
    assert bench.connector().get("order", made) is None


# --- Errors


def test_what_we_named_wrongly_is_no_outage_and_had_no_effect(bench: Bench) -> None:
    bench.connection.options["start_field"] = "x_studio_start"
    bench.connection.save()
    buyer = bench.create(customer(bench, "Acme"), "firstvalue:buyer")
    error = refused(bench, ErpOrder(name="Acme", customer_id=buyer, schedule=SCHEDULE))
    assert (error.kind, error.effect_possible) == (Kind.NOT_CONFIGURED, False)
    assert "x_studio_start" in error.message


def test_the_days_stand_in_fields_where_there_are_some(bench: Bench) -> None:
    bench.connection.options |= {"start_field": "x_start", "end_field": "x_end"}
    bench.connection.save()
    made = bench.create(order(bench, "Acme"))
    held = bench.bodies("sale.order")[made]
    assert (held["x_start"], held["x_end"]) == ("2026-11-22", "2027-11-21")


def test_a_right_that_lacks_is_named_by_the_probe(bench: Bench) -> None:
    bench.sandbox.configure("odoo", refused=["create sale.order", "read product.product"])
    with pytest.raises(ProviderError, match=r"must not create sale\.order, read product\.product") as raised:
        bench.connector().probe()
    assert raised.value.kind is Kind.NOT_CONFIGURED
    assert refused(bench, ErpOrder(name="Acme", customer_id="1")).kind is Kind.FORBIDDEN


def test_a_database_is_named_where_it_must_be(bench: Bench) -> None:
    bench.sandbox.configure("odoo", database="acme")
    with pytest.raises(ProviderError) as raised:
        bench.connector().probe()
    assert raised.value.kind is Kind.MALFORMED
    bench.connection.options["database"] = "acme"
    bench.connection.save()
    assert bench.connector().probe().startswith("Odoo 19.0 at 127.0.0.1")


@pytest.mark.parametrize(
    ("status", "name", "message", "kind"),
    [
        (404, "werkzeug.exceptions.NotFound", "the model 'sale.order' does not exist", Kind.NOT_CONFIGURED),
        (404, "odoo.exceptions.MissingError", "gone", None),
        (409, "odoo.exceptions.LockError", "in use", Kind.TEMPORARY),
        (
            422,
            "werkzeug.exceptions.UnprocessableEntity",
            "missing a required argument: 'list_vals'",
            Kind.NOT_CONFIGURED,
        ),
        (422, "odoo.exceptions.UserError", "No", Kind.INVALID),
        (500, "builtins.KeyError", "'x'", Kind.NOT_CONFIGURED),
        (500, "psycopg2.errors.SerializationFailure", "again", None),
    ],
)
def test_an_error_is_read_by_its_name(status: int, name: str, message: str, kind: Kind | None) -> None:
    body = {"name": name, "message": message, "arguments": [], "context": {}, "debug": "Traceback …"}
    error = refusal(status, body, {})
    assert (error.kind if error else None) is kind
    assert "debug" not in body


def test_tax_ids_are_compared_without_signs() -> None:
    assert compact("che-123.456.788 TVA") == "CHE123456788TVA"


# --- The stand-in


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("res.partner/create", {"name": "Flat"}, 422),
        ("res.partner/create", {"vals_list": [{"name": "A"}], "ids": [1]}, 422),
        ("res.partner/create", {"vals_list": [{"shoe_size": 44}]}, 500),
        ("res.partner/create", {"vals_list": [{"ref": "nameless"}]}, 422),
        ("res.partner/write", {"ids": [999], "vals": {"name": "A"}}, 404),
        ("res.partner/frobnicate", {}, 404),
        ("crm.lead/create", {"vals_list": [{"name": "A"}]}, 404),
        ("sale.order/create", {"vals_list": [{"partner_id": 999}]}, 422),
        ("sale.order/create", {"vals_list": [{}]}, 422),
    ],
)
def test_the_stand_in_is_as_strict(bench: Bench, path: str, body: dict[str, Any], status: int) -> None:
    answer = at_odoo(bench, path, body)
    assert answer.status_code == status
    assert set(answer.json()) == {"name", "message", "arguments", "context", "debug"}
    assert bench.bodies("res.partner") == {}


def test_the_stand_in_takes_json_alone(bench: Bench) -> None:
    answer = at_odoo(bench, "res.partner/search_read", {}, **{"Content-Type": "text/plain"})
    assert answer.status_code == 415
