"""What ERPNext does otherwise than others: custom fields, drafts, child tables as a whole, and its errors in layers of JSON."""

from typing import Any

import pytest
import requests

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import ErpCustomer, ErpOrder, OrderLine
from integrations.errors import Kind, ProviderError
from integrations.models import ApiCall
from integrations.sandbox.control import SandboxControl
from integrations.vendors.erpnext.sandbox.errors import answer
from integrations.vendors.erpnext.schemas import refusal
from tests.integrations.vendors.conformance import REFERENCE, Bench
from tests.integrations.vendors.erpnext.conformance import SCHEDULE, TAX_ID, customer, order

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("postgres")]


@pytest.fixture
def bench(sandbox: SandboxControl) -> Bench:
    return Bench("erpnext", sandbox)


def at_erpnext(bench: Bench, method: str, path: str, body: dict[str, Any]) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": "token sandbox-erpnext-token"}
        url = f"{bench.sandbox.base_url}/erpnext/api/resource/{path}"
        return session.request(method, url, json=body, headers=headers, timeout=10)


def refused(bench: Bench, wanted: ErpCustomer | ErpOrder) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        bench.create(wanted)
    return raised.value


def line(product: str, price: str, **more: Any) -> OrderLine:
    return OrderLine(product=product, part="software", quantity=1, unit_price=price, **more)


def rows(bench: Bench, made: str) -> list[tuple[str, float]]:
    return [(each["item_code"], each["rate"]) for each in bench.bodies("Sales Order")[made]["items"]]


@pytest.mark.parametrize("stored", ["DE136695976", "136695976", "DE 136 695 976"])
def test_a_tax_id_is_found_however_it_is_written(bench: Bench, stored: str) -> None:
    (held,) = bench.sandbox.seed("erpnext", "Customer", [{"customer_name": "Acme", "tax_id": stored}])
    bench.sandbox.seed("erpnext", "Customer", [{"customer_name": "Other", "tax_id": "DE1366959761"}])
    (found,) = bench.connector().find("customer", MatchKey("tax-id", TAX_ID))
    assert (found.external_id, found.conclusive) == (held, True)


def test_a_second_customer_of_a_name_is_another_one(bench: Bench) -> None:
    first = bench.create(ErpCustomer(name="Acme"), "firstvalue:1")
    second = bench.create(ErpCustomer(name="Acme"), "firstvalue:2")
    assert (first, second) == ("Acme", "Acme - 1")
    assert {each.external_id for each in bench.connector().find("customer", MatchKey("name", "acme"))} == {
        first,
        second,
    }


def test_a_disabled_customer_is_there_and_inactive(bench: Bench) -> None:
    body = {"customer_name": "Acme", "custom_firstvalue_reference": REFERENCE, "disabled": 1}
    (held,) = bench.sandbox.seed("erpnext", "Customer", [body])
    (found,) = bench.connector().find("customer", MatchKey("reference", REFERENCE))
    assert (found.external_id, found.inactive) == (held, "disabled")
    bench.connector().undo("customer", held)
    assert bench.bodies("Customer")[held]["custom_firstvalue_reference"] == REFERENCE, "somebody else has disabled it"


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (ErpCustomer(name="Acme", currency="XXX"), "currency"),
        (ErpCustomer(name="Acme", payment_terms="90 Days"), "payment_terms"),
        (ErpOrder(name="Acme", customer_id="Acme", schedule=SCHEDULE, lines=[line("FV-NONE", "1")]), "lines"),
        (
            ErpOrder(
                name="Acme", customer_id="Acme", schedule=SCHEDULE, lines=[line("FV-PRO", "1", cost_centre="CC-NONE")]
            ),
            "cost_centre",
        ),
        (
            ErpOrder(name="Acme", customer_id="Acme", subsidiary="Firstvalue SA", lines=[line("FV-PRO", "1")]),
            "subsidiary",
        ),
    ],
)
def test_what_erpnext_does_not_know_is_named_by_our_field(
    bench: Bench, wanted: ErpCustomer | ErpOrder, field: str
) -> None:
    bench.sandbox.seed("erpnext", "Customer", [{"customer_name": "Acme"}])
    error = refused(bench, wanted)
    assert (error.kind, error.effect_possible) == (Kind.INVALID, False)
    assert field in [problem.field for problem in error.fields]
    assert "Traceback" not in str(list(ApiCall.objects.values_list("response", flat=True)))


def test_a_field_that_the_site_made_mandatory_is_named(bench: Bench) -> None:
    bench.sandbox.configure("erpnext", mandatory=["territory", "tax_id"])
    error = refused(bench, ErpCustomer(name="Acme"))
    assert [(problem.name, problem.field) for problem in error.fields] == [("territory", ""), ("tax_id", "tax_id")]
    bench.connection.options["territory"] = "Rest Of The World"
    bench.connection.save()
    assert bench.create(ErpCustomer(name="Acme", tax_id=TAX_ID)) == "Acme"


def test_a_business_unit_is_not_lost(bench: Bench) -> None:
    wanted = ErpOrder(
        name="Acme", customer_id="Acme", schedule=SCHEDULE, lines=[line("FV-PRO", "1", business_unit="BU-MM")]
    )
    bench.sandbox.seed("erpnext", "Customer", [{"customer_name": "Acme"}])
    made = bench.create(wanted, "firstvalue:1")
    assert bench.bodies("Sales Order")[made]["items"][0]["business_unit"] == "BU-MM"
    bench.connection.options["business_unit_field"] = ""
    bench.connection.save()
    assert refused(bench, wanted).kind is Kind.NOT_CONFIGURED


def test_an_update_replaces_our_rows_once_and_leaves_the_others(bench: Bench) -> None:
    made = bench.create(order(bench, "Acme"))
    before = bench.bodies("Sales Order")[made]["items"]
    added = {"item_code": "pro", "qty": 1, "rate": 5, "description": "By hand"}
    at_erpnext(bench, "PUT", f"Sales Order/{made}", {"items": [*before, added]}).raise_for_status()
    now = [line("FV-ENT", "15000"), line("FV-SUPPORT", "500")]
    for _ in range(2):
        bench.connector().update(made, ErpOrder(lines=now, former_lines=[line("FV-PRO", "12000")], schedule=SCHEDULE))
        assert rows(bench, made) == [("FV-ENT", 15000.0), ("FV-SUPPORT", 500.0), ("pro", 5)]


def test_a_submitted_order_is_neither_changed_nor_deleted(bench: Bench) -> None:
    made = bench.create(order(bench, "Acme"))
    at_erpnext(bench, "PUT", f"Sales Order/{made}", {"docstatus": 1}).raise_for_status()
    for call in (
        lambda: bench.connector().update(made, ErpOrder(name="Other")),
        lambda: bench.connector().undo("order", made),
    ):
        with pytest.raises(ProviderError, match="submitted at ERPNext") as raised:
            call()
        assert raised.value.kind is Kind.CONFLICT
    assert bench.bodies("Sales Order")[made]["docstatus"] == 1


def test_it_is_delivered_no_earlier_than_it_was_ordered(bench: Bench) -> None:
    buyer = bench.create(customer(bench, "Acme"), "firstvalue:buyer")
    early = {**SCHEDULE, "revenue_start": "2026-11-01"}
    wanted = ErpOrder(name="Acme", customer_id=buyer, schedule=early, lines=[line("FV-PRO", "1")])  # type: ignore[arg-type]
    made = bench.create(wanted)
    assert bench.bodies("Sales Order")[made]["delivery_date"] == "2026-11-22"


def test_the_probe_names_a_reference_field_that_is_not_unique_or_not_there(bench: Bench) -> None:
    assert bench.connector().probe() == "ERPNext at 127.0.0.1, as firstvalue@sandbox.example"
    bench.sandbox.configure("erpnext", unique=False)
    with pytest.raises(ProviderError, match="must be marked Unique"):
        bench.connector().probe()
    bench.connection.options["reference_field"] = "custom_other"
    bench.connection.save()
    with pytest.raises(ProviderError, match="no field custom_other") as raised:
        bench.connector().probe()
    assert raised.value.kind is Kind.NOT_CONFIGURED


@pytest.mark.parametrize(
    ("exc_type", "message", "kind"),
    [
        ("TimestampMismatchError", "Document has been modified", Kind.TEMPORARY),
        ("RateLimitExceededError", "You hit the rate limit", Kind.RATE_LIMIT),
        ("UniqueValidationError", "Firstvalue Reference must be unique", Kind.CONFLICT),
        ("LinkExistsError", "is linked with Sales Invoice", Kind.CONFLICT),
        ("DoesNotExistError", "DocType Customer not found", Kind.NOT_CONFIGURED),
        ("DoesNotExistError", "Customer Acme not found", None),
        ("PartyDisabled", "Customer Acme is <b>disabled</b>", Kind.INVALID),
    ],
)
def test_an_error_is_read_by_its_class(exc_type: str, message: str, kind: Kind | None) -> None:
    shown = answer(exc_type, message)
    error = refusal(shown.status, shown.body, {})
    assert (error.kind if error else None) is kind
    assert "exc" not in shown.body
    assert error is None or "<b>" not in error.message


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("Customer", {}, 417),
        ("Customer", {"customer_name": "x" * 141}, 417),
        ("Lead", {"lead_name": "x"}, 404),
        ("Sales Order", {"customer": "Nobody", "items": [{"item_code": "pro"}]}, 417),
        ("Sales Order", {"customer": "Acme", "items": []}, 417),
        ("Sales Order", {"customer": "Acme", "items": [{"item_code": "pro"}]}, 417),
    ],
)
def test_the_stand_in_is_as_strict(bench: Bench, path: str, body: dict[str, Any], status: int) -> None:
    bench.sandbox.seed("erpnext", "Customer", [{"customer_name": "Acme"}])
    answered = at_erpnext(bench, "POST", path, body)
    assert answered.status_code == status
    assert {"exc_type", "exception", "exc", "_server_messages"} == set(answered.json())
    assert bench.bodies("Sales Order") == {}
