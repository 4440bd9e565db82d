"""What a vendor has put out of use is no success: a person is told, and decides."""

from typing import Any

import pytest
import requests

from exceptions_queue.admin.tickets import texts
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations.sandbox.control import SandboxControl
from integrations.vendors.asana.sandbox.dialect import TEAM_GID
from onboarding import services
from onboarding.enums import Category, Scope, Status, StepState
from onboarding.models import OnboardingTransaction
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of

KIM = Actor("kim", Scope.OPERATE)
EMAIL = "jordan@acme-logistics.com"

pytestmark = pytest.mark.usefixtures("connections")


def at_vendor(sandbox: SandboxControl, method: str, vendor: str, path: str, body: dict[str, Any] | None = None) -> None:
    """As somebody there would."""
    prefix = {"asana": "/asana/api/1.0", "zendesk": "/zendesk/api/v2"}[vendor]
    headers = {"Authorization": f"Bearer sandbox-{vendor}-token", "Content-Type": "application/json"}
    with requests.Session() as session:
        session.trust_env = False
        url = f"{sandbox.base_url}{prefix}{path}"
        session.request(method, url, json=body, headers=headers, timeout=10).raise_for_status()


@pytest.fixture
def suspended(whole_playbook: None, smtp: Any, sandbox: SandboxControl) -> str:
    """The contact, whom somebody has suspended at the help desk."""
    seed = {"name": "Jordan Lee", "email": EMAIL, "suspended": True}
    return sandbox.seed("zendesk", "users", [seed])[0]


def test_a_suspended_user_is_not_ready_until_somebody_restores_them(
    suspended: str, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept()
    drain()
    ticket = ticket_of(run, "support.users")
    assert ticket.category == Category.AMBIGUOUS_MATCH
    assert f"Zendesk has suspended the user “Jordan Lee” ({suspended})" in ticket.message
    assert [each["external_id"] for each in ticket.candidates] == [suspended]
    assert status_of(run) == Status.PROVISIONING
    settled()
    at_vendor(sandbox, "PUT", "zendesk", f"/users/{suspended}", {"user": {"suspended": False}})
    services.retry_step(step_of(run, "support.users").pk, actor="kim")
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    settled()


def test_choosing_a_suspended_user_does_not_succeed(
    suspended: str, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept()
    drain()
    actions.perform(ticket_of(run, "support.users").pk, "choose-match", KIM, external_id=suspended)
    drain()
    assert "has suspended" in ticket_of(run, "support.users").message
    settled()
    at_vendor(sandbox, "PUT", "zendesk", f"/users/{suspended}", {"user": {"suspended": False}})
    services.retry_step(step_of(run, "support.users").pk, actor="kim")
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)


def test_creating_a_user_beside_a_suspended_one_does_not_succeed(
    suspended: str, accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept()
    drain()
    actions.perform(ticket_of(run, "support.users").pk, "choose-match", KIM, create=True)
    drain()
    ticket = ticket_of(run, "support.users")
    assert (ticket.category, ticket.problems[0]["path"]) == (Category.VALIDATION_ERROR, "users")
    assert "has suspended" in ticket.message
    assert len(sandbox.objects("zendesk", "users")) == 1
    settled()


@pytest.fixture
def archived(accept: Accept, sandbox: SandboxControl) -> OnboardingTransaction:
    """A run under whose reference somebody has archived a project."""
    seed = {"name": "Acme Logistics onboarding [pay_1]", "team": {"gid": TEAM_GID}, "archived": True}
    sandbox.seed("asana", "projects", [seed])
    return accept(onboarding_transaction_id="pay_1")


def test_archived_project_is_decided_by_a_person(
    archived: OnboardingTransaction, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    drain()
    (project,) = sandbox.objects("asana", "projects")
    ticket = ticket_of(archived, "delivery.project")
    assert ticket.category == Category.AMBIGUOUS_MATCH
    assert f"Asana has archived the project “Acme Logistics onboarding [pay_1]” ({project['id']})" in ticket.message
    settled()
    told = texts.story(ticket)
    assert told.headline == "Asana has archived the project Acme Logistics onboarding [pay_1]; Acme Logistics waits"
    at_vendor(sandbox, "PUT", "asana", f"/projects/{project['id']}", {"data": {"archived": False}})
    actions.perform(ticket.pk, "choose-match", KIM, external_id=project["id"])
    drain()
    assert status_of(archived) == Status.COMPLETE, shown(archived)
    assert archived.mappings.get(kind="project").external_id == project["id"]
    settled()


def test_a_new_project_beside_an_archived_one_is_made_once_when_a_person_asks(
    archived: OnboardingTransaction, drain: Drain, sandbox: SandboxControl
) -> None:
    drain()
    actions.perform(ticket_of(archived, "delivery.project").pk, "choose-match", KIM, create=True)
    drain()
    assert status_of(archived) == Status.COMPLETE, shown(archived)
    assert sandbox.counts()["vendors"]["asana"]["projects"]["created"] == 1


def test_replay_fails_for_a_project_archived_later(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept()
    drain()
    project = run.mappings.get(kind="project").external_id
    at_vendor(sandbox, "PUT", "asana", f"/projects/{project}", {"data": {"archived": True}})
    services.replay(run.pk, step_of(run, "delivery.project").key, actor="kim")
    drain()
    assert step_of(run, "delivery.project").state == StepState.BLOCKED
    assert "Asana has archived the project" in ticket_of(run, "delivery.project").message
    assert len(sandbox.objects("asana", "projects")) == 1
    settled()


def test_replay_does_not_recreate_a_merged_organization(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept()
    drain()
    loser = run.mappings.get(kind="organization").external_id
    (winner,) = sandbox.seed("zendesk", "organizations", [{"name": "Acme Group"}])
    body = {"organization_merge": {"winner_id": int(winner)}}
    at_vendor(sandbox, "POST", "zendesk", f"/organizations/{loser}/merge", body)
    services.replay(run.pk, "support.organization", actor="kim")
    drain()
    ticket = ticket_of(run, "support.organization")
    assert f"Zendesk has merged the organization {loser} into “Acme Group” ({winner})" in ticket.message
    assert len(sandbox.objects("zendesk", "organizations")) == 1
    actions.perform(ticket.pk, "choose-match", KIM, external_id=winner)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert run.mappings.get(kind="organization").external_id == winner
    settled()


def test_help_desk_database_conflict_is_retried_without_a_ticket(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    sandbox.add_fault("zendesk", "error_before", method="POST", status=409, count=2)
    run = accept()
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert not run.tickets.exists()
    settled()
