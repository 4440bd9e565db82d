"""What an order at the ERP is made of: tax ids, terms, days, shares, tables. No database, no vendor."""

from decimal import Decimal
from typing import Any

import pytest

from onboarding.steps.erp import tax_ids
from onboarding.steps.erp.lines import lacking, lines
from onboarding.steps.erp.schedule import last_day, months_of, schedule
from onboarding.steps.erp.tables import CustomerTables, OrderTables
from onboarding.steps.handler import Facts
from onboarding.steps.registry import HANDLERS


def facts(**given: Any) -> Facts:
    commercial = {"plan_sku": "pro", "term": "annual", "amount": 100, "currency": "EUR", **given}
    content = {"customer": {"country": "DE"}, "commercial": commercial}
    return Facts(content, "pay_1", occurred_at="2026-11-22T10:00:00Z")


@pytest.mark.parametrize(
    ("country", "tax_id", "path", "finding"),
    [
        ("DE", "DE136695976", "", "Format checked"),
        ("de", "136 695 976", "", "Format checked"),
        ("GR", "EL 094259216", "", "Format checked"),
        ("UK", "GB 980 7806 84", "", "Format checked"),
        ("US", "04-2103594", "", "Format checked"),
        ("US", "", "", "No tax id, and none is needed in US: nothing checked"),
        ("AE", "100123456700003", "", "Format not checked (there are no rules for AE here)"),
        ("AE", "12", tax_ids.TAX_ID, ""),
        ("AE", "unknown", tax_ids.TAX_ID, ""),
        ("DE", "DE136695977", tax_ids.TAX_ID, ""),
        ("DE", "DE13669597", tax_ids.TAX_ID, ""),
        ("FR", "DE136695976", tax_ids.TAX_ID, ""),
        ("DE", "", tax_ids.TAX_ID, ""),
        ("DE", "n/a", tax_ids.TAX_ID, ""),
        ("Germany", "DE136695976", tax_ids.COUNTRY, ""),
        ("", "DE136695976", tax_ids.COUNTRY, ""),
    ],
)
def test_a_tax_id_is_good_or_says_where_it_is_fixed(country: str, tax_id: str, path: str, finding: str) -> None:
    found = tax_ids.problem(country, tax_id, ["US"])
    assert (found.path if found else "") == path
    if not path:
        assert tax_ids.finding(country, tax_id) == finding


@pytest.mark.parametrize(
    ("country", "tax_id", "normal"),
    [
        ("DE", "136 695 976", "DE136695976"),
        ("DE", "de136695976", "DE136695976"),
        ("GR", "094259216", "EL094259216"),
        ("AT", "U13585627", "ATU13585627"),
        ("US", "04-2103594", "042103594"),
        ("DE", "what is wrong", "WHATISWRONG"),
        ("AE", "100-1234", "1001234"),
        ("", "", ""),
    ],
)
def test_a_tax_id_is_written_in_one_way(country: str, tax_id: str, normal: str) -> None:
    assert tax_ids.normal(country, tax_id) == normal


@pytest.mark.parametrize(
    ("term", "months"),
    [
        ("annual", 12), ("Monthly", 1), ("24 months", 24), ("3 years", 36), ("P1Y", 12), ("12-month", 12), ("quarterly", 3),
        ("", 0), ("as agreed", 0), ("0 months", 0), ("999 years", 0), ("1.5 years", 0),
    ],
)  # fmt: skip
def test_a_term_is_a_number_of_months(term: str, months: int) -> None:
    assert months_of(term) == months


@pytest.mark.parametrize(
    ("first", "months", "last"),
    [
        ("2026-12-01", 12, "2027-11-30"),
        ("2026-01-31", 1, "2026-02-28"),
        ("2028-02-29", 12, "2029-02-28"),
        ("2026-12-15", 1, "2027-01-14"),
        ("2026-01-01", 24, "2027-12-31"),
    ],
)
def test_the_last_day_of_a_term(first: str, months: int, last: str) -> None:
    assert last_day(first, months) == last


def test_without_a_kickoff_date_revenue_begins_when_it_was_paid() -> None:
    days = schedule(facts())
    assert days
    assert (days["revenue_start"], days["billing_start"]) == ("2026-11-22", "2026-11-22")
    assert schedule(facts(term="as agreed")) is None


BUNDLE = {"product": "pro", "parts": [
    {"part": "software", "product": "A", "share": 33.33},
    {"part": "implementation", "product": "B", "share": 33.33},
    {"part": "managed-support", "product": "C", "share": 33.34},
]}  # fmt: skip


@pytest.mark.parametrize(
    ("amount", "currency"), [(100, "EUR"), (0.01, "EUR"), (99.99, "USD"), (1001, "JPY"), (0, "EUR")]
)
def test_a_bundles_parts_are_its_amount_together(amount: float, currency: str) -> None:
    tables = OrderTables.of({"bundles": [BUNDLE]})
    prices = [Decimal(line["unit_price"]) for line in lines(facts(amount=amount, currency=currency), tables, None)]
    assert len(prices) == 3
    assert sum(prices) == Decimal(str(amount))
    exponent = 0 if currency == "JPY" else -2
    assert all(price == round(price, -exponent) for price in prices)


def test_a_quantity_that_does_not_divide_stands_in_the_description() -> None:
    (line,) = lines(facts(lines=[{"sku": "seat", "quantity": 3, "amount": 100}]), OrderTables(), None)
    assert (line["quantity"], line["unit_price"], line["description"]) == (1, "100", "seat x 3")


def test_lines_without_money_are_the_plans() -> None:
    (line,) = lines(facts(lines=[{"price_id": "price_1"}, {"price_id": "price_2"}]), OrderTables(), None)
    assert (line["product"], line["unit_price"]) == ("pro", "100")


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({}, None),
        ({"amount": None}, "commercial.amount"),
        ({"lines": [{"sku": "a", "amount": 1}, {"sku": "b"}]}, "commercial.lines"),
        ({"lines": [{"amount": 1}, {"sku": "b", "amount": 1}]}, "commercial.lines"),
        ({"lines": [{"sku": "a", "amount": 1}, {"sku": "b", "amount": 1, "quantity": 0}]}, "commercial.lines"),
    ],
)
def test_what_an_order_lacks_is_named(given: dict[str, Any], path: str | None) -> None:
    assert list(lacking(facts(**given))) == ([path] if path else [])


def test_of_entities_the_first_row_that_fits_says_each_part() -> None:
    rows = [
        {"country": ["AT", "DE"], "subsidiary": "GmbH"},
        {"currency": "eur", "cost_centre": "EMEA", "subsidiary": "Other"},
        {"product": "pro", "business_unit": "SMB"},
    ]
    tables = CustomerTables.of({"entities": rows})
    assert tables.entity("DE", "EUR", "Pro") == {"subsidiary": "GmbH", "cost_centre": "EMEA", "business_unit": "SMB"}
    assert tables.entity("FR", "USD", "other") == {"subsidiary": "", "cost_centre": "", "business_unit": ""}


@pytest.mark.parametrize(
    ("uses", "options", "message"),
    [
        ("erp.tax-check", {"skip": True}, "knows no option skip"),
        ("erp.tax-check", {"not_needed_in": ["usa"]}, "two-letter country codes"),
        ("erp.customer", {"bundles": []}, "bundles"),
        ("erp.customer", {"entities": [{"country": "DE"}]}, "must name a subsidiary"),
        ("erp.order", {"bundles": [{"product": "pro", "parts": BUNDLE["parts"][:2]}]}, "are 66.66 per cent together"),
        ("erp.order", {"bundles": [BUNDLE, {**BUNDLE, "product": "PRO"}]}, "listed twice"),
        (
            "erp.order",
            {"bundles": [{"product": "pro", "parts": [{"part": "gift", "product": "A", "share": 100}]}]},
            "part",
        ),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_in_words(uses: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HANDLERS[uses].check_options(options)
