"""What Stripe's events say, without a database."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from integrations.http.strict_json import BadJson, parse_object
from integrations.inbound.delivery import UnexpectedShape
from integrations.inbound.events import Ignored, PaymentSucceeded, Settlement
from integrations.vendors.stripe.payments import BadSignature, OutsideTolerance, major_units, read, verify
from integrations.vendors.stripe.sample_events import ACACIA, BASIL, Payment, encode, sign

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
AT = int(NOW.timestamp())
SECRET, OLD_SECRET = "whsec_new", "whsec_old"


def payment(**changes: Any) -> Payment:
    return Payment(created=AT, **changes)


def paid(event: dict[str, Any]) -> PaymentSucceeded:
    told = read(event)
    assert isinstance(told, PaymentSucceeded), told
    return told


def refused(event: dict[str, Any]) -> str:
    told = read(event)
    assert isinstance(told, Ignored), told
    return told.reason


class TestSignature:
    def test_a_signed_body_is_accepted(self) -> None:
        raw = encode(payment().session())
        assert verify(raw, sign(raw, SECRET, AT), [SECRET], NOW)["type"] == "checkout.session.completed"

    def test_every_active_secret_counts(self) -> None:
        raw = encode(payment().session())
        assert verify(raw, sign(raw, OLD_SECRET, AT), [SECRET, OLD_SECRET], NOW)

    def test_one_of_several_signatures_is_enough(self) -> None:
        raw = encode(payment().session())
        header = f"t={AT},v1={'0' * 64},v1={sign(raw, SECRET, AT).partition('v1=')[2]},v0=abc"
        assert verify(raw, header, [SECRET], NOW)

    @pytest.mark.parametrize("seconds", [-300, 0, 300])
    def test_times_within_the_tolerance(self, seconds: int) -> None:
        raw = encode(payment().session())
        assert verify(raw, sign(raw, SECRET, AT + seconds), [SECRET], NOW)

    @pytest.mark.parametrize("seconds", [-301, 301, 86_400, 10**12])
    def test_times_outside_the_tolerance_either_way(self, seconds: int) -> None:
        raw = encode(payment().session())
        with pytest.raises(OutsideTolerance):
            verify(raw, sign(raw, SECRET, AT + seconds), [SECRET], NOW)

    @pytest.mark.parametrize(
        "header",
        ["", "nonsense", f"t={AT}", f"v1={'0' * 64}", f"t=x,v1={'0' * 64}", f"t={AT},v1={'0' * 64}", f"t={AT},v1=é"],
    )
    def test_headers_that_sign_nothing(self, header: str) -> None:
        with pytest.raises(BadSignature):
            verify(encode(payment().session()), header, [SECRET], NOW)

    def test_another_body_another_secret_or_none(self) -> None:
        raw = encode(payment().session())
        header = sign(raw, SECRET, AT)
        for body, secrets in ((raw + b" ", [SECRET]), (raw, ["whsec_other"]), (raw, []), (raw, [""])):
            with pytest.raises(BadSignature):
                verify(body, header, secrets, NOW)

    def test_bytes_that_are_no_text(self) -> None:
        with pytest.raises(BadSignature):
            verify(b"\xff", sign(b"\xff", SECRET, AT), [SECRET], NOW)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"1",
        b"{",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a":' * 32 + b"1" + b"}" * 32 + b"}",
        b"[" * 100_000,
    ],
)
def test_json_that_we_do_not_take(raw: bytes) -> None:
    with pytest.raises(BadJson):
        parse_object(raw)


def test_nesting_is_bounded_at_32_levels() -> None:
    assert parse_object(b'{"a":' * 32 + b"1" + b"}" * 32)
    with pytest.raises(BadJson):
        parse_object(b'{"a":' * 33 + b"1" + b"}" * 33)


@pytest.mark.parametrize(
    ("minor", "currency", "major"),
    [
        (1_200_000, "eur", "12000"),
        (1099, "USD", "10.99"),
        (500, "jpy", "500"),
        (500, "mga", "500"),
        (5120, "kwd", "5.12"),
        (500, "isk", "5"),
        (500, "ugx", "5"),
        (1045, "huf", "10.45"),
        (80_045, "twd", "800.45"),
    ],
)
def test_minor_units(minor: int, currency: str, major: str) -> None:
    assert major_units(minor, currency) == Decimal(major)


def test_a_paid_session() -> None:
    bought = payment(mode="payment", metadata={"deal_id": "d1", "onboarding_transaction_id": "pay_1", "order_id": "o1"})
    told = paid(bought.session())
    assert told.keys == (
        ("firstvalue.id", "pay_1"),
        ("stripe.checkout_session", bought.session_id),
        ("stripe.payment_intent", bought.intent_id),
        ("deal", "d1"),
        ("order", "o1"),
    )
    assert (told.business_name, told.contact_name, told.email) == ("Acme Logistics", "Jordan Lee", bought.email)
    assert (told.amount, told.currency, told.customer) == (Decimal(12000), "EUR", bought.customer)
    assert told.occurred_at == NOW


def test_the_sessions_customer_name_is_a_person_not_the_company() -> None:
    told = paid(payment().session(customer_details={"name": "Jordan Lee", "email": "j@acme.com"}))
    assert (told.business_name, told.customer_name, told.contact_name) == ("", "", "Jordan Lee")


@pytest.mark.parametrize("name", ["Jordan Lee", "JORDAN  lee", " jordan\u00a0Lee ", "Lee, Jordan"])
def test_a_payers_own_name_is_no_companys_however_it_is_written(name: str) -> None:
    details = {"name": "Jordan Lee", "individual_name": "Jordan Lee", "business_name": name, "email": "j@acme.com"}
    expanded = {"id": "cus_1", "name": name}
    told = paid(payment().session(customer_details=details, customer=expanded))
    assert (told.business_name, told.customer_name, told.contact_name) == ("", "", "Jordan Lee")


def test_a_session_tells_its_reference_and_what_the_buyer_answered() -> None:
    fields = [
        {"key": "companyname", "type": "text", "text": {"value": " Acme Logistics "}},
        {"key": "seats", "type": "numeric", "numeric": {"value": "12"}},
        {"key": "region", "type": "dropdown", "dropdown": {"value": "emea"}},
        {"key": "unanswered", "type": "text", "text": {"value": None}},
    ]
    bought = payment(mode="payment")
    told = paid(bought.session(client_reference_id="order-77", custom_fields=fields))
    assert told.custom_fields == (("companyname", "Acme Logistics"), ("seats", "12"), ("region", "emea"))
    assert ("order", "order-77") in told.keys


@pytest.mark.parametrize("version", [ACACIA, BASIL])
def test_an_invoice_in_both_shapes(version: str) -> None:
    bought = payment(version=version, metadata={"plan_sku": "pro"})
    told = paid(bought.invoice())
    assert told.keys == (
        ("stripe.invoice", bought.invoice_id),
        ("stripe.payment_intent", bought.intent_id),
        ("stripe.subscription", bought.subscription_id),
    )
    assert told.price_ids == ("price_pro_annual",)
    assert dict(told.metadata or {}) == {"plan_sku": "pro"}
    assert told.customer_name == "Acme Logistics"


def test_the_term_comes_from_the_price_where_it_is_expanded() -> None:
    assert paid(payment(version=ACACIA).invoice()).term == "annual"
    assert paid(payment(version=ACACIA, interval="month").invoice()).term == "monthly"


def _lines(payment_: Payment, *parts: dict[str, Any]) -> dict[str, Any]:
    line = payment_.invoice()["data"]["object"]["lines"]["data"][0]
    return {"object": "list", "data": [line | part for part in parts]}


def _period(start: str, end: str) -> dict[str, int]:
    first, last = (int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) for day in (start, end))
    return {"start": first, "end": last}


@pytest.mark.parametrize(
    ("start", "end", "term"),
    [
        ("2026-11-22", "2026-12-22", "monthly"),
        ("2026-01-31", "2026-02-28", "monthly"),
        ("2026-01-31T23:30", "2026-03-01T00:30", "monthly"),
        ("2026-11-22", "2027-02-22", "quarterly"),
        ("2026-11-30", "2027-02-28", "quarterly"),
        ("2026-08-31", "2027-02-28", "semi-annual"),
        ("2026-11-22", "2027-11-22", "annual"),
        ("2028-02-29", "2029-02-28", "annual"),
        ("2026-11-22", "2026-11-22", ""),
        ("2026-11-22", "2026-12-04", ""),
        ("2026-11-22", "2028-11-22", ""),
    ],
)
def test_the_term_comes_from_the_period_where_the_price_is_an_id_alone(start: str, end: str, term: str) -> None:
    bought = payment(version=BASIL)
    assert paid(bought.invoice(lines=_lines(bought, {"period": _period(start, end)}))).term == term


def test_a_part_of_a_period_and_what_is_free_tell_no_term() -> None:
    bought = payment(version=BASIL)
    month, year = {"period": _period("2026-11-22", "2026-12-22")}, {"period": _period("2026-11-22", "2027-11-22")}
    prorated = {"parent": {"subscription_item_details": {"proration": True}}}
    for other in (month | prorated, month | {"proration": True}, month | {"amount": 0}):
        assert paid(bought.invoice(lines=_lines(bought, year, other))).term == "annual"
    assert paid(bought.invoice(lines=_lines(bought, year, month))).term == ""


def test_the_invoices_own_metadata_wins_over_the_subscriptions() -> None:
    bought = payment(metadata={"plan_sku": "pro", "term": "annual"})
    told = paid(bought.invoice(metadata={"plan_sku": "enterprise"}))
    assert dict(told.metadata or {}) == {"plan_sku": "enterprise", "term": "annual"}


def test_an_invoice_is_paid_when_it_says_so() -> None:
    paid_at = int((NOW - timedelta(hours=2)).timestamp())
    told = paid(payment().invoice(status_transitions={"paid_at": paid_at}))
    assert told.occurred_at == NOW - timedelta(hours=2)


@pytest.mark.parametrize("version", [ACACIA, BASIL])
def test_a_payment_intent_names_its_invoice_in_both_shapes(version: str) -> None:
    bought = payment(version=version)
    told = paid(bought.intent())
    assert told.is_bare
    assert told.keys == (("stripe.invoice", bought.invoice_id), ("stripe.payment_intent", bought.intent_id))


def test_expanded_objects_are_read_like_ids() -> None:
    bought = payment(version=ACACIA)
    ids = ("customer", "invoice", "payment_intent", "subscription")
    plain = bought.session(payment_intent=bought.intent_id)
    expanded = bought.session(payment_intent=bought.intent_id)
    obj = expanded["data"]["object"]
    obj.update({name: {"id": obj[name], "object": name} for name in ids})
    assert paid(expanded).keys == paid(plain).keys
    assert paid(expanded).customer == bought.customer


@pytest.mark.parametrize(
    "event",
    [
        payment().session(payment_status="unpaid"),
        payment().session(payment_status="no_payment_required", amount_total=0),
        payment().session(mode="setup", payment_status="no_payment_required", currency=None, amount_total=None),
        payment().trial_session(),
        payment().free_invoice(),
        payment().invoice(amount_paid=0, total=-5000, subtotal=-5000),
        payment().intent(amount_received=0),
        payment().session("checkout.session.expired"),
        {"id": "evt_1", "type": "customer.created", "data": {"object": {}}},
        {"id": "evt_1", "type": ["odd"]},
    ],
    ids=lambda event: str(event["type"]),
)
def test_what_never_starts_an_onboarding(event: dict[str, Any]) -> None:
    assert refused(event)


def test_an_invoice_says_which_of_its_subscriptions_it_is_and_leaves_the_verdict_to_what_is_known() -> None:
    bought = payment(billing_reason="subscription_cycle")
    told = paid(bought.invoice())
    assert told.is_later_invoice
    assert told.subscription
    assert (told.subscription.id, told.subscription.is_start) == (bought.subscription_id, False)
    assert told.period == (NOW, NOW.replace(year=2027))


@pytest.mark.parametrize("version", [ACACIA, BASIL])
@pytest.mark.parametrize(
    ("changes", "settlement"),
    [
        ({"amount_paid": 0, "paid_out_of_band": True}, Settlement.OTHER_MEANS),
        ({"amount_paid": 0, "starting_balance": -1_200_000}, Settlement.CREDIT_BALANCE),
        ({"amount_paid": 0, "pre_payment_credit_notes_amount": 1_200_000}, Settlement.CREDIT_NOTE),
        ({"amount_paid": 0, "post_payment_credit_notes_amount": 1_200_000}, Settlement.CREDIT_NOTE),
        ({"amount_paid": 0, "total": 0, "subtotal": 1_200_000}, Settlement.DISCOUNT),
        ({"amount_paid": 0, "total": 30, "ending_balance": 30}, Settlement.CARRIED_OVER),
        ({"amount_paid": 0}, Settlement.UNKNOWN),
        ({}, Settlement.PAID),
    ],
    ids=str,
)
def test_an_invoice_tells_how_it_was_settled(version: str, changes: dict[str, Any], settlement: Settlement) -> None:
    assert paid(payment(version=version).invoice(**changes)).settlement is settlement


@pytest.mark.parametrize("mode", ["payment", "subscription"])
def test_a_session_with_a_full_discount_is_settled(mode: str) -> None:
    free = {"payment_status": "no_payment_required", "amount_total": 0, "amount_subtotal": 1_200_000}
    told = paid(payment(mode=mode).session(**free))
    assert (told.settlement, told.amount) == (Settlement.DISCOUNT, 0)


def test_a_late_payment_of_a_session_counts() -> None:
    assert paid(payment().session("checkout.session.async_payment_succeeded"))


def test_an_invoice_marked_paid_by_hand_counts() -> None:
    assert paid(payment().invoice(amount_paid=0, paid_out_of_band=True)).amount == Decimal(12000)


@pytest.mark.parametrize(
    "event",
    [
        {"id": "evt_1", "type": "invoice.paid"},
        {"id": "evt_1", "type": "invoice.paid", "data": {"object": []}},
        payment().invoice(amount_paid="12000"[:0] or None),
        payment().invoice(currency=7),
        payment().invoice(id=None),
        payment().session(payment_status=None),
        payment().session(currency=None),
        payment().intent(amount_received=-5),
        payment().invoice(lines={"data": "none"}),
    ],
)
def test_an_unexpected_shape_is_an_error_of_its_own(event: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedShape) as caught:
        read(event)
    assert "jordan" not in str(caught.value)


def test_nul_characters_are_dropped() -> None:
    assert paid(payment().session(metadata={"legal_name": "Ac\x00me"})).metadata == {"legal_name": "Acme"}
