"""The ERP steps at another provider than ``test_erp``'s: what they ask for is the same, whatever carries it out."""

from typing import Any

import pytest

from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Status
from tests.conftest import Drain, connect
from tests.onboarding.conftest import Accept, Settled, shown, status_of
from tests.onboarding.steps.test_erp import BOUGHT, TAX_ID, change

pytestmark = pytest.mark.usefixtures("connections", "erpnext")


@pytest.fixture
def erpnext(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return connect("erpnext", "erp", "/erpnext", sandbox, business_unit_field="business_unit")


def only(sandbox: SandboxControl, kind: str) -> dict[str, Any]:
    (found,) = sandbox.objects("erpnext", kind)
    return dict(found["body"])


def items(sandbox: SandboxControl) -> list[tuple[str, float, str, str]]:
    return [
        (each["item_code"], each["rate"], each["cost_center"], each["business_unit"])
        for each in only(sandbox, "Sales Order")["items"]
    ]


def test_made_changed_and_rolled_back(accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled) -> None:
    sandbox.add_fault("erpnext", "reset_after", method="POST", count=1)
    run = accept(**BOUGHT)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    customer, order = only(sandbox, "Customer"), only(sandbox, "Sales Order")
    assert (customer["customer_name"], customer["tax_id"], customer["payment_terms"]) == (
        "Acme Logistics",
        TAX_ID,
        "30 Days",
    )
    assert (order["company"], order["currency"], order["docstatus"]) == ("Firstvalue GmbH", "EUR", 0)
    where = ("CC-EMEA", "BU-MM")
    assert items(sandbox) == [
        ("FV-PRO", 8400.0, *where),
        ("FV-IMPL", 2400.0, *where),
        ("FV-SUPPORT", 1200.0, *where),
    ]
    settled()
    effects = change(run, drain, commercial__plan_sku="erp-enterprise", commercial__amount=20000)
    assert effects["erp.order"] == "update"
    assert items(sandbox) == [("FV-ENT", 16000.0, *where), ("FV-SUPPORT", 4000.0, *where)]
    settled()
    services.rollback(run.pk, actor="kim", reason="The customer withdrew")
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert only(sandbox, "Customer")["disabled"] == 1
    assert sandbox.objects("erpnext", "Sales Order") == []
