"""The support steps: what a customer is entitled to, the first ticket, and many users by jobs."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket
from integrations import clock
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine.objects.intents import JOB_TIMEOUT
from onboarding.enums import Category, Status, StepState, WaitsFor
from onboarding.models import OnboardingTransaction
from onboarding.playbooks.playbook import PlaybookError, load, playbooks
from tests.conftest import Drain
from tests.integrations.vendors.zendesk.test_connector import somebody
from tests.onboarding.conftest import Accept, Settled, shown, status_of, step_of, ticket_of

PLAYBOOK = """
name = "standard"
version = "1"
owner = "revenue-operations"

[[steps]]
key = "crm.account"
uses = "crm.account"

[[steps]]
key = "support.organization"
uses = "support.organization"
after = ["crm.account"]

[[steps]]
key = "support.entitlement"
uses = "support.entitlement"
after = ["support.organization"]

[steps.with]
entitlements = [
  { plan = "pro", tags = ["plan-pro", "eu"], sla_tier = "premium", support_plan = "Business" },
  { plan = ["enterprise", "strategic"], tags = ["plan-enterprise"], sla_tier = "enterprise", support_plan = "Premier" },
]

[[steps]]
key = "support.users"
uses = "support.users"
after = ["support.organization"]
with = { bulk_from = 4 }

[[steps]]
key = "support.ticket"
uses = "support.ticket"
after = ["support.users"]
with = { tags = ["onboarding"], note = "Call them first." }
"""
pytestmark = pytest.mark.usefixtures("supporting", "connections")
MANY = [{"name": f"Person {number}", "email": f"p{number}@acme-logistics.com", "role": ""} for number in range(60)]
AT_THE_DESK = {"name": "Person 3", "email": "p3@acme-logistics.com"}


@pytest.fixture
def supporting(settings: Any, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "standard.toml").write_text(PLAYBOOK)
    settings.CONFIG_DIR = tmp_path
    playbooks.cache_clear()
    yield
    playbooks.cache_clear()


@pytest.fixture(autouse=True)
def at_once(sandbox: SandboxControl) -> None:
    """Jobs take no time: the sandbox has a clock of its own."""
    sandbox.configure("zendesk", job_seconds=0)


@pytest.fixture
def ready(accept: Accept, drain: Drain) -> OnboardingTransaction:
    run = accept()
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    return run


def only(sandbox: SandboxControl, kind: str) -> dict[str, Any]:
    (found,) = sandbox.objects("zendesk", kind)
    return dict(found["body"]) | {"id": found["id"]}


def entitled(sandbox: SandboxControl) -> tuple[set[str], str, str]:
    body = only(sandbox, "organizations")
    fields = body["organization_fields"]
    return set(body["tags"]), fields["sla_tier"], fields["support_plan"]


def asked(sandbox: SandboxControl, method: str, path: str) -> list[dict[str, Any]]:
    found = sandbox.requests("zendesk")
    return [each for each in found if each["method"] == method and each["path"].partition("?")[0].endswith(path)]


def change(run: OnboardingTransaction, drain: Drain, **fields: Any) -> dict[str, str]:
    given = {name.replace("__", "."): value for name, value in fields.items()}
    request = services.request_change(run.pk, given, actor="kim")
    effects = {each.step: each.verdict for each in services.change_preview(request.pk)}
    services.apply_change(request.pk, actor="lee")
    drain()
    return effects


# --- Entitlement ------------------------------------------------------------------------------------------------------


def test_the_plan_decides_tags_tier_and_support_plan(
    ready: OnboardingTransaction, sandbox: SandboxControl, settled: Settled
) -> None:
    assert entitled(sandbox) == ({"plan-pro", "eu"}, "premium", "Business")
    settled()


def test_another_plan_replaces_what_the_former_gave_and_nothing_that_people_added(
    ready: OnboardingTransaction, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    path = f"/organizations/{only(sandbox, 'organizations')['id']}"
    somebody(sandbox, "PUT", path, {"organization": {"tags": ["vip", "plan-pro", "eu"]}})
    effects = change(ready, drain, commercial__plan_sku="Enterprise")
    assert effects == {"support.entitlement": "send-again"}
    assert entitled(sandbox) == ({"vip", "plan-enterprise"}, "enterprise", "Premier")
    assert status_of(ready) == Status.COMPLETE, shown(ready)
    settled()


def test_a_plan_without_a_row_is_a_ticket_with_the_form_to_fix_it(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept(commercial__plan_sku="gold")
    drain()
    ticket = ticket_of(run, "support.entitlement")
    assert ticket.category == Category.VALIDATION_ERROR
    assert [each["path"] for each in step_of(run, "support.entitlement").problems] == ["commercial.plan_sku"]
    assert step_of(run, "support.users").state == StepState.SUCCEEDED
    settled()
    services.fix(run.pk, {"commercial.plan_sku": "pro"}, actor="kim", step_pk=step_of(run, "support.entitlement").pk)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert entitled(sandbox)[1] == "premium"


def test_a_field_that_the_account_does_not_have_is_named(accept: Accept, drain: Drain, connections: Any) -> None:
    connections["zendesk"].options |= {"sla_tier_field": "tier"}
    connections["zendesk"].save()
    run = accept()
    drain()
    assert "no organization field with the key “tier”" in ticket_of(run, "support.entitlement").message


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("[]", "at least 1"),
        ('[{ plan = "pro" }]', "a row must name tags, an sla_tier or a support_plan"),
        ('[{ tags = ["Two words"] }]', "pattern"),
        ('[{ plan = "pro", tags = ["a"], sla_tier = "x" }, { tags = ["b"] }]', "either each row names sla_tier"),
    ],
)
def test_an_unsound_table_is_refused_when_the_playbook_is_read(tmp_path: Path, rows: str, words: str) -> None:
    start, end = PLAYBOOK.index("entitlements = ["), PLAYBOOK.index("]\n\n", PLAYBOOK.index("entitlements = ["))
    file = tmp_path / "mine.toml"
    file.write_text(f"{PLAYBOOK[:start]}entitlements = {rows}{PLAYBOOK[end + 1 :]}")
    with pytest.raises(PlaybookError, match=words):
        load(file)


# --- The first ticket -------------------------------------------------------------------------------------------------


def test_the_first_ticket_is_internal_and_made_once(
    ready: OnboardingTransaction, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    ticket = only(sandbox, "tickets")
    assert (ticket["subject"], ticket["tags"], ticket["is_public"]) == (
        "Onboarding: Acme Logistics",
        ["onboarding"],
        False,
    )
    assert ticket["comment"]["body"].startswith(
        "Call them first.\nA new customer is being onboarded (run pay_12345).\n"
    )
    assert ticket["external_id"] == "firstvalue:pay_12345"
    assert str(ticket["organization_id"]) == only(sandbox, "organizations")["id"]
    assert str(ticket["requester_id"]) == only(sandbox, "users")["id"]
    services.replay(ready.pk, "support.ticket", actor="kim")
    drain()
    assert len(sandbox.objects("zendesk", "tickets")) == 1
    settled()


@pytest.mark.parametrize("fault", ["error_after", "reset_after", "malformed", "error_before"])
def test_a_lost_answer_makes_no_second_ticket(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled, fault: str
) -> None:
    sandbox.add_fault("zendesk", fault, method="POST", path="*/tickets", count=1)
    run = accept()
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert len(sandbox.objects("zendesk", "tickets")) == 1
    assert run.mappings.get(kind="ticket").created_by_us
    settled()


def test_a_new_name_changes_the_subject_unless_the_ticket_is_closed(
    ready: OnboardingTransaction, drain: Drain, sandbox: SandboxControl
) -> None:
    change(ready, drain, customer__legal_name="Acme Freight")
    assert only(sandbox, "tickets")["subject"] == "Onboarding: Acme Freight"
    path = f"/tickets/{only(sandbox, 'tickets')['id']}"
    somebody(sandbox, "PUT", path, {"ticket": {"status": "closed"}})
    change(ready, drain, customer__legal_name="Acme Cargo")
    assert only(sandbox, "tickets")["subject"] == "Onboarding: Acme Freight"
    assert status_of(ready) == Status.COMPLETE, shown(ready)


def test_rollback_deletes_the_ticket_before_its_requester(
    ready: OnboardingTransaction, drain: Drain, sandbox: SandboxControl
) -> None:
    services.rollback(ready.pk, actor="kim", reason="The customer withdrew")
    drain()
    assert status_of(ready) == Status.ROLLED_BACK, shown(ready)
    for kind in ("tickets", "users", "organizations"):
        assert sandbox.objects("zendesk", kind) == []


# --- Many users -------------------------------------------------------------------------------------------------------


def emails(sandbox: SandboxControl) -> list[str]:
    return sorted(each["body"]["email"] for each in sandbox.objects("zendesk", "users"))


def jobs(sandbox: SandboxControl) -> list[int]:
    """How many users each job was asked for."""
    return [len(json.loads(each["body"])["users"]) for each in asked(sandbox, "POST", "/users/create_or_update_many")]


def test_few_users_are_made_one_by_one(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    run = accept(users=MANY[:2])
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert (len(emails(sandbox)), jobs(sandbox)) == (3, [])


def test_many_users_are_made_by_jobs(accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled) -> None:
    run = accept(users=MANY)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert (len(emails(sandbox)), jobs(sandbox)) == (61, [25, 25, 11])
    assert asked(sandbox, "POST", "/users/create_or_update") == []
    held = only(sandbox, "organizations")["id"]
    assert {str(each["body"]["organization_id"]) for each in sandbox.objects("zendesk", "users")} == {held}
    mapped = run.mappings.filter(step__key="support.users")
    assert set(mapped.values_list("created_by_us", "how")) == {(True, "created")}
    assert {each["id"] for each in sandbox.objects("zendesk", "users")} == set(
        mapped.values_list("external_id", flat=True)
    )
    assert step_of(run, "support.users").attempts == 0
    settled()
    before = len(sandbox.requests("zendesk"))
    services.replay(run.pk, "support.users", actor="kim")
    drain()
    assert len(emails(sandbox)) == 61
    reads = [each for each in sandbox.requests("zendesk")[before:] if "users" in each["path"]]
    assert [each["path"].partition("?")[0] for each in reads] == ["/users/show_many"], "one call, and not one a user"


def until(holds: Callable[[], bool]) -> None:
    for _ in range(10):
        scheduling.one_pass(publish=False)
        if holds():
            return
        clock.shift(timedelta(seconds=30))
    raise AssertionError("It did not come to that")


def until_the_job_is_accepted(run: OnboardingTransaction) -> None:
    until(lambda: step_of(run, "support.users").waits_for == WaitsFor.JOB)


def test_a_job_is_polled_without_holding_a_worker(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.configure("zendesk", job_seconds=3600)
    run = accept(users=MANY[:5])
    until_the_job_is_accepted(run)
    step = step_of(run, "support.users")
    assert (step.state, step.lease_until, step.attempts) == (StepState.WAITING, None, 0)
    sandbox.configure("zendesk", job_seconds=0)
    clock.shift(timedelta(seconds=10))
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert len(emails(sandbox)) == 6


def test_each_refused_user_is_named_and_the_others_are_kept(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    wrong = [{"name": "Bo", "email": "bo@acme@logistics", "role": ""}]
    run = accept(users=[*MANY[:5], *wrong])
    drain()
    ticket = ticket_of(run, "support.users")
    assert ticket.category == Category.VALIDATION_ERROR
    assert (
        "Zendesk refused 1 of them: bo@acme@logistics: Email: bo@acme@logistics is not properly formatted"
        in ticket.message
    )
    assert [each["path"] for each in step_of(run, "support.users").problems] == ["users"]
    assert len(emails(sandbox)) == 6
    assert run.mappings.filter(step__key="support.users", created_by_us=True).count() == 6
    settled()
    right = {"users": [*MANY[:5], {"name": "Bo", "email": "bo@acme-logistics.com"}]}
    services.fix(run.pk, right, actor="kim", step_pk=step_of(run, "support.users").pk)
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert len(emails(sandbox)) == 7
    assert not Ticket.objects.filter(resolved_at=None).exists()


def test_somebody_elses_user_is_left_to_a_person(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    (other,) = sandbox.seed("zendesk", "organizations", [{"name": "Other Co"}])
    sandbox.seed("zendesk", "users", [{**AT_THE_DESK, "organization_id": int(other)}])
    run = accept(users=MANY[:5])
    drain()
    assert ticket_of(run, "support.users").category == Category.AMBIGUOUS_MATCH
    assert jobs(sandbox) == []
    settled()


def test_a_user_without_an_organization_is_found_and_put_into_it(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    (known,) = sandbox.seed("zendesk", "users", [AT_THE_DESK])
    run = accept(users=MANY[:5])
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    mapping = run.mappings.get(step__key="support.users", external_id=known)
    assert (mapping.created_by_us, mapping.how) == (False, "email")
    assert jobs(sandbox) == [5]
    (body,) = [each["body"] for each in sandbox.objects("zendesk", "users") if each["id"] == known]
    assert str(body["organization_id"]) == only(sandbox, "organizations")["id"]


@pytest.mark.parametrize("fault", ["error_after", "reset_after", "malformed"])
def test_a_lost_answer_to_a_job_makes_no_second_users(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled, fault: str
) -> None:
    sandbox.add_fault("zendesk", fault, method="POST", path="*/create_or_update_many", count=1)
    run = accept(users=MANY[:5])
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert len(emails(sandbox)) == 6
    assert run.mappings.filter(step__key="support.users", created_by_us=True).count() == 6
    settled()


def test_what_a_job_made_whose_answer_was_lost_is_ours_though_it_was_sent_again(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    """The users show up only once the job was sent again, which then says that it has updated them."""
    sandbox.configure("zendesk", job_seconds=3600, search_lag=3600)
    sandbox.add_fault("zendesk", "error_after", method="POST", path="*/create_or_update_many", count=1)
    run = accept(users=MANY[:5])
    until_the_job_is_accepted(run)
    sandbox.configure("zendesk", job_seconds=0, search_lag=0)
    clock.shift(timedelta(seconds=10))
    drain()
    assert (status_of(run), jobs(sandbox)) == (Status.COMPLETE, [6, 6]), shown(run)
    assert run.mappings.filter(step__key="support.users", created_by_us=True).count() == 6
    settled()
    services.rollback(run.pk, actor="kim", reason="The customer withdrew")
    drain()
    assert emails(sandbox) == []


def test_what_a_job_made_that_never_ended_is_ours_though_it_was_sent_again(
    accept: Accept, drain: Drain, sandbox: SandboxControl
) -> None:
    sandbox.configure("zendesk", job_seconds=3600, search_lag=3600)
    run = accept(users=MANY[:5])
    until_the_job_is_accepted(run)
    clock.shift(JOB_TIMEOUT + timedelta(minutes=1))
    until(lambda: len(jobs(sandbox)) == 2)
    sandbox.configure("zendesk", job_seconds=0, search_lag=0)
    clock.shift(timedelta(seconds=10))
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert run.mappings.filter(step__key="support.users", created_by_us=True).count() == 6


def test_too_many_jobs_are_waited_out(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("zendesk", "rate_limit", method="POST", path="*/create_or_update_many", count=1, retry_after=1)
    run = accept(users=MANY[:5])
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    assert len(emails(sandbox)) == 6


def test_an_account_without_bulk_imports_says_what_to_do(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.configure("zendesk", bulk_imports=False)
    run = accept(users=MANY[:5])
    drain()
    assert "take bulk_from out of the playbook" in ticket_of(run, "support.users").message


def test_a_changed_name_is_written_and_a_new_user_made(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept(users=MANY[:5])
    drain()
    renamed = [{**MANY[0], "name": "Renamed"}, *MANY[1:6]]
    effects = change(run, drain, users=renamed)
    assert effects == {"support.users": "update"}
    assert status_of(run) == Status.COMPLETE, shown(run)
    names = {each["body"]["email"]: each["body"]["name"] for each in sandbox.objects("zendesk", "users")}
    assert names[MANY[0]["email"]] == "Renamed"
    assert (len(names), jobs(sandbox)) == (7, [6, 1])
    settled()


def test_users_whom_somebody_deleted_are_not_made_again_unasked(
    accept: Accept, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    run = accept(users=MANY[:5])
    drain()
    ids = {each["body"]["email"]: each["id"] for each in sandbox.objects("zendesk", "users")}
    deleted = [MANY[1]["email"], MANY[3]["email"]]
    for email in deleted:
        somebody(sandbox, "DELETE", f"/users/{ids[email]}")
    services.replay(run.pk, "support.users", actor="kim")
    drain()
    ticket = ticket_of(run, "support.users")
    assert ticket.category == Category.AMBIGUOUS_MATCH
    assert all(email in ticket.message for email in deleted)
    assert {each["external_id"] for each in step_of(run, "support.users").candidates} == {
        ids[email] for email in deleted
    }
    assert jobs(sandbox) == [6]
    settled()
    services.choose_match(step_of(run, "support.users").pk, external_id="", actor="kim")
    drain()
    assert (status_of(run), jobs(sandbox)) == (Status.COMPLETE, [6, 2]), shown(run)
    settled()


def test_rollback_removes_what_a_job_under_way_makes(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.configure("zendesk", job_seconds=3600)
    run = accept(users=MANY[:5])
    until_the_job_is_accepted(run)
    services.rollback(run.pk, actor="kim", reason="The customer withdrew")
    scheduling.one_pass(publish=False)
    assert status_of(run) != Status.ROLLED_BACK
    sandbox.configure("zendesk", job_seconds=0)
    clock.shift(timedelta(seconds=10))
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert sandbox.objects("zendesk", "users") == []
