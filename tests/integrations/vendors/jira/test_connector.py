"""Jira: an epic a run and its tasks, found by a label, an issue property and a search that lags."""

import time
from typing import Any

import pytest

from integrations.connections.services import probe
from integrations.connectors.base import Connector, CreateSafety, MatchKey
from integrations.connectors.objects import DeliveryProject, DeliveryTask
from integrations.connectors.registry import connector
from integrations.errors import Kind, ProviderError
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from integrations.vendors.jira import adf
from integrations.vendors.jira.sandbox.fields import plain, problem
from tests.conftest import connect

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("sqlite")]
KEY = MatchKey("reference", "pay_1")
EPIC = DeliveryProject(name="Acme onboarding")
EXAMPLE = {"email": "firstvalue@sandbox.example", "project": "ONB"}


@pytest.fixture
def jira(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return connect("jira", "delivery", "/jira", sandbox, **EXAMPLE)


def delivery(connection: Connection, **options: str) -> Connector:
    connection.options |= options
    return connector(connection, subject="step:1", deadline=time.monotonic() + 20)


def refused(call: Any) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        call()
    return raised.value


def body(sandbox: SandboxControl, issue: str) -> dict[str, Any]:
    return {each["id"]: each["body"] for each in sandbox.objects("jira", "issues")}[issue]


def task(connection: Connection, **more: Any) -> tuple[str, str]:
    """(epic, task)"""
    epic = delivery(connection).create(EPIC, "pay_1").external_id
    wanted = DeliveryTask(**{"name": "Kickoff call", "project_id": epic, **more})
    return epic, delivery(connection).create(wanted, "pay_1/kickoff").external_id


def sent(sandbox: SandboxControl, method: str) -> list[str]:
    return [each["path"] for each in sandbox.requests("jira") if each["method"] == method]


def own_project(sandbox: SandboxControl, **about: Any) -> dict[str, str]:
    """The option that names a project whose workflow or limits are not the usual ones."""
    types = [
        {"id": "51", "name": "Epic", "hierarchyLevel": 1, "subtask": False},
        {"id": "52", "name": "Task", "hierarchyLevel": 0, "subtask": False},
    ]
    sandbox.seed("jira", "projects", [{"key": "OWN", "name": "Own", "types": types, **about}])
    return {"project": "OWN"}


# --- Creating and finding


def test_an_issue_is_made_in_one_call_with_label_and_property(jira: Connection, sandbox: SandboxControl) -> None:
    made = delivery(jira).create(EPIC, "pay_1")
    kept = body(sandbox, made.external_id)
    assert sent(sandbox, "POST") == ["/api/3/issue"]
    assert kept["properties"] == {"firstvalue": {"reference": "pay_1"}}
    assert len(kept["labels"]) == 1
    assert made.url.endswith(f"/browse/ONB-{made.external_id}")
    assert delivery(jira).kind("project").safety is CreateSafety.NEITHER
    assert delivery(jira).kind("project").search_lag == 120


def test_a_search_that_lags_misses_an_issue_that_reading_by_id_shows(jira: Connection, sandbox: SandboxControl) -> None:
    sandbox.configure("jira", search_lag="never")
    made = delivery(jira).create(EPIC, "pay_1").external_id
    assert delivery(jira).find("project", KEY) == []
    assert delivery(jira).get("project", made) is not None
    sandbox.configure("jira", search_lag=0)
    assert [each.external_id for each in delivery(jira).find("project", KEY)] == [made]


def test_what_the_index_still_shows_is_read_again(jira: Connection, sandbox: SandboxControl) -> None:
    epic, made = task(jira)
    sandbox.configure("jira", search_lag="never")
    delivery(jira).update(made, DeliveryTask(completed=True, name="Kickoff"))
    (found,) = delivery(jira).find("task", MatchKey("reference", "pay_1/kickoff", within=epic))
    assert (found.label, found.done) == ("Kickoff", True)


def test_a_label_alone_is_for_a_person_and_never_beside_our_property(jira: Connection, sandbox: SandboxControl) -> None:
    made = delivery(jira).create(EPIC, "pay_1").external_id
    copy = {name: value for name, value in body(sandbox, made).items() if name != "properties"}
    (clone,) = sandbox.seed("jira", "issues", [{**copy, "key": "ONB-1"}])
    (found,) = delivery(jira).find("project", KEY)
    assert (found.external_id, found.conclusive) == (made, True)
    delivery(jira).undo("project", made)
    (found,) = delivery(jira).find("project", KEY)
    assert (found.external_id, found.conclusive) == (clone, False)


def test_a_task_is_looked_for_in_its_epic_alone(jira: Connection) -> None:
    epic, made = task(jira)
    other = delivery(jira).create(EPIC, "pay_2").external_id
    for name, value in (("reference", "pay_1/kickoff"), ("name", "kickoff  CALL")):
        within = {at: delivery(jira).find("task", MatchKey(name, value, within=at)) for at in (epic, other)}
        assert [each.external_id for each in within[epic]] == [made]
        assert within[other] == []
    assert refused(lambda: delivery(jira).find("task", MatchKey("name", "x", within="404"))).kind is Kind.NOT_FOUND


def test_a_moved_issue_keeps_its_id_and_is_found_by_the_key_that_people_see(
    jira: Connection, sandbox: SandboxControl
) -> None:
    (ops,) = sandbox.seed("jira", "projects", [{"key": "OPS", "name": "Operations", "types": [
        {"id": "20001", "name": "Epic", "hierarchyLevel": 1, "subtask": False}]}])  # fmt: skip
    (moved,) = sandbox.seed("jira", "issues", [{
        "id": "777",
        "key": "OPS-777", "former_keys": ["ONB-777"], "project": ops, "type": "20001", "summary": "Acme"}])  # fmt: skip
    for name in (moved, "ONB-777", "OPS-777"):
        found = delivery(jira).get("project", name)
        assert found is not None
        assert (found.external_id, found.evidence["key"]) == (moved, "OPS-777")


# --- Types, people, fields


def test_types_are_told_apart_by_their_level_and_asked_for_where_several_could_be_meant(
    jira: Connection, sandbox: SandboxControl
) -> None:
    types = [
        {"id": str(number), "name": name, "hierarchyLevel": level, "subtask": level < 0}
        for number, name, level in ((31, "Epos", 1), (32, "Aufgabe", 0), (33, "Geschichte", 0), (34, "Teil", -1))
    ]
    sandbox.seed("jira", "projects", [{"key": "DE", "name": "Einführung", "types": types}])
    epic = delivery(jira, project="DE").create(EPIC, "pay_1").external_id
    wanted = DeliveryTask(name="Kickoff", project_id=epic)
    error = refused(lambda: delivery(jira, project="DE").create(wanted, "pay_1/kickoff"))
    assert (error.kind, error.effect_possible) == (Kind.NOT_CONFIGURED, False)
    assert "32 (Aufgabe), 33 (Geschichte)" in error.message
    for chosen in ("Geschichte", "33"):
        made = delivery(jira, project="DE", task_type=chosen).create(wanted, f"pay_1/{chosen}").external_id
        assert body(sandbox, made)["type"] == "33"
    assert "DE" in refused(lambda: delivery(jira, project="DE", epic_type="Story").create(EPIC, "x")).message


def test_an_unknown_project_is_our_configuration(jira: Connection) -> None:
    error = refused(lambda: delivery(jira, project="NONE").create(EPIC, "pay_1"))
    assert (error.kind, error.effect_possible) == (Kind.NOT_CONFIGURED, False)


@pytest.mark.parametrize("who", ["557058:ines", "ines@sandbox.example", "Ines@Sandbox.example"])
def test_a_person_is_known_by_account_id_or_address(jira: Connection, sandbox: SandboxControl, who: str) -> None:
    assert delivery(jira).person(who) == "Ines Ortega"
    _, made = task(jira, assignee=who)
    assert body(sandbox, made)["assignee"] == "557058:ines"


@pytest.mark.parametrize("who", ["nobody", "noor@sandbox.example", "ines@sandbox", "Ines Ortega"])
def test_nobody_is_guessed(jira: Connection, who: str) -> None:
    assert delivery(jira).person(who) is None
    error = refused(lambda: task(jira, assignee=who))
    assert error.kind is Kind.INVALID
    assert [each.field for each in error.fields] == ["assignee"]


def test_each_refused_field_is_named_as_ours(jira: Connection) -> None:
    error = refused(lambda: task(jira, name="x" * 256, notes="y" * 32_768, due_on="soon", assignee="nobody"))
    assert {each.field for each in error.fields} == {"name", "notes", "due_on", "assignee"}


def test_a_field_that_no_screen_has_is_no_fault_of_the_payload(jira: Connection, sandbox: SandboxControl) -> None:
    sandbox.configure("jira", refused=["duedate"])
    error = refused(lambda: task(jira, due_on="2026-12-01"))
    assert (error.kind, error.fields) == (Kind.NOT_CONFIGURED, [])


# --- Completion


def test_done_is_a_category_and_completing_can_be_repeated_and_undone(
    jira: Connection, sandbox: SandboxControl
) -> None:
    _, made = task(jira)
    for completed in (True, True, False, False, True):
        delivery(jira).update(made, DeliveryTask(completed=completed))
        found = delivery(jira).get("task", made)
        assert found is not None
        assert found.done is completed
    assert len([each for each in sent(sandbox, "POST") if each.endswith("/transitions")]) == 3


def test_of_several_ways_to_be_done_none_is_guessed(jira: Connection, sandbox: SandboxControl) -> None:
    jira.options |= own_project(sandbox, wont_do=True)
    _, made = task(jira)
    error = refused(lambda: delivery(jira).update(made, DeliveryTask(completed=True)))
    assert error.kind is Kind.NOT_CONFIGURED
    assert "10002 (Done), 10003 (Won't do)" in error.message
    delivery(jira, done_status="done").update(made, DeliveryTask(completed=True))
    assert body(sandbox, made)["status"] == "10002"


def test_a_workflow_without_a_way_says_so(jira: Connection, sandbox: SandboxControl) -> None:
    _, made = task(jira)
    sandbox.configure("jira", refused=["TRANSITION_ISSUES"])
    assert refused(lambda: delivery(jira).update(made, DeliveryTask(completed=True))).kind is Kind.INVALID


# --- Descriptions


def test_our_part_of_the_description_is_replaced_and_theirs_stays_as_it_was(
    jira: Connection, sandbox: SandboxControl
) -> None:
    theirs = {"type": "panel", "attrs": {"panelType": "info"}, "content": [
        {"type": "paragraph", "content": [{"type": "text", "text": "Call first"}]}]}  # fmt: skip
    (epic,) = sandbox.seed("jira", "issues", [{
        "key": "ONB-5", "project": "10000", "type": "10001", "summary": "Acme",
        "description": {"type": "doc", "version": 1, "content": [theirs]}}])  # fmt: skip
    for brief in ("The first brief\n\nIn two parts", "The second brief: https://crm.example/acme."):
        delivery(jira).update(epic, DeliveryProject(notes=brief))
    description = body(sandbox, epic)["description"]
    assert description["content"][0] == theirs
    text = plain(description)
    assert "The second brief" in text
    assert "first" not in text.partition("Call first")[2]
    assert text.count("kept by Firstvalue") == 1
    links = [mark for node in description["content"][2]["content"] for mark in node.get("marks", [])]
    assert links == [{"type": "link", "attrs": {"href": "https://crm.example/acme"}}]


@pytest.mark.parametrize(
    "text", ["one", "a\nb", "\n\n\na\n\n \n\nb\r\n\r\nc", "https://a.example", "(https://a.example)", "\n", "  x  "]
)
def test_every_text_makes_a_document_that_jira_takes(text: str) -> None:
    made = adf.document(text)
    assert problem("description", made) == ""
    assert plain(made).split() == text.split()


# --- Taking back


def test_others_issues_outlive_the_epic_and_subtasks_are_never_deleted(
    jira: Connection, sandbox: SandboxControl
) -> None:
    epic, made = task(jira)
    (subtask,) = sandbox.seed("jira", "issues", [{
        "key": "ONB-9", "project": "10000", "type": "10003", "summary": "Theirs", "parent": made}])  # fmt: skip
    error = refused(lambda: delivery(jira).undo("task", made))
    assert error.kind is Kind.INVALID
    assert made in error.message
    assert error.fields == []
    delivery(jira).undo("project", epic)
    assert body(sandbox, made)["parent"] is None
    assert body(sandbox, subtask)["parent"] == made


# --- Refusals


def test_an_anonymous_answer_is_never_taken_for_nothing_there(jira: Connection, sandbox: SandboxControl) -> None:
    made = delivery(jira).create(EPIC, "pay_1").external_id
    sandbox.set_tokens("jira", ["another"])
    for call in (
        lambda: delivery(jira).get("project", made),
        lambda: delivery(jira).find("project", KEY),
        lambda: delivery(jira).undo("project", made),
        lambda: delivery(jira).update(made, EPIC),
    ):
        assert refused(call).kind is Kind.AUTH


def test_a_limit_of_one_issue_holds_up_that_issue_alone(jira: Connection, sandbox: SandboxControl) -> None:
    jira.options |= own_project(sandbox, issue_writes={"writes": 1, "seconds": 30})
    made = delivery(jira).create(EPIC, "pay_1").external_id
    delivery(jira).update(made, DeliveryProject(name="Acme 2"))
    error = refused(lambda: delivery(jira).update(made, DeliveryProject(name="Acme 3")))
    assert (error.kind, error.retry_after, error.whole_account) == (Kind.TEMPORARY, 30, False)
    assert not error.effect_possible
    assert delivery(jira).get("project", made) is not None


def test_without_retry_after_the_limits_end_counts(jira: Connection) -> None:
    made = delivery(jira)
    later = {"X-RateLimit-Reset": "2999-01-01T00:00Z"}
    error = made.translate(429, later, {})  # type: ignore[attr-defined]
    assert error.kind is Kind.RATE_LIMIT
    assert error.retry_after > 3600
    assert made.translate(429, later | {"Retry-After": "5"}, {}).retry_after is None  # type: ignore[attr-defined]


# --- The connection


def test_testing_it_learns_the_site_and_says_what_is_used(jira: Connection, sandbox: SandboxControl) -> None:
    result = probe(jira)
    assert result.ok
    assert result.message == "Jira user Firstvalue, project Onboarding (Epic, Task)"
    assert Connection.objects.get(pk=jira.pk).options["site_url"] == f"{sandbox.base_url}/jira"


def test_testing_it_names_what_is_missing(jira: Connection, sandbox: SandboxControl) -> None:
    sandbox.configure("jira", refused=["DELETE_ISSUES", "ASSIGN_ISSUES"])
    error = refused(delivery(jira).probe)
    assert error.kind is Kind.FORBIDDEN
    assert "assign issues, delete issues" in error.message
    sandbox.configure("jira", refused=["labels"])
    assert "lacks labels" in refused(delivery(jira).probe).message
    sandbox.configure("jira", refused=[])
    types = [{"id": "41", "name": "Epic", "hierarchyLevel": 1, "subtask": False},
             {"id": "42", "name": "Task", "hierarchyLevel": 0, "subtask": False}]  # fmt: skip
    about = {"name": "Strict", "types": types}
    sandbox.seed(
        "jira",
        "projects",
        [{"key": "STR", **about, "required": ["priority"]}, {"key": "OLD", **about, "archived": True}],
    )
    assert "requires priority" in refused(delivery(jira, project="STR").probe).message
    assert "archived" in refused(delivery(jira, project="OLD").probe).message
    assert refused(delivery(jira, project="NONE").probe).kind is Kind.NOT_CONFIGURED
