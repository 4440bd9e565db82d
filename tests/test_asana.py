"""Asana: one project a run, made from a template by a job and recognised by the reference in its name."""

import time

import pytest

from integrations.errors import Kind, ProviderError
from integrations.models import Connection
from integrations.providers import connector
from integrations.providers.base import Connector, Created, CreateSafety, JobAccepted, MatchKey
from integrations.sandbox.asana import TEAM_GID

pytestmark = pytest.mark.django_db(transaction=True)
KEY = MatchKey("reference", "pay_1")
PARAMS = {"name": "Acme onboarding", "start_date": "2026-12-01"}


def delivery(connection: Connection, **options: str) -> Connector:
    connection.options |= options
    return connector(connection, subject="step:1", deadline=time.monotonic() + 20)


def refused(call) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        call()
    return raised.value


def test_a_project_is_made_by_a_job(asana, sandbox):
    sandbox.configure("asana", job_seconds="never")
    job = delivery(asana).create("project", PARAMS, "pay_1")
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
    delivery(asana, start_date_gid="1").create("project", PARAMS, "pay_1")
    (project,) = sandbox.objects("asana", "projects")
    assert "2026-12-01" in str(project)


def test_only_the_whole_reference_counts_on_every_page(asana, sandbox):
    names = [f"Acme {number} [pay_{number}]" for number in range(2, 152)]
    names += ["Acme [my_pay_1]", "Acme [pay_1] old", "Acme [pay_1]"]
    sandbox.seed("asana", "projects", [{"name": name, "team": {"gid": TEAM_GID}} for name in names])
    assert [each.label for each in delivery(asana).find("project", KEY)] == ["Acme [pay_1]"]
    assert delivery(asana).find("project", MatchKey("domain", "acme.com")) == []


def test_a_failed_job_is_an_error(asana, sandbox):
    sandbox.configure("asana", job_seconds=0, job_outcome="failed")
    job = delivery(asana).create("project", PARAMS, "pay_1")
    assert refused(lambda: delivery(asana).poll("project", job.job_id)).kind is Kind.JOB_FAILED


def test_nothing_protects_a_repeated_create(asana):
    kind = delivery(asana).kind("project")
    assert (kind.safety, kind.search_lag) == (CreateSafety.NEITHER, 5.0)
    assert delivery(asana, search_lag="0").kind("project").search_lag == 0


def test_an_accepted_job_with_a_lost_answer_leaves_the_outcome_unknown(asana, sandbox):
    sandbox.add_fault("asana", "error_after", method="POST", count=1)
    assert refused(lambda: delivery(asana).create("project", PARAMS, "pay_1")).effect_possible


def test_a_wrong_id_of_ours_is_named(asana):
    for option in ("template_gid", "team_gid"):
        error = refused(delivery(Connection.objects.get(), **{option: "404"}).probe)
        assert error.kind is Kind.NOT_CONFIGURED
        assert option in error.message
    asana.options.pop("team_gid")
    assert "team_gid" in refused(lambda: delivery(asana)).message


def test_refused_values_name_our_fields(asana):
    error = refused(lambda: delivery(asana, start_date_gid="404").create("project", PARAMS, "pay_1"))
    assert error.kind is Kind.INVALID
    assert [(each.name, each.path) for each in error.fields] == [("requested_dates", "kickoff.start_date")]


def test_the_probe_says_who_we_are(asana):
    assert delivery(asana).probe() == "Asana user Firstvalue, template Onboarding, team Implementation"
