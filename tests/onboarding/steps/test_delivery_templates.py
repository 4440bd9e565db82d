"""Which template a delivery project is made from: the playbook's table by plan and segment, else the connection's own."""

from typing import Any

import pytest

from integrations.connectors.objects import DeliveryProject
from integrations.errors import Kind, ProviderError
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from integrations.vendors.asana.sandbox.dialect import TEAM_GID, TEMPLATE_GID
from onboarding.steps.handler import Facts
from onboarding.steps.registry import HANDLERS
from tests.integrations.vendors.asana.test_connector import delivery
from tests.integrations.vendors.conformance import Bench

TABLE = {
    "templates": [
        {"plan": ["Scale", "Scale-Plus"], "segment": "enterprise", "template": "1"},
        {"segment": ["enterprise", "strategic"], "template": "2"},
        {"plan": "starter", "template": "3"},
    ]
}
OTHER = "1200000000000077"


def wanted(plan: str, segment: str, options: dict[str, Any] | None = None) -> DeliveryProject:
    content = {"customer": {"legal_name": "Acme", "segment": segment}, "commercial": {"plan_sku": plan}}
    made = HANDLERS["delivery.project"].wanted(Facts(content, "pay_1", options=TABLE if options is None else options))
    assert isinstance(made, DeliveryProject)
    return made


@pytest.mark.parametrize(
    ("plan", "segment", "template"),
    [
        ("scale-plus", "Enterprise", "1"),
        ("pro", "enterprise", "2"),
        ("scale", "strategic", "2"),
        ("starter", "", "3"),
        ("pro", "smb", ""),
        ("", "", ""),
    ],
)
def test_the_first_row_that_fits_names_it(plan: str, segment: str, template: str) -> None:
    assert wanted(plan, segment).template == template


def test_without_a_table_it_is_the_connections_own() -> None:
    assert wanted("scale", "enterprise", {}).template == ""


def test_a_project_keeps_its_template_whatever_becomes_of_the_plan() -> None:
    handler = HANDLERS["delivery.project"]
    content = {"customer": {"legal_name": "Acme", "segment": "enterprise"}, "commercial": {"plan_sku": "scale"}}
    assert handler.state(Facts(content, "pay_1", options=TABLE)) == {"name": "Acme onboarding"}
    assert not handler.reads_any(["commercial.plan_sku", "customer.segment"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"templates": [{"plan": "pro"}]}, "template"),
        ({"templates": [{"plans": ["pro"], "template": "1"}]}, "plans"),
        ({"templates": [{"template": ""}]}, "template"),
        ({"template": "1"}, "template"),
    ],
)
def test_a_table_that_says_something_else_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        HANDLERS["delivery.project"].check_options(options)


@pytest.mark.django_db(transaction=True)
def test_asana_makes_the_project_from_it(asana: Connection, sandbox: SandboxControl) -> None:
    sandbox.seed("asana", "project_templates", [{"gid": OTHER, "name": "Enterprise", "team": {"gid": TEAM_GID}}])
    for template in (OTHER, ""):
        delivery(asana).create(DeliveryProject(name="Acme", template=template), f"pay_{template}")
    made = [each["body"]["created_from_template"]["gid"] for each in sandbox.objects("asana", "projects")]
    assert made == [OTHER, TEMPLATE_GID]


@pytest.mark.django_db(transaction=True)
def test_asana_does_not_know_it(asana: Connection) -> None:
    with pytest.raises(ProviderError, match="the playbook's table of templates") as refused:
        delivery(asana).create(DeliveryProject(name="Acme", template="12"), "pay_1")
    assert refused.value.kind is Kind.NOT_CONFIGURED


@pytest.mark.django_db(transaction=True)
def test_jira_has_none(sandbox: SandboxControl) -> None:
    bench = Bench("jira", sandbox)
    with pytest.raises(ProviderError, match=r"delivery\.tasks") as refused:
        bench.connector().create(DeliveryProject(name="Acme", template="12"), "pay_1")
    assert refused.value.kind is Kind.NOT_CONFIGURED
    assert sandbox.objects("jira", "issues") == []
