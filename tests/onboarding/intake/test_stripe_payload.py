"""What a Stripe payment becomes in the canonical payload."""

from itertools import permutations
from typing import Any

import pytest

from exceptions_queue.models import Ticket
from integrations.enums import EventState
from integrations.vendors.stripe.sample_events import BASIL
from onboarding import services
from onboarding.engine.periodic import sweep
from onboarding.enums import Status
from onboarding.intake import billing
from onboarding.models import OnboardingTransaction, PlanPrice, UnmatchedEvent
from onboarding.payload.schema import get
from tests.support.stripe_events import bought, connect, deliver, only_run, wait

OWNED = {"crm_owner_id": "u_1", "plan_sku": "pro"}
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stripe")]


@pytest.fixture
def stripe(db: None) -> None:
    connect()


def test_the_contact_of_a_session_is_not_the_company() -> None:
    deliver(bought(business="").session())
    content = only_run().payload
    assert get(content, "customer.legal_name") == ""
    assert get(content, "customer.primary_contact") == {"name": "Jordan Lee", "email": "jordan@acme-logistics.com"}


@pytest.mark.parametrize("order", list(permutations(("session", "invoice", "intent"))), ids="-".join)
@pytest.mark.parametrize("name", ["Jordan Lee", "JORDAN  LEE", "Lee, Jordan"])
def test_the_payer_does_not_become_the_company_in_whatever_order_it_is_told(order: tuple[str, ...], name: str) -> None:
    payment = bought(business="", metadata=OWNED)
    told = {
        "session": payment.session,
        "intent": payment.intent,
        "invoice": lambda: payment.invoice(customer_name=name),
    }
    for kind in order:
        deliver(told[kind]())
    wait()
    sweep.sweep()
    run = only_run()
    assert run.customer_name == ""
    assert run.status == Status.AWAITING_DATA
    assert [problem["path"] for problem in Ticket.objects.get().problems] == ["customer.legal_name"]


def test_a_persons_confirmation_of_such_a_name_stays() -> None:
    payment = bought(business="", metadata=OWNED)
    deliver(payment.invoice(customer_name="Jordan Lee"))
    services.fix(only_run().pk, {"customer.legal_name": "Jordan Lee"}, actor="kim")
    deliver(payment.session())
    assert only_run().customer_name == "Jordan Lee"


def test_nor_does_a_name_go_that_the_payment_itself_states() -> None:
    payment = bought(business="", metadata=OWNED)
    deliver(payment.invoice(customer_name="Jordan Lee"))
    payment.metadata = {**OWNED, "legal_name": "Jordan Lee"}
    deliver(payment.session())
    assert only_run().customer_name == "Jordan Lee"


def test_a_customers_name_is_the_companys_where_the_payer_is_called_otherwise() -> None:
    payment = bought(business="", metadata=OWNED)
    deliver(payment.invoice(customer_name="Acme Logistics"))
    deliver(payment.session())
    assert only_run().customer_name == "Acme Logistics"


def test_checkout_custom_fields_fill_the_payload() -> None:
    fields = [
        {"key": "companyname", "type": "text", "text": {"value": "Acme Logistics"}},
        {"key": "vatid", "type": "text", "text": {"value": "DE123456789"}},
        {"key": "seats", "type": "numeric", "numeric": {"value": "12"}},
    ]
    deliver(bought(business="", mode="payment").session(client_reference_id="order-77", custom_fields=fields))
    content = only_run().payload
    assert get(content, "customer.legal_name") == "Acme Logistics"
    assert get(content, "customer.tax_id") == "DE123456789"
    assert get(content, "commercial.order_id") == "order-77"
    assert get(content, "commercial.custom_fields.seats") == "12"


def test_an_order_of_the_metadata_wins_over_the_reference() -> None:
    deliver(bought(mode="payment", metadata={"order_id": "1001"}).session(client_reference_id="order-77"))
    assert get(only_run().payload, "commercial.order_id") == "1001"


def test_two_purchases_with_one_reference_are_two_runs() -> None:
    for _ in range(2):
        deliver(bought(mode="payment", customer="cus_1").session(client_reference_id="customer-7"))
    assert OnboardingTransaction.objects.count() == 2


def test_a_tax_id_of_the_checkout_or_the_invoice_is_taken() -> None:
    payment = bought()
    details = {"name": "Jordan Lee", "email": payment.email, "tax_ids": [{"type": "eu_vat", "value": "DE123456789"}]}
    deliver(payment.session(customer_details=details))
    assert get(only_run().payload, "customer.tax_id") == "DE123456789"


def test_the_period_that_is_paid_for_says_the_term() -> None:
    deliver(bought(version=BASIL, price="price_unknown", interval="month").invoice())
    assert get(only_run().payload, "commercial.term") == "monthly"


class TestWhoseEvents:
    def test_those_of_connected_accounts_are_stored_and_start_nothing(self) -> None:
        payment = bought()
        told = deliver({**payment.session(), "account": "acct_1"})
        assert (told.state, "acct_1" in told.outcome) == (EventState.IGNORED, True)
        deliver({**payment.refund(), "account": "acct_1"})
        assert not OnboardingTransaction.objects.exists()
        assert not UnmatchedEvent.objects.exists()

    @pytest.mark.parametrize("key", ["account", "context"])
    def test_those_that_the_connection_names_are_taken(self, key: str) -> None:
        connect(options={"accounts": "acct_1, acct_2"})
        for account, taken in (("acct_1", True), ("acct_2", True), ("acct_3", False), (None, False)):
            told = deliver({**bought().session(), key: account})
            assert told.state == (EventState.PROCESSED if taken else EventState.IGNORED)

    def test_own_stands_beside_named_ones(self) -> None:
        connect(options={"accounts": "own,acct_1"})
        for account in ("acct_1", None):
            assert deliver({**bought().session(), "account": account}).state == EventState.PROCESSED

    def test_what_is_no_account_is_refused(self) -> None:
        with pytest.raises(ValueError, match="acme"):
            connect(options={"accounts": "acct_1,acme"})

    def test_an_account_of_an_unexpected_shape_fails_visibly(self) -> None:
        assert deliver({**bought().session(), "account": {"id": "acct_1"}}).state == EventState.FAILED


def test_the_domain_comes_from_the_contact() -> None:
    deliver(bought().session())
    run = only_run()
    assert run.domain == "acme-logistics.com"
    assert run.snapshot.provenance["customer.domain"]["kind"] == "derived"


def test_every_listed_metadata_key_is_taken() -> None:
    values = dict.fromkeys(billing.FLAGS, "true") | dict.fromkeys(billing.NUMBERS, "14")
    full = {path: values.get(path, f"v-{path}") for path in billing.METADATA}
    short = {forms[0]: full[path] for path, forms in billing.METADATA.items()}
    assert billing.from_metadata(full) == billing.from_metadata(short)
    assert set(billing.from_metadata(full)) == set(billing.METADATA)


def test_a_flag_that_is_none_is_absent() -> None:
    assert billing.from_metadata({"no_domain": "maybe", "target_days": "soon"}) == {}


def test_the_price_says_plan_and_term() -> None:
    deliver(bought().invoice())
    content = only_run().payload
    assert (get(content, "commercial.plan_sku"), get(content, "commercial.term")) == ("pro", "annual")


def test_prices_of_the_admin_win_over_those_of_the_company(tmp_path: Any, settings: Any) -> None:
    (tmp_path / "prices.toml").write_text(
        '[prices]\nprice_pro_annual = { plan_sku = "gold" }\nprice_own = { plan_sku = "own" }\n'
    )
    settings.CONFIG_DIR = tmp_path
    assert billing.plan_for(["price_own"]) == ("own", "")
    assert billing.plan_for(["price_pro_annual"]) == ("gold", "")
    PlanPrice.objects.create(price_id="price_own", plan_sku="enterprise", term="annual")
    assert billing.plan_for(["price_own"]) == ("enterprise", "annual")
    assert billing.plan_for(["price_own", "price_pro_annual"]) is None
    assert billing.plan_for(["price_unknown"]) is None
