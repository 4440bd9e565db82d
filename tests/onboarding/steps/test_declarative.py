"""Steps of mapped vendors: each kind of create safety, batches, and a whole playbook, whatever is lost."""

import json
import re
import time
from datetime import timedelta
from typing import Any

import pytest
import requests

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations import clock
from integrations.connections.services import set_connection
from integrations.connectors import registry
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Category, IntentState, Scope, Status, StepState, WaitsFor
from onboarding.models import Intent, ObjectMapping, OnboardingTransaction
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, customer, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_faults import resume

KIM = Actor("kim", Scope.OPERATE)
USERS = [
    {"name": "Sam Roe", "email": "sam@acme-logistics.com", "role": "admin"},
    {"name": "Lou Poe", "email": "lou@acme-logistics.com", "role": ""},
    {"name": "", "email": "", "role": ""},
]
MADE = {"accounts": 1, "contacts": 2, "workspaces": 1, "tasks": 5, "widgets": 1, "seats": 2}
SYSTEMS = {"keyed": "product", "upserting": "erp", "plain": "identity"}
CREATES = {
    "account": {"method": "PUT", "path": "^/accounts/by-reference/"},
    "workspace": {"method": "POST", "path": "^/workspaces$"},
    "tasks": {"method": "POST", "path": "^/tasks/batch$"},
    "widget": {"method": "POST", "path": "^/widgets$"},
    "seats": {"method": "POST", "path": "^/seats/batch$"},
}
"""The create of each step but the contacts'."""
PROTECTED = ("account", "workspace", "tasks")
LOST = ["error_after", "reset_after", "timeout_after", "malformed", "wrong_shape"]
NOT_DONE = ["error_before", "reset_before", "timeout_before"]


@pytest.fixture(autouse=True)
def vendors(transactional_db: None, sandbox: SandboxControl, settings: Any) -> dict[str, Connection]:
    settings.CALL_SECONDS = 0.4
    return {
        name: set_connection(
            name,
            system=system,
            provider=name,
            base_url=f"{sandbox.base_url}/widgets/v1",
            environment="sandbox",
            secrets={"token": ["sandbox-widgets-token"]},
            options={"region": "eu"} if name == "keyed" else {},
            actor="tests",
        )
        for name, system in SYSTEMS.items()
    }


@pytest.fixture
def begin(accept: Accept) -> Accept:
    """``accept``, for the playbook of the mapped vendors."""
    return lambda **changes: accept(**{"commercial__plan_sku": "mapped", "users": USERS, **changes})


def created(sandbox: SandboxControl) -> dict[str, int]:
    kinds = sandbox.counts()["vendors"]["widgets"]
    return {kind: count["created"] for kind, count in kinds.items() if count["created"]}


def sent(sandbox: SandboxControl, key: str) -> list[dict[str, Any]]:
    create = CREATES[key]
    found = [each for each in sandbox.requests("widgets") if each["method"] == create["method"]]
    return [each for each in found if re.search(create["path"], each["path"])]


def the_only(sandbox: SandboxControl, kind: str) -> dict[str, Any]:
    (only,) = sandbox.objects("widgets", kind)
    return dict(only["body"])


# --- Without a fault ------------------------------------------------------------------------------------------------


def test_a_whole_playbook_makes_everything_once(
    begin: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = begin()
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert created(sandbox) == MADE
    assert not Ticket.objects.exists()
    workspace = the_only(sandbox, "workspaces")
    assert workspace["plan"] == {"sku": "mapped", "amount": 12000, "label": "mapped/annual"}
    account = run.mappings.get(kind="account")
    assert (workspace["account"], workspace["region"]) == (account.external_id, "eu")
    assert (workspace["status"], workspace["owner"]) == ("provisioning", "u_456")
    assert account.url == f"https://app.widgets.example/accounts/{account.external_id}"
    assert [len(sent(sandbox, key)) for key in CREATES] == [1] * len(CREATES)
    settled()


def test_a_batch_is_one_intent_and_a_mapping_an_item(begin: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = begin()
    drain()
    tasks = {task["body"]["name"]: task["id"] for task in sandbox.objects("widgets", "tasks")}
    mapped = dict(run.mappings.filter(kind="task").values_list("item", "external_id"))
    assert mapped == tasks
    assert [task["body"]["due"] for task in sandbox.objects("widgets", "tasks")] == [0, 3, 7, 10, 14]
    assert Intent.objects.filter(step__key="tasks").values_list("item", "state").get() == ("", IntentState.DONE)
    assert set(run.mappings.filter(kind="task").values_list("created_by_us", flat=True)) == {True}


def test_a_second_purchase_shares_what_the_mapping_matches(
    begin: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    begin()
    drain()
    second = begin(onboarding_transaction_id="pay_2")
    drain()
    assert status_of(second) == Status.COMPLETE, shown(second)
    assert created(sandbox) == MADE | {"workspaces": 2, "tasks": 10, "widgets": 2, "seats": 4}
    begin(**customer("beta"))
    drain()
    assert created(sandbox)["accounts"] == 2
    settled()


def test_an_object_that_is_there_is_linked_by_its_key(begin: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    (known,) = sandbox.seed("widgets", "accounts", [{"name": "Acme", "domain": "ACME-logistics.com"}])
    run = begin()
    drain()
    account = run.mappings.get(kind="account")
    assert (account.external_id, account.how, account.created_by_us) == (known, "domain", False)


def test_several_matches_are_chosen_by_a_person(begin: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    same = {"name": "Acme", "domain": "acme-logistics.com"}
    ids = sandbox.seed("widgets", "accounts", [same, same])
    run = begin()
    drain()
    ticket = ticket_of(run, "account")
    assert ticket.category == Category.AMBIGUOUS_MATCH
    assert step_of(run, "account").candidates[0]["evidence"]["domain"] == "acme-logistics.com"
    actions.perform(ticket.pk, "choose-match", KIM, external_id=ids[1])
    drain()
    assert run.mappings.get(kind="account").external_id == ids[1]
    assert status_of(run) == Status.COMPLETE, shown(run)


def test_step_without_users_has_nothing_to_do(begin: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = begin(users=[])
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert "contacts" not in created(sandbox)


def test_missing_provider_connection_opens_a_ticket(begin: Accept, drain: Drain) -> None:
    Connection.objects.filter(slug="plain").update(enabled=False)
    run = begin()
    drain()
    ticket = ticket_of(run, "widget")
    assert ticket.category == Category.NOT_CONFIGURED
    assert "provider “plain”" in step_of(run, "widget").message


# --- Faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [0, "until the hold-off"])
@pytest.mark.parametrize("fault", LOST)
def test_lost_answer_creates_no_duplicate(
    fault: str, lag: object, begin: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    for create in CREATES.values():
        sandbox.add_fault("widgets", fault, count=1, **create)
    if lag:
        sandbox.configure("widgets", search_lag="never")
    run = begin()
    if lag:
        for _ in range(3):
            scheduling.one_pass(publish=False)
            clock.shift(timedelta(seconds=4))
        sandbox.configure("widgets", search_lag=0)
    drain()
    assert [each["count"] for each in sandbox.faults()] == [0] * len(CREATES), "a fault never struck"
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert created(sandbox) == MADE
    assert set(run.mappings.filter(kind="seat").values_list("created_by_us", flat=True)) == {True}
    settled()


@pytest.mark.parametrize("fault", NOT_DONE)
def test_indeterminate_create_is_repeated_only_with_vendor_protection(
    fault: str, begin: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    for create in CREATES.values():
        sandbox.add_fault("widgets", fault, count=1, **create)
    run = begin()
    drain()
    states = {key: step_of(run, key).state for key in CREATES}
    assert states == {key: StepState.SUCCEEDED if key in PROTECTED else StepState.BLOCKED for key in CREATES}
    assert created(sandbox) == {kind: MADE[kind] for kind in ("accounts", "contacts", "workspaces", "tasks")}
    assert {ticket_of(run, key).category for key in ("widget", "seats")} == {Category.UNKNOWN_OUTCOME}
    settled()
    for key in ("widget", "seats"):
        actions.perform(ticket_of(run, key).pk, "choose-match", KIM, create=True)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert created(sandbox) == MADE


@pytest.mark.parametrize("fault", ["rate_limit", "unauthorized", "forbidden"])
def test_definitely_refused_create_is_sent_again(
    fault: str, begin: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    for create in CREATES.values():
        sandbox.add_fault("widgets", fault, count=1, **create)
    run = begin()
    drain()
    for _ in CREATES:
        resume(drain)
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert created(sandbox) == MADE
    settled()


def test_a_vendor_that_ignores_keys_is_searched_before_anything_is_sent_again(
    begin: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.configure("widgets", idempotency="ignore", search_lag=10)
    for key in ("workspace", "tasks"):
        sandbox.add_fault("widgets", "error_after", count=1, **CREATES[key])
    run = begin()
    for _ in range(3):
        scheduling.one_pass(publish=False)
        clock.shift(timedelta(seconds=4))
    step = step_of(run, "workspace")
    assert (step.waits_for, len(sent(sandbox, "workspace"))) == (WaitsFor.HOLD_OFF, 1)
    sandbox.configure("widgets", search_lag=0)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert created(sandbox) == MADE
    settled()


# --- The key's lifetime ---------------------------------------------------------------------------------------------


@pytest.fixture
def lost(begin: Accept, sandbox: SandboxControl) -> OnboardingTransaction:
    """A run whose workspace was made, the answer lost, and no search shows it."""
    sandbox.configure("widgets", search_lag="never")
    sandbox.add_fault("widgets", "error_after", count=1, **CREATES["workspace"])
    run = begin()
    for _ in range(4):
        scheduling.one_pass(publish=False)
        if sent(sandbox, "workspace"):
            break
    assert Intent.objects.get(step__key="workspace").indeterminate_since is not None
    return run


def test_within_its_lifetime_the_same_key_is_sent_with_the_same_parameters(
    lost: OnboardingTransaction, drain: Drain, sandbox: SandboxControl
) -> None:
    lost.snapshots.update(content={**lost.payload, "customer": {**lost.payload["customer"], "legal_name": "Other"}})
    drain()
    first, second = sent(sandbox, "workspace")
    assert first["idempotency_key"] == second["idempotency_key"]
    assert first["body"] == second["body"]
    assert created(sandbox)["workspaces"] == 1
    assert step_of(lost, "workspace").state == StepState.SUCCEEDED


def test_after_its_lifetime_only_a_search_or_a_person_decides(
    lost: OnboardingTransaction, drain: Drain, sandbox: SandboxControl
) -> None:
    clock.shift(timedelta(days=1))
    drain()
    assert len(sent(sandbox, "workspace")) == 1
    assert ticket_of(lost, "workspace").category == Category.UNKNOWN_OUTCOME
    sandbox.configure("widgets", search_lag=0)
    resume(drain)
    assert status_of(lost) == Status.COMPLETE, shown(lost)
    assert created(sandbox)["workspaces"] == 1


@pytest.mark.parametrize("fault", ["rate_limit", "unauthorized"])
def test_refused_repeat_leaves_the_outcome_indeterminate(
    fault: str, lost: OnboardingTransaction, drain: Drain, sandbox: SandboxControl
) -> None:
    """Else the next attempt, after the key's lifetime, would count as the first one."""
    sandbox.add_fault("widgets", fault, count=None, **CREATES["workspace"])
    drain()
    intent = Intent.objects.get(step__key="workspace")
    assert (intent.state, intent.indeterminate_since is None) == (IntentState.INDETERMINATE, False)
    sandbox.clear_faults()
    clock.shift(timedelta(days=1))
    resume(drain)
    assert created(sandbox)["workspaces"] == 1
    assert ticket_of(lost, "workspace").category == Category.UNKNOWN_OUTCOME


def test_fixed_data_gets_a_new_idempotency_key(begin: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("widgets", "error_before", status=422, count=1, **CREATES["workspace"])
    run = begin()
    drain()
    run.snapshots.update(content={**run.payload, "commercial": {**run.payload["commercial"], "term": "monthly"}})
    resume(drain)
    first, second = sent(sandbox, "workspace")
    assert first["idempotency_key"] != second["idempotency_key"]
    assert the_only(sandbox, "workspaces")["plan"]["label"] == "mapped/monthly"


def test_a_refused_field_of_a_mapped_vendor_is_a_form_on_its_ticket(
    begin: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.configure("widgets", refused=["name"])
    run = begin()
    drain()
    ticket = ticket_of(run, "widget")
    assert ticket.category == Category.VALIDATION_ERROR
    assert [(each["path"], each["reason"]) for each in ticket.problems] == [("customer.legal_name", "is not accepted")]
    assert "fix" in {action.name for action in actions.available(ticket, KIM)}
    sandbox.configure("widgets", refused=[])
    actions.perform(ticket.pk, "fix", KIM, fields={"customer.legal_name": "Acme Logistics GmbH"})
    drain()
    assert step_of(run, "widget").state == StepState.SUCCEEDED
    (widget,) = sandbox.objects("widgets", "widgets")
    assert widget["body"]["name"] == "Acme Logistics GmbH"


def test_replayed_answer_for_a_deleted_object_is_not_trusted(
    begin: Accept, drain: Drain, sandbox: SandboxControl, vendors: dict[str, Connection]
) -> None:
    run = begin()
    drain()
    workspace = run.mappings.get(kind="workspace").external_id
    connector_of(vendors["keyed"]).undo("workspace", workspace)
    connector_of(vendors["keyed"]).undo("workspace", workspace)  # gone already is as good
    services.replay(run.pk, "workspace", actor="kim")
    drain()
    assert ticket_of(run, "workspace").category == Category.UNKNOWN_OUTCOME
    assert workspace in step_of(run, "workspace").message


def connector_of(connection: Connection) -> Any:
    return registry.connector(connection, subject="tests", deadline=time.monotonic() + 30)


# --- Conflicts and batches ------------------------------------------------------------------------------------------


def test_a_conflict_that_names_our_own_object_links_it(
    begin: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.configure("widgets", unique=["reference"], search_lag="never")
    sandbox.add_fault("widgets", "error_after", count=1, **CREATES["widget"])
    run = begin()
    drain()
    actions.perform(ticket_of(run, "widget").pk, "choose-match", KIM, create=True)
    drain()
    widget = run.mappings.get(kind="widget")
    assert (widget.how, widget.created_by_us, created(sandbox)["widgets"]) == ("reference", True, 1)
    settled()


def test_batch_requests_only_missing_items(begin: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = begin()
    drain()
    gone = run.mappings.get(item="Train the users")
    sandbox_delete(sandbox, "tasks", gone.external_id)
    services.replay(run.pk, "tasks", actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    items = json.loads(sent(sandbox, "tasks")[-1]["body"])["items"]
    assert [item["name"] for item in items] == ["Train the users"]
    assert created(sandbox)["tasks"] == 5
    assert run.mappings.get(item="Train the users").external_id != gone.external_id


def sandbox_delete(sandbox: SandboxControl, kind: str, row_id: str) -> None:
    answer = requests.delete(
        f"{sandbox.base_url}/widgets/v1/{kind}/{row_id}",
        headers={"Authorization": "Bearer sandbox-widgets-token"},
        timeout=5,
    )
    assert answer.status_code == 204


def test_a_person_links_the_objects_of_a_lost_batch(
    begin: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.configure("widgets", search_lag="never")
    sandbox.add_fault("widgets", "reset_after", count=1, **CREATES["seats"])
    run = begin()
    drain()
    ticket = ticket_of(run, "seats")
    assert "Lacking: one, two." in step_of(run, "seats").message
    ids = [seat["id"] for seat in sandbox.objects("widgets", "seats")]
    actions.perform(ticket.pk, "link-object", KIM, external_id=", ".join(ids))
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    linked = ObjectMapping.objects.filter(kind="seat").order_by("pk")
    assert list(linked.values_list("item", "external_id", "how")) == [
        ("one", ids[0], "person"),
        ("two", ids[1], "person"),
    ]
    assert created(sandbox) == MADE
    settled()


def test_batch_with_a_lost_worker_is_looked_up_first(begin: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    """A row as a killed worker leaves it: the intent open, its lease over, the objects made."""
    run = begin()
    drain()
    step, now = step_of(run, "seats"), clock.now()
    run.mappings.filter(kind="seat").delete()
    Intent.objects.filter(step=step).update(state=IntentState.INDETERMINATE, token=step.token, send_by=now)
    services.replay(run.pk, "seats", actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert len(sent(sandbox, "seats")) == 1
    assert created(sandbox)["seats"] == 2
