"""The built-in playbook from the payment to the kickoff: every step once, whatever is lost or repeated."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from exceptions_queue.models import Ticket
from integrations import clock
from integrations.connections.services import set_connection
from integrations.connectors.objects import DeliveryTask
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import Category, RunEventType, Status, StepState, WaitsFor
from onboarding.models import Attempt, ImplementationOwner, ObjectMapping, OnboardingTransaction
from onboarding.playbooks.playbook import playbooks
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, customer, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_flow import created

pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")

MADE = {
    "companies": 1, "contacts": 1, "deals": 1, "notes": 1, "projects": 1, "tasks": 6, "organizations": 1, "users": 2,
    "messages": 1,
}  # fmt: skip
USERS = [{"name": "Sam Roe", "email": "sam@acme-logistics.com", "role": "admin"}, {"name": "", "email": "", "role": ""}]


def kickoff_is_scheduled(run: OnboardingTransaction, event_id: str = "evt_1") -> bool:
    return services.receive_event(
        run.pk, kind=RunEventType.KICKOFF_SCHEDULED, event_id=event_id, occurred_at=clock.now(), data={}, actor="tests"
    )


def body_of(sandbox: SandboxControl, vendor: str, kind: str) -> dict[str, Any]:
    (only,) = sandbox.objects(vendor, kind)
    return dict(only["body"])


def test_a_clean_run_makes_everything_once_and_waits_for_the_kickoff(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept(users=USERS)
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    assert created(sandbox) == MADE
    assert not Ticket.objects.exists()
    kickoff = step_of(run, "kickoff.task")
    assert (kickoff.state, kickoff.waits_for) == (StepState.WAITING, WaitsFor.EVENT)
    assert body_of(sandbox, "hubspot", "deals")["firstvalue_onboarding_status"] == "ready-for-kickoff"
    settled()


def test_kickoff_event_completes_the_run_and_updates_the_deal(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept()
    drain()
    assert kickoff_is_scheduled(run)
    assert not kickoff_is_scheduled(run)
    drain()
    assert status_of(run) == Status.COMPLETE
    deal = body_of(sandbox, "hubspot", "deals")
    assert deal["firstvalue_onboarding_status"] == "complete"
    assert deal["firstvalue_transaction_id"] == run.onboarding_transaction_id
    assert deal["firstvalue_implementation_owner"] == "u_456"


def test_the_kickoffs_event_may_come_before_its_task(accept: Accept, drain: Drain) -> None:
    run = accept()
    kickoff_is_scheduled(run)
    drain()
    assert status_of(run) == Status.COMPLETE


def test_completing_the_task_in_delivery_finishes_the_kickoff(
    accept: Accept, drain: Drain, asana: Connection, settings: Any
) -> None:
    from tests.integrations.vendors.asana.test_connector import delivery

    run = accept()
    drain()
    task = ObjectMapping.objects.get(step__key="kickoff.task").external_id
    delivery(asana).update(task, DeliveryTask(completed=True))
    clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))
    drain()
    assert status_of(run) == Status.COMPLETE


def test_the_brief_stands_in_the_crm_and_in_the_project(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    accept(handover__why_they_bought=["reports <fast>"], handover__success_criteria="first report in a week")
    drain()
    note = body_of(sandbox, "hubspot", "notes")["hs_note_body"]
    assert "reports &lt;fast&gt;" in note
    project = body_of(sandbox, "asana", "projects")["notes"]
    assert "reports <fast>" in project
    assert ObjectMapping.objects.get(kind="note").external_id in project or "Handover note" in project


def test_a_task_that_the_template_brought_is_linked(
    accept: Accept, drain: Drain, sandbox: SandboxControl, asana: Connection
) -> None:
    """The account step alone first, so that the project is there before its tasks are asked for."""
    run = accept()
    sandbox.add_fault("asana", "error_before", method="GET", path="*/tasks", count=1)
    from onboarding.engine import execution as engine

    project = None
    while project is None:
        for step in run.steps.exclude(due_at=None).filter(uses__in=("crm.account", "delivery.project")):
            engine.run_step(step.pk)
        clock.shift(timedelta(seconds=1))
        project = ObjectMapping.objects.filter(kind="project").first()
    seeded = {"name": "Train the first users", "projects": [project.external_id], "completed": False}
    (gid,) = sandbox.seed("asana", "tasks", [seeded])
    drain()
    linked = ObjectMapping.objects.get(step__key="delivery.tasks", item="Train the first users")
    assert (linked.external_id, linked.created_by_us, linked.how) == (gid, False, "name")
    assert created(sandbox)["tasks"] == 5


def test_user_of_another_organization_is_decided_by_a_person(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    (other,) = sandbox.seed("zendesk", "organizations", [{"name": "Other Co"}])
    (user,) = sandbox.seed(
        "zendesk", "users", [{"name": "Sam", "email": "sam@acme-logistics.com", "organization_id": int(other)}]
    )
    run = accept(users=USERS)
    drain()
    assert ticket_of(run, "support.users").category == Category.AMBIGUOUS_MATCH
    assert step_of(run, "delivery.handover").state == StepState.SUCCEEDED
    settled()
    told = {effect.step: effect.verdict for effect in services.replay_preview(run.pk, "support.organization")}
    assert told["support.users"] == "look-up"
    services.skip_step(step_of(run, "support.users").pk, actor="kim", reason="Sam stays where they are.")
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF
    assert user in {found["id"] for found in sandbox.objects("zendesk", "users")}


def test_one_bad_user_stops_neither_delivery_nor_the_users_before(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    run = accept(users=USERS)
    sandbox.add_fault("zendesk", "error_before", method="POST", path="*/users/create_or_update", status=422, count=1)
    drain()
    assert ticket_of(run, "support.users").category == Category.VALIDATION_ERROR
    services.retry_step(step_of(run, "support.users").pk, actor="kim")
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF
    assert created(sandbox) == MADE


@pytest.mark.parametrize("kind", ["error_after", "reset_after", "malformed"])
@pytest.mark.parametrize(
    ("vendor", "path"),
    [
        ("hubspot", "*/deals/batch/upsert"),
        ("hubspot", "*/objects/notes"),
        ("asana", "*/api/1.0/tasks"),
        ("zendesk", "*/users/create_or_update"),
    ],
)
def test_a_create_whose_answer_is_lost_is_found_again(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled, vendor: str, path: str, kind: str
) -> None:
    run = accept(users=USERS)
    sandbox.add_fault(vendor, kind, method="POST", path=path, count=1)
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    assert created(sandbox) == MADE
    settled()


def test_a_welcome_that_may_have_gone_out_is_never_sent_again_by_itself(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept()
    sandbox.add_fault("mail", "reset_after", count=1)
    drain()
    assert ticket_of(run, "welcome.mail").category == Category.UNKNOWN_OUTCOME
    assert created(sandbox)["messages"] == 1
    services.retry_step(step_of(run, "welcome.mail").pk, actor="kim")
    drain()
    assert created(sandbox)["messages"] == 1
    assert ticket_of(run, "welcome.mail").category == Category.UNKNOWN_OUTCOME
    settled()


def test_a_welcome_is_sent_again_only_on_purpose(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept()
    drain()
    kickoff_is_scheduled(run)
    drain()
    services.replay(run.pk, "crm.account", actor="kim")
    drain()
    assert created(sandbox)["messages"] == 1
    services.resend(step_of(run, "welcome.mail").pk, actor="kim")
    drain()
    assert status_of(run) == Status.COMPLETE
    assert created(sandbox)["messages"] == 2
    assert len({sent["body"]["message_id"] for sent in sandbox.objects("mail")}) == 2


def test_the_welcome_names_the_implementation_owner(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    ImplementationOwner.objects.create(external_id="u_456", name="Kim Sato", email="kim@firstvalue.example")
    accept(customer__legal_name="Acme & Sons")
    drain()
    text = body_of(sandbox, "mail", "messages")["text"]
    assert "Kim Sato looks after you and can be reached at kim@firstvalue.example" in text
    assert "Acme & Sons" in text
    assert "1 December 2026" in text


# --- Whoever is there --------------------------------------------------------------------------------------------------


def test_the_owner_is_chosen_by_territory_segment_and_free_capacity(accept: Accept, drain: Drain) -> None:
    ImplementationOwner.objects.create(external_id="u_456", name="Kim", territories="emea, apac", capacity=2)
    ImplementationOwner.objects.create(
        external_id="me", name="Lee", territories="EMEA", segments="mid-market", capacity=1
    )
    ImplementationOwner.objects.create(external_id="x", name="Max", territories="amer", capacity=9)
    ImplementationOwner.objects.create(external_id="y", name="Ann", active=False)
    given = [
        accept(**customer(name), ownership__implementation_owner_id="").implementation_owner_id
        for name in ("one", "two", "three", "four")
    ]
    assert given == ["u_456", "me", "u_456", "u_456"]  # the last over capacity: by the smaller share


def test_nobody_who_fits_leaves_the_run_without_an_owner(accept: Accept, drain: Drain) -> None:
    ImplementationOwner.objects.create(external_id="x", name="Max", territories="amer")
    run = accept(ownership__implementation_owner_id="")
    assert run.implementation_owner_id == ""
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF


def test_a_payloads_own_owner_stays(accept: Accept) -> None:
    ImplementationOwner.objects.create(external_id="me", name="Lee")
    assert accept().implementation_owner_id == "u_456"


def test_without_a_mail_connection_only_the_welcome_waits(accept: Accept, drain: Drain, smtp: Connection) -> None:
    smtp.enabled = False
    smtp.save()
    run = accept()
    drain()
    assert ticket_of(run, "welcome.mail").category == Category.NOT_CONFIGURED
    assert step_of(run, "kickoff.task").waits_for == WaitsFor.EVENT
    set_connection("mail", system="email", provider="smtp", environment="sandbox", enabled=True, actor="tests")
    drain()
    assert step_of(run, "welcome.mail").state == StepState.SUCCEEDED


def test_waiting_for_the_kickoff_uses_no_attempts(accept: Accept, drain: Drain, settings: Any) -> None:
    run = accept()
    drain()
    for _ in range(30):
        clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))
        drain()
    step = step_of(run, "kickoff.task")
    assert (step.state, step.attempts) == (StepState.WAITING, 0)
    assert Attempt.objects.filter(step=step).count() == 1, "that which made the task"
    assert step.poll.count == 30


def test_a_preview_reaches_users_that_are_not_made_yet(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.seed("zendesk", "organizations", [{"name": "Acme Logistics", "domain_names": []}])
    run = accept(users=USERS)
    drain()
    told = {effect.step: effect for effect in services.replay_preview(run.pk, "support.organization")}
    assert told["support.users"].text == "2 are looked up; what is found is linked, what is not is created."


def test_skipped_step_keeps_the_order_of_its_dependencies(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.add_fault("asana", "error_before", method="POST", path="*/instantiateProject", status=422, count=1)
    run = accept()
    drain()
    services.skip_step(step_of(run, "delivery.tasks").pk, actor="kim", reason="By hand.")
    services.skip_step(step_of(run, "delivery.handover").pk, actor="kim", reason="By hand.")
    drain()
    assert step_of(run, "delivery.project").state == StepState.BLOCKED
    assert step_of(run, "kickoff.task").state == StepState.PENDING
    services.retry_step(step_of(run, "delivery.project").pk, actor="kim")
    drain()
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)


def test_step_rerun_later_does_not_block_its_dependents(
    accept: Accept, drain: Drain, settings: Any, tmp_path: Path
) -> None:
    head, later = 'name = "standard"\nversion = "1"\nowner = "tests"\n', 'after = ["contact"]\n'
    steps = [
        ("first", "crm.account", ""),
        ("contact", "crm.contact", 'after = ["first"]\n'),
        ("last", "crm.account", later),
    ]
    (tmp_path / "playbooks").mkdir()
    texts = [f'[[steps]]\nkey = "{key}"\nuses = "{uses}"\n{after}' for key, uses, after in steps]
    (tmp_path / "playbooks" / "standard.toml").write_text(head + "".join(texts))
    settings.CONFIG_DIR = tmp_path
    playbooks.cache_clear()
    run = accept()
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
