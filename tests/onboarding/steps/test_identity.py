"""A run that provisions identity: the customer's group and its users, once, undone by deactivation."""

from typing import Any

import pytest
import requests

from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Category, Status, StepState
from onboarding.models import ObjectMapping, OnboardingTransaction
from tests.conftest import Drain, connect
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_flow import created
from tests.support.scim import HEADERS

pytestmark = pytest.mark.usefixtures("connections", "scim")
PLAN = {"commercial__plan_sku": "identity"}
JORDAN, SAM = "jordan@acme-logistics.com", "sam@acme-logistics.com"
USERS = [{"name": "Sam Roe", "email": SAM}, {"name": "", "email": "", "role": "admin"}]


@pytest.fixture
def scim(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return connect("scim", "identity", "/scim/v2", sandbox)


@pytest.fixture
def ready(accept: Accept, drain: Drain) -> OnboardingTransaction:
    run = accept(**PLAN, users=USERS)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    return run


def users(sandbox: SandboxControl) -> dict[str, Any]:
    return {each["body"]["userName"]: each["body"] | {"id": each["id"]} for each in sandbox.objects("scim", "Users")}


def active(sandbox: SandboxControl) -> dict[str, bool]:
    return {name: body["active"] for name, body in users(sandbox).items()}


def members(sandbox: SandboxControl) -> list[str]:
    names = {body["id"]: name for name, body in users(sandbox).items()}
    (group,) = (each["body"] for each in sandbox.objects("scim", "Groups"))
    return [names[each["value"]] for each in group["members"]]


def at_server(sandbox: SandboxControl, name: str, **values: Any) -> None:
    """As an administrator there would."""
    url = f"{sandbox.base_url}/scim/v2/Users/{users(sandbox)[name]['id']}"
    operations = [{"op": "replace", "value": values}]
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations}
    with requests.Session() as session:
        session.trust_env = False
        session.patch(url, json=body, headers=HEADERS, timeout=10).raise_for_status()


def test_the_group_and_its_users_are_made_once(
    ready: OnboardingTransaction, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    assert created(sandbox) == {"companies": 1, "organizations": 1, "Groups": 1, "Users": 2}
    assert members(sandbox) == [JORDAN, SAM]
    sam = users(sandbox)[SAM]
    assert (sam["displayName"], sam["name"]) == ("Sam Roe", {"givenName": "Sam", "familyName": "Roe"})
    accept(**PLAN, users=USERS, onboarding_transaction_id="pay_2")
    drain()
    assert created(sandbox) == {"companies": 1, "organizations": 1, "Groups": 1, "Users": 2}
    assert not ObjectMapping.objects.filter(transaction__onboarding_transaction_id="pay_2", created_by_us=True).exists()
    settled()


def test_a_lost_answer_makes_no_second_one(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    for path in ("/Users", "/Groups"):
        sandbox.add_fault("scim", "reset_after", method="POST", path=path, count=1)
    run = accept(**PLAN, users=USERS)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert created(sandbox) == {"companies": 1, "organizations": 1, "Groups": 1, "Users": 2}
    assert run.mappings.filter(created_by_us=True, step__system="identity").count() == 3
    settled()


def test_rollback_deactivates_and_the_next_run_activates_again(
    ready: OnboardingTransaction, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    before = {name: body["id"] for name, body in users(sandbox).items()}
    services.rollback(ready.pk, actor="kim", reason="The customer withdrew")
    drain()
    assert status_of(ready) == Status.ROLLED_BACK, shown(ready)
    assert active(sandbox) == {JORDAN: False, SAM: False}
    assert sandbox.objects("scim", "Groups") == []
    again = accept(**PLAN, users=USERS, onboarding_transaction_id="pay_2")
    drain()
    assert status_of(again) == Status.COMPLETE, shown(again)
    assert {name: body["id"] for name, body in users(sandbox).items()} == before
    assert active(sandbox) == {JORDAN: True, SAM: True}
    assert members(sandbox) == [JORDAN, SAM]
    assert users(sandbox)[SAM]["externalId"].startswith("firstvalue:user:")


def test_a_user_whom_somebody_deactivated_is_for_a_person(
    ready: OnboardingTransaction, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    at_server(sandbox, SAM, active=False)
    run = accept(**PLAN, users=USERS, onboarding_transaction_id="pay_2")
    drain()
    ticket = ticket_of(run, "identity.users")
    assert ticket.category == Category.AMBIGUOUS_MATCH
    assert "SCIM has deactivated the user “Sam Roe”" in ticket.message
    assert step_of(run, "support.organization").state == StepState.SUCCEEDED
    assert active(sandbox)[SAM] is False
    settled()
    at_server(sandbox, SAM, active=True)
    services.retry_step(step_of(run, "identity.users").pk, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)


def test_rollback_leaves_a_user_whom_somebody_deactivated_without_our_mark(
    ready: OnboardingTransaction, drain: Drain, sandbox: SandboxControl
) -> None:
    at_server(sandbox, SAM, active=False)
    before = users(sandbox)[SAM]
    services.rollback(ready.pk, actor="kim", reason="The customer withdrew")
    drain()
    assert users(sandbox)[SAM] == before


def test_users_that_were_there_stay_active(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.seed("scim", "Users", [{"userName": "SAM@acme-logistics.com", "displayName": "Sam", "active": True}])
    run = accept(**PLAN, users=USERS)
    drain()
    assert len(users(sandbox)) == 2
    services.rollback(run.pk, actor="kim", reason="The customer withdrew")
    drain()
    assert active(sandbox) == {"SAM@acme-logistics.com": True, JORDAN: False}


def test_a_namesake_of_the_group_is_shown_to_a_person(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.seed("scim", "Groups", [{"displayName": "ACME Logistics"}])
    run = accept(**PLAN)
    drain()
    assert ticket_of(run, "identity.group").category == Category.AMBIGUOUS_MATCH
    assert sandbox.objects("scim", "Users") == []


def test_a_change_adds_a_user_and_renames_another(
    ready: OnboardingTransaction, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    kim = {"name": "Kim Poe", "email": "kim@acme-logistics.com"}
    fields = {"users": [{"name": "Sam Doe", "email": SAM}, kim]}
    change = services.request_change(ready.pk, fields, actor="kim")
    effects = {each.step: each for each in services.change_preview(change.pk)}
    assert effects["identity.users"].verdict == "update"
    assert "One more user is looked up, and created where there is none." in effects["identity.users"].text
    assert "identity.group" not in effects
    services.apply_change(change.pk, actor="lee")
    drain()
    assert members(sandbox) == [JORDAN, SAM, kim["email"]]
    assert users(sandbox)[SAM]["displayName"] == "Sam Doe"
    settled()


def test_identity_that_fails_pauses_its_branch_alone(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.set_tokens("scim", ["another"])
    run = accept(**PLAN)
    drain()
    assert status_of(run) == Status.PROVISIONING
    assert step_of(run, "support.organization").state == StepState.SUCCEEDED
    assert step_of(run, "identity.group").state != StepState.SUCCEEDED
    settled()
