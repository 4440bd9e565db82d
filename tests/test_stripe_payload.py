"""What a Stripe payment becomes in the canonical payload."""

from typing import Any

import pytest

from onboarding.intake import billing
from onboarding.models import PlanPrice
from onboarding.payload.schema import get
from tests.stripe_events import bought, connect, deliver, only_run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stripe")]


@pytest.fixture
def stripe(db: None) -> None:
    connect()


def test_the_contact_of_a_session_is_not_the_company() -> None:
    deliver(bought(business="").session())
    content = only_run().payload
    assert get(content, "customer.legal_name") == ""
    assert get(content, "customer.primary_contact") == {"name": "Jordan Lee", "email": "jordan@acme-logistics.com"}


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
