"""A plan change on a finished enterprise run reaches CRM, ERP, support entitlement and product entitlement, and nothing else."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config.demo import COMPANY
from exceptions_queue.models import Ticket
from integrations.connections.services import set_connection
from integrations.connectors import registry
from integrations.declarative.mapping import mappings
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Category, Status, StepState
from onboarding.models import OnboardingTransaction
from onboarding.playbooks.playbook import playbooks
from onboarding.steps import declarative
from tests.conftest import Drain, connect
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of
from tests.onboarding.playbooks.test_standard import kickoff_is_scheduled
from tests.onboarding.steps.test_erp import at_odoo

pytestmark = pytest.mark.usefixtures("company", "connections", "smtp", "others")
BOUGHT = {
    "customer__segment": "enterprise",
    "customer__tax_id": "DE136695976",
    "users": [{"name": "Sam Roe", "email": "sam@acme-logistics.com", "role": "admin"}],
}
UPGRADE = {"commercial.plan_sku": "enterprise", "commercial.amount": 20000}
READ = ("/search", "/batch/read", "/search_read", "/read", "/search_count", "/fields_get")


@pytest.fixture
def company(settings: Any, tmp_path: Path) -> Iterator[Path]:
    """The demo's sample company, to change; afterwards that of the other tests is back."""
    before, settings.CONFIG_DIR = settings.CONFIG_DIR, shutil.copytree(COMPANY, tmp_path / "company")
    _read_anew()
    yield settings.CONFIG_DIR
    settings.CONFIG_DIR = before
    _read_anew()


def _read_anew() -> None:
    mappings.cache_clear()
    registry.load_mappings()
    declarative.load()
    playbooks.cache_clear()


@pytest.fixture
def others(company: Path, transactional_db: None, sandbox: SandboxControl) -> None:
    connect("odoo", "erp", "/odoo", sandbox)
    connect("scim", "identity", "/scim/v2", sandbox)
    set_connection(
        "product",
        system="product",
        provider="product",
        base_url=f"{sandbox.base_url}/widgets/v1",
        environment="sandbox",
        secrets={"token": ["sandbox-widgets-token"]},
        actor="tests",
    )


@pytest.fixture
def begin(accept: Accept, drain: Drain) -> Accept:
    def to_its_end(**changes: Any) -> OnboardingTransaction:
        run = accept(**BOUGHT, **changes)
        drain()
        kickoff_is_scheduled(run)
        drain()
        assert status_of(run) == Status.COMPLETE, shown(run)
        return run

    return to_its_end


def change(run: OnboardingTransaction, drain: Drain, fields: dict[str, Any]) -> dict[str, str]:
    """What was said of each step beforehand; then it is applied."""
    request = services.request_change(run.pk, fields, actor="kim")
    effects = {each.step: each.verdict for each in services.change_preview(request.pk)}
    services.apply_change(request.pk, actor="lee")
    drain()
    return effects


def written(sandbox: SandboxControl, since: int) -> set[tuple[str, str]]:
    """(vendor, kind of object) of what was written."""
    kinds = (
        "line_items",
        "deals", "notes", "companies", "contacts", "tasks", "projects", "sale.order", "res.partner", "organizations", "users",
        "tickets", "tenants", "entitlements", "Users", "Groups", "mail",
    )  # fmt: skip
    found = set()
    for row in sandbox.requests(since=since):
        if row["method"] not in ("GET", "HEAD") and not row["path"].endswith(READ):
            named = [kind for kind in kinds if kind in row["path"]]
            found.add((row["vendor"], min(named, key=row["path"].index, default=row["path"])))
    return found


def last(sandbox: SandboxControl) -> int:
    return max(row["seq"] for row in sandbox.requests())


def only(sandbox: SandboxControl, vendor: str, kind: str) -> dict[str, Any]:
    (found,) = sandbox.objects(vendor, kind)
    return dict(found["body"]) | {"id": found["id"]}


def order_lines(sandbox: SandboxControl) -> list[tuple[str, float]]:
    lines = [each["body"] for each in sandbox.objects("odoo", "sale.order.line") if each["body"].get("product_id")]
    return [
        (each["name"].partition(" (")[0], each["price_unit"])
        for each in sorted(lines, key=lambda line: int(line["sequence"]))
    ]


def test_the_enterprise_run_makes_product_and_support_beside_the_others(
    begin: Accept, sandbox: SandboxControl, settled: Settled
) -> None:
    run = begin()
    tenant, entitlement = only(sandbox, "widgets", "tenants"), only(sandbox, "widgets", "entitlements")
    assert (tenant["name"], tenant["domain"]) == ("Acme Logistics", "acme-logistics.com")
    assert (entitlement["plan"], entitlement["term"], entitlement["tenant"]) == ("pro", "annual", tenant["id"])
    assert set(step_of(run, "product.tenant").after) == {"crm.account"}
    assert not Ticket.objects.exists()
    settled()


def test_a_plan_change_reaches_what_stands_for_the_plan_and_nothing_else(
    begin: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run, before = begin(), last(sandbox)
    effects = change(run, drain, UPGRADE)
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert {step: verdict for step, verdict in effects.items() if verdict in ("update", "send-again")} == {
        "crm.deal": "update",
        "crm.deal-lines": "update",
        "crm.note": "update",
        "erp.order": "update",
        "support.entitlement": "send-again",
        "product.entitlement-update": "send-again",
    }
    assert written(sandbox, before) == {
        ("hubspot", "deals"),
        ("hubspot", "line_items"),
        ("hubspot", "notes"),
        ("odoo", "sale.order"),
        ("zendesk", "organizations"),
        ("widgets", "entitlements"),
    }
    deal = only(sandbox, "hubspot", "deals")
    assert (deal["dealname"], deal["amount"]) == ("Acme Logistics: enterprise", "20000")
    line = only(sandbox, "hubspot", "line_items")
    assert (line["name"], line["hs_sku"], line["quantity"], line["price"]) == ("enterprise", "enterprise", "1", "20000")
    assert order_lines(sandbox) == [("Enterprise", 16000.0), ("enterprise: managed support", 4000.0)]
    organization = only(sandbox, "zendesk", "organizations")
    assert organization["tags"] == ["plan-enterprise"]
    assert organization["organization_fields"] == {"sla_tier": "enterprise", "support_plan": "Premier"}
    assert only(sandbox, "widgets", "entitlements")["plan"] == "enterprise"
    assert not Ticket.objects.filter(resolved_at=None).exists()
    settled()


def test_a_change_back_leaves_everything_as_it_was(
    begin: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = begin()
    order = order_lines(sandbox)
    change(run, drain, UPGRADE)
    change(run, drain, {"commercial.plan_sku": "pro", "commercial.amount": 12000})
    assert status_of(run) == Status.COMPLETE, shown(run)
    organization = only(sandbox, "zendesk", "organizations")
    assert (organization["tags"], organization["organization_fields"]["sla_tier"]) == (["plan-pro"], "premium")
    assert only(sandbox, "widgets", "entitlements")["plan"] == "pro"
    assert order_lines(sandbox) == order
    settled()


def test_what_no_step_writes_is_a_ticket_that_says_what_to_do(
    company: Path, begin: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    """A company whose product takes no other plan by its API."""
    file = company / "playbooks" / "enterprise.toml"
    step = '[[steps]]\nkey = "product.entitlement-update"\nuses = "http:entitlement.update"\nafter = ["product.entitlement"]\n\n'
    text = file.read_text()
    assert step in text
    file.write_text(text.replace(step, "").replace('"product.entitlement-update"', '"product.entitlement"'))
    playbooks.cache_clear()
    run, before = begin(), last(sandbox)
    effects = change(run, drain, UPGRADE)
    assert effects["product.entitlement"] == "by-hand"
    assert status_of(run) == Status.COMPLETE, shown(run)
    made = only(sandbox, "widgets", "entitlements")
    assert made["plan"] == "pro"
    assert not any(vendor == "widgets" for vendor, _ in written(sandbox, before))
    ticket = Ticket.objects.get(transaction=run, resolved_at=None)
    assert f"Change “Plan” in Product: entitlement {made['id']}" in ticket.message
    assert ticket.queue
    settled()


def test_an_order_that_finance_has_confirmed_is_a_ticket_and_the_others_follow(
    begin: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = begin()
    at_odoo(sandbox, "sale.order", "action_confirm", ids=[int(only(sandbox, "odoo", "sale.order")["id"])])
    change(run, drain, UPGRADE)
    ticket = ticket_of(run, "erp.order")
    assert (ticket.queue, ticket.category) == ("finance", Category.VALIDATION_ERROR)
    for key in ("crm.deal", "support.entitlement", "product.entitlement-update"):
        assert step_of(run, key).state == StepState.SUCCEEDED
    assert only(sandbox, "widgets", "entitlements")["plan"] == "enterprise"
    settled()
