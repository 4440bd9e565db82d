"""Asana: one project a run, made from a template by a job and recognised by the reference in its name; its tasks."""

import json
import time

import pytest
import requests

from integrations import clock
from integrations.connectors.base import Connector, Created, CreateSafety, JobAccepted, MatchKey
from integrations.connectors.objects import DeliveryProject, DeliveryTask
from integrations.connectors.registry import connector
from integrations.errors import Kind, ProviderError
from integrations.models import Connection
from integrations.vendors.asana.sandbox.dialect import TEAM_GID

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("sqlite")]
KEY = MatchKey("reference", "pay_1")
PARAMS = {"name": "Acme onboarding", "start_date": "2026-12-01"}
TASK = {"name": "Kickoff call", "notes": "Brief: see the CRM", "due_on": "2026-12-01", "assignee": "u_456"}


def delivery(connection: Connection, **options: str) -> Connector:
    connection.options |= options
    return connector(connection, subject="step:1", deadline=time.monotonic() + 20)


def refused(call) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        call()
    return raised.value


@pytest.fixture
def project(asana, sandbox):
    return sandbox.seed("asana", "projects", [{"name": "Acme [pay_1]", "team": {"gid": TEAM_GID}}])[0]


def task(connection, project, reference="pay_1/kickoff", **more):
    return delivery(connection).create(DeliveryTask.of({**TASK, "project_id": project, **more}), reference).external_id


def within(project, value, name="reference"):
    return MatchKey(name, value, within=project)


def test_a_project_is_made_by_a_job(asana, sandbox):
    sandbox.configure("asana", job_seconds="never")
    job = delivery(asana).create(DeliveryProject.of(PARAMS), "pay_1")
    assert isinstance(job, JobAccepted)
    assert delivery(asana).poll("project", job.job_id) is None
    assert delivery(asana).find("project", KEY) == []
    sandbox.configure("asana", job_seconds=0)
    made = delivery(asana).poll("project", job.job_id)
    assert isinstance(made, Created)
    assert made.url
    (found,) = delivery(asana).find("project", KEY)
    assert (found.external_id, found.label) == (made.external_id, "Acme onboarding [pay_1]")
    assert delivery(asana).get("project", made.external_id) == found


def test_the_kickoff_fills_the_templates_date(asana, sandbox):
    delivery(asana).create(DeliveryProject.of(PARAMS), "pay_1")
    (project,) = sandbox.objects("asana", "projects")
    assert project["body"]["start_on"] == "2026-12-01"


def template(sandbox, *dates):
    wanted = [{"gid": gid, "name": name} for gid, name in dates]
    return sandbox.seed("asana", "project_templates", [{"name": "Ours", "requested_dates": wanted}])[0]


def test_the_kickoff_fills_the_date_that_the_option_names(asana, sandbox):
    ours = template(sandbox, ("2", "Due Date"), ("77", "Kickoff"))
    delivery(asana, template_gid=ours, start_date_gid="77").create(DeliveryProject.of(PARAMS), "pay_1")
    sent = json.loads(sandbox.requests("asana")[-1]["body"])["data"]
    assert sent["requested_dates"] == [{"gid": "77", "value": "2026-12-01"}]
    assert len(sandbox.objects("asana", "projects")) == 1


def test_a_template_without_dates_gets_none(asana, sandbox):
    delivery(asana, template_gid=template(sandbox)).create(DeliveryProject.of(PARAMS), "pay_1")
    assert len(sandbox.objects("asana", "projects")) == 1


def test_without_a_kickoff_date_a_project_from_a_dated_template_begins_today(asana, sandbox):
    """An urgency is enough for a run to start: nobody is asked for a date that only the template wants."""
    delivery(asana).create(DeliveryProject(name="Acme"), "pay_1")
    (project,) = sandbox.objects("asana", "projects")
    assert project["body"]["start_on"] == clock.now().date().isoformat()


def test_the_probe_names_the_dates_that_a_template_wants(asana, sandbox):
    ours = template(sandbox, ("76", "Launch"), ("77", "Kickoff"))
    for options in ({}, {"start_date_gid": "404"}):
        error = refused(delivery(asana, template_gid=ours, **options).probe)
        assert error.kind is Kind.NOT_CONFIGURED
        assert "start_date_gid" in error.message
        assert "76 (Launch), 77 (Kickoff)" in error.message
    told = delivery(asana, template_gid=ours, start_date_gid="77").probe()
    assert "template Ours (its Kickoff is the kickoff's, Asana fills Launch)" in told


def listed(sandbox):
    return [each["path"].partition("?")[0] for each in sandbox.requests("asana") if each["method"] == "GET"]


def test_a_teams_projects_are_listed_by_its_memberships(asana, sandbox, project):
    assert [each.external_id for each in delivery(asana).find("project", KEY)] == [project]
    assert listed(sandbox) == ["/memberships", f"/projects/{project}"]


@pytest.mark.parametrize("status", [400, 403, 404])
def test_where_memberships_are_refused_the_old_filter_lists_them(asana, sandbox, project, status):
    sandbox.add_fault("asana", "error_before", path="/memberships", status=status)
    assert [each.external_id for each in delivery(asana).find("project", KEY)] == [project]
    assert listed(sandbox) == ["/memberships", "/projects", f"/projects/{project}"]


def test_memberships_that_fail_are_no_empty_list(asana, sandbox, project):
    sandbox.add_fault("asana", "error_before", path="/memberships", status=503, retry_after=3)
    error = refused(lambda: delivery(asana).find("project", KEY))
    assert (error.kind, error.retry_after) == (Kind.SERVER, 3.0)
    assert listed(sandbox) == ["/memberships"]


def test_archived_project_is_found_but_inactive(asana, sandbox, project):
    assert delivery(asana).get("project", project).inactive == ""
    sandbox_put(sandbox, f"/projects/{project}", {"archived": True})
    (found,) = delivery(asana).find("project", KEY)
    assert (found.inactive, found.evidence["state"]) == ("archived", "archived")
    assert delivery(asana).get("project", project) == found


def test_what_is_no_gid_is_not_there(asana):
    assert delivery(asana).get("project", "our-project") is None
    assert delivery(asana).get("task", "Novo Nordisk A/S") is None


def test_only_the_whole_reference_counts_on_every_page(asana, sandbox):
    names = [f"Acme {number} [pay_{number}]" for number in range(2, 152)]
    names += ["Acme [my_pay_1]", "Acme [pay_1] old", "Acme [pay_1]"]
    sandbox.seed("asana", "projects", [{"name": name, "team": {"gid": TEAM_GID}} for name in names])
    assert [each.label for each in delivery(asana).find("project", KEY)] == ["Acme [pay_1]"]
    assert delivery(asana).find("project", MatchKey("domain", "acme.com")) == []


def test_a_failed_job_is_an_error(asana, sandbox):
    sandbox.configure("asana", job_seconds=0, job_outcome="failed")
    job = delivery(asana).create(DeliveryProject.of(PARAMS), "pay_1")
    assert refused(lambda: delivery(asana).poll("project", job.job_id)).kind is Kind.JOB_FAILED


def test_nothing_protects_a_repeated_create(asana):
    kind = delivery(asana).kind("project")
    assert (kind.safety, kind.search_lag) == (CreateSafety.NEITHER, 5.0)
    assert delivery(asana, search_lag="0").kind("project").search_lag == 0


def test_accepted_job_with_a_lost_answer_is_indeterminate(asana, sandbox):
    sandbox.add_fault("asana", "error_after", method="POST", count=1)
    assert refused(lambda: delivery(asana).create(DeliveryProject.of(PARAMS), "pay_1")).effect_possible


def test_a_wrong_id_of_ours_is_named(asana):
    for option in ("template_gid", "team_gid"):
        error = refused(delivery(Connection.objects.get(), **{option: "404"}).probe)
        assert error.kind is Kind.NOT_CONFIGURED
        assert option in error.message
    asana.options.pop("team_gid")
    assert "team_gid" in refused(lambda: delivery(asana)).message


def test_refused_values_name_our_fields(asana):
    given = {**PARAMS, "start_date": "soon"}
    error = refused(lambda: delivery(asana).create(DeliveryProject.of(given), "pay_1"))
    assert error.kind is Kind.INVALID
    assert [(each.name, each.field) for each in error.fields] == [("requested_dates", "start_date")]


def test_the_probe_says_who_we_are(asana):
    assert delivery(asana).probe() == (
        "Asana user Firstvalue, template Onboarding (its Start Date is the kickoff's), team Implementation"
    )


def test_a_task_is_found_in_its_project_by_reference_and_by_name(asana, sandbox, project):
    other = sandbox.seed("asana", "projects", [{"name": "Other", "team": {"gid": TEAM_GID}}])[0]
    made = delivery(asana).create(DeliveryTask.of({**TASK, "project_id": project}), "pay_1/kickoff")
    task(asana, other)
    task(asana, project, "pay_1/kickoff/2", name="Kickoff")
    (found,) = delivery(asana).find("task", within(project, "pay_1/kickoff"))
    assert (found.external_id, found.label, found.url) == (made.external_id, "Kickoff call", made.url)
    assert delivery(asana).find("task", within(project, "kickoff  CALL", "name")) == [found]
    assert delivery(asana).get("task", made.external_id) == found
    assert delivery(asana).find("task", MatchKey("reference", "pay_1/kickoff")) == []
    assert sandbox.objects("asana", "tasks")[0]["body"]["notes"] == "Brief: see the CRM\n\nReference: [pay_1/kickoff]"
    assert refused(lambda: delivery(asana).find("task", within("404", "pay_1"))).kind is Kind.NOT_FOUND


def test_a_task_is_looked_for_on_every_page_and_amid_what_people_wrote(asana, sandbox, project):
    seeds = [{"name": f"Task {number}", "notes": "", "projects": [project]} for number in range(130)]
    notes = "Reference: [pay_1/kickoff]\nCalled them on Monday [sic]"
    made = sandbox.seed("asana", "tasks", [*seeds, {"name": "Kickoff", "notes": notes, "projects": [project]}])
    assert [each.external_id for each in delivery(asana).find("task", within(project, "pay_1/kickoff"))] == made[-1:]
    assert delivery(asana).find("task", within(project, "pay_1/kick")) == []


def test_a_completed_task_is_done(asana, project):
    made = task(asana, project)
    open_task = delivery(asana).get("task", made)
    assert (open_task.done, open_task.evidence["due"], open_task.evidence["assignee"]) == (
        False,
        "2026-12-01",
        "Kim Sato",
    )
    for _ in range(2):
        delivery(asana).update(made, DeliveryTask(completed=True))
    done = delivery(asana).get("task", made)
    assert done.done
    assert done.evidence["completed"]


def test_a_changed_task_keeps_its_reference(asana, sandbox, project):
    made = task(asana, project)
    for _ in range(2):
        delivery(asana).update(made, DeliveryTask(notes="Brief: none", due_on="2026-12-08", assignee=""))
    body = sandbox.objects("asana", "tasks")[0]["body"]
    assert (body["due_on"], body["assignee"]["gid"]) == ("2026-12-08", "u_456")
    assert body["notes"] == "Brief: none\n\nReference: [pay_1/kickoff]"
    assert len(delivery(asana).find("task", within(project, "pay_1/kickoff"))) == 1


def test_a_projects_notes_change_but_never_its_name(asana, sandbox, project):
    delivery(asana).update(project, DeliveryProject(notes="Brief: see the CRM", name="Acme"))
    body = sandbox.objects("asana", "projects")[0]["body"]
    assert body["name"] == "Acme [pay_1]"
    assert "Brief: see the CRM" in body["notes"]
    assert delivery(asana).get("project", project).label == "Acme [pay_1]"
    assert refused(lambda: delivery(asana).update("404", DeliveryProject(notes="A"))).kind is Kind.NOT_FOUND


def test_what_others_wrote_into_a_projects_notes_stays(asana, sandbox, project):
    sandbox_put(sandbox, f"/projects/{project}", {"notes": "From the template."})
    delivery(asana).update(project, DeliveryProject(notes="First brief"))
    notes = sandbox.objects("asana", "projects")[0]["body"]["notes"]
    sandbox_put(sandbox, f"/projects/{project}", {"notes": f"{notes}\nSomebody's remark."})
    for _ in range(2):
        delivery(asana).update(project, DeliveryProject(notes="Second brief"))
    notes = sandbox.objects("asana", "projects")[0]["body"]["notes"]
    assert [line for line in notes.splitlines() if not line.startswith("---") and line] == [
        "From the template.",
        "Second brief",
        "Somebody's remark.",
    ]


def sandbox_put(sandbox, path, data):
    """As somebody in Asana would."""
    token = {"Authorization": "Bearer sandbox-asana-token"}
    url = f"{sandbox.base_url}/asana/api/1.0{path}"
    requests.put(url, json={"data": data}, headers=token, timeout=10).raise_for_status()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"assignee": "u_404"}, "assignee"),
        ({"due_on": "soon"}, "due_on"),
        ({"project_id": "404"}, ""),
    ],
)
def test_a_refused_task_names_our_fields(asana, project, given, field):
    error = refused(lambda: task(asana, project, **given))
    assert (error.kind, [each.field for each in error.fields]) == (Kind.INVALID, [field])


def test_nothing_protects_a_repeated_task(asana, sandbox, project):
    kind = delivery(asana, search_lag="3").kind("task")
    assert (kind.safety, kind.search_lag) == (CreateSafety.NEITHER, 3.0)
    assert task(asana, project) != task(asana, project)
    assert sandbox.duplicates() == 1


# --- Undo -----------------------------------------------------------------------------------------------------------


def left(sandbox):
    counted = sandbox.counts()["vendors"]["asana"]
    return counted["projects"]["total"], counted["tasks"]["total"]


def test_undo_deletes_a_task_and_its_project_however_often(asana, sandbox, project):
    made = {"task": task(asana, project), "project": project}
    other = task(asana, project, "pay_1/other")
    for kind, remaining in (("task", (1, 1)), ("project", (0, 1))):
        assert delivery(asana).reversible(kind)
        for _ in range(2):
            delivery(asana).undo(kind, made[kind])
            assert delivery(asana).get(kind, made[kind]) is None
            assert left(sandbox) == remaining
    assert delivery(asana).get("task", other) is not None


def test_a_projects_own_tasks_go_with_it_unless_they_are_somebodys(asana, sandbox, project):
    task(asana, project, assignee="")
    kept = task(asana, project, "pay_1/2")
    delivery(asana).undo("project", project)
    assert [each["id"] for each in sandbox.objects("asana", "tasks")] == [kept]


def test_undo_of_a_missing_object_succeeds(asana, sandbox, project):
    delivery(asana).undo("project", "404")
    delivery(asana).undo("task", "404")
    assert left(sandbox) == (1, 0)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (403, Kind.FORBIDDEN, "Asana does not allow this: You do not have access to this resource."),
        (409, Kind.CONFLICT, "Asana says that this conflicts with what it has: Something went wrong"),
        (422, Kind.INVALID, "Asana did not accept this: Something went wrong"),
    ],
)
def test_a_refused_undo_says_what_stays_and_why(asana, sandbox, project, status, kind, words):
    sandbox.add_fault("asana", "error_before", method="DELETE", status=status, count=1)
    error = refused(lambda: delivery(asana).undo("project", project))
    assert (error.kind, error.fields, error.effect_possible) == (kind, [], False)
    assert error.message == f"The project {project} could not be deleted: {words}"
    assert left(sandbox) == (1, 0)


@pytest.mark.parametrize("fault", ["error_after", "reset_after", "wrong_shape", "malformed"])
def test_undo_with_a_lost_answer_can_be_repeated(asana, sandbox, project, fault):
    sandbox.add_fault("asana", fault, method="DELETE", count=1)
    assert refused(lambda: delivery(asana).undo("project", project)).effect_possible
    delivery(asana).undo("project", project)
    assert left(sandbox) == (0, 0)


def test_undo_of_an_irreversible_kind_is_a_programming_error(asana):
    assert not delivery(asana).reversible("portfolio")
    with pytest.raises(TypeError, match="asana cannot undo a portfolio"):
        delivery(asana).undo("portfolio", "1")


def test_a_change_by_somebody_else_shows_and_a_new_task_is_no_change_of_its_project(asana, sandbox, project):
    made = {"projects": project, "tasks": task(asana, project)}
    for kind, gid in made.items():
        before = delivery(asana).get(kind[:-1], gid)
        assert before.changed_at.tzinfo
        task(asana, project, f"pay_1/{kind}")
        assert delivery(asana).get(kind[:-1], gid) == before
        sandbox_put(sandbox, f"/{kind}/{gid}", {"notes": "Somebody's remark."})
        assert delivery(asana).get(kind[:-1], gid).changed_at > before.changed_at
