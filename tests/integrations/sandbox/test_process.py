"""The process: what it counts, what it survives, how it ends."""

import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.management import call_command, load_command_class

from integrations.connections.services import probe
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl, SandboxProcess, start_sandbox
from tests.integrations.sandbox.conftest import Vendor, until

COMPANIES = "/crm/v3/objects/companies"


def company(hubspot: Vendor, **properties: str) -> str:
    return str(hubspot.post(COMPANIES, {"properties": properties, "associations": []}).json()["id"])


def duplicates(control: SandboxControl, vendor: str, kind: str) -> int:
    return int(control.counts()["vendors"][vendor][kind]["duplicates"])


def test_a_second_company_on_a_domain_is_a_duplicate(hubspot: Vendor, control: SandboxControl):
    ids = [company(hubspot, name="A", domain="acme.com"), company(hubspot, name="B", domain="ACME.com")]
    counts = control.counts()
    assert counts["duplicates"] == 1
    assert counts["duplicate_keys"] == [
        {"vendor": "hubspot", "kind": "companies", "key": "domain=acme.com", "ids": ids},
    ]
    assert counts["vendors"]["hubspot"]["companies"] == {"total": 2, "created": 2, "seeded": 0, "duplicates": 1}


def test_a_company_without_a_domain_goes_by_name(hubspot: Vendor, control: SandboxControl):
    company(hubspot, name="Acme")
    company(hubspot, name="acme")
    company(hubspot, name="Acme", domain="acme.com")
    assert duplicates(control, "hubspot", "companies") == 1


def test_what_we_create_beside_a_seeded_object_is_a_duplicate(hubspot: Vendor, control: SandboxControl):
    control.seed("hubspot", "companies", [{"domain": "acme.com"}, {"domain": "acme.com"}])
    assert control.counts()["duplicates"] == 0
    company(hubspot, domain="acme.com")
    assert control.counts()["duplicates"] == 1


def test_an_archived_object_counts_no_more(hubspot: Vendor, control: SandboxControl):
    company(hubspot, domain="acme.com")
    hubspot("DELETE", f"{COMPANIES}/{company(hubspot, domain='acme.com')}")
    assert control.counts()["duplicates"] == 0
    assert control.counts()["vendors"]["hubspot"]["companies"]["total"] == 1


def test_seeded_objects_are_listed_as_such(hubspot: Vendor, control: SandboxControl):
    company(hubspot, domain="acme.com")
    control.seed("hubspot", "companies", [{"id": "77", "properties": {"domain": "other.com"}}])
    listed = control.objects("hubspot", "companies")
    assert [(each["body"]["domain"], each["seeded"]) for each in listed] == [("acme.com", False), ("other.com", True)]
    assert listed[1]["id"] == "77"
    assert control.objects("zendesk") == []


def test_a_chosen_id_is_taken_once(control: SandboxControl):
    control.seed("hubspot", "companies", [{"id": "77"}])
    with pytest.raises(requests.HTTPError, match="exists already"):
        control.seed("hubspot", "companies", [{"id": "77"}])


def test_a_number_is_never_given_out_twice(hubspot: Vendor, control: SandboxControl):
    first = company(hubspot, domain="acme.com")
    hubspot("DELETE", f"{COMPANIES}/{first}")
    control.reset()
    assert int(company(hubspot, domain="acme.com")) > int(first)


def test_a_reset_opens_new_accounts(hubspot: Vendor, control: SandboxControl):
    company(hubspot, domain="acme.com")
    control.add_fault("hubspot", "error_before")
    control.set_tokens("hubspot", [])
    control.reset()
    assert control.objects() == []
    assert control.faults() == []
    assert control.requests() == []
    assert hubspot.get("/crm/v3/properties/companies/firstvalue_reference").json()["hasUniqueValue"] is True


@pytest.mark.parametrize("wrong", [{"search_lag": "soon"}, {"job_seconds": 1}, {"rate_limit": 5}, {"colour": "red"}])
def test_a_setting_that_makes_no_sense_is_refused(control: SandboxControl, wrong: dict[str, object]):
    with pytest.raises(requests.HTTPError, match="400"):
        control.configure("hubspot", **wrong)


def test_everything_survives_kill_9(tmp_path: Path):
    data = tmp_path / "sandbox.sqlite3"
    with start_sandbox(data) as first:
        hubspot, asana = Vendor(first.base_url, "hubspot"), Vendor(first.base_url, "asana")
        first.control.configure("asana", job_seconds="never")
        first.control.set_tokens("zendesk", ["other"])
        made = company(hubspot, domain="acme.com")
        start = "/project_templates/1200000000000001/instantiateProject"
        dates = [{"gid": "1", "value": "2026-12-01"}]
        body = {"name": "Acme", "team": "1100000000000001", "requested_dates": dates}
        job = asana.post(start, {"data": body}).json()["data"]["gid"]
        first.control.add_fault("hubspot", "error_after", count=2, method="POST")
        assert hubspot.post(COMPANIES, {"properties": {"domain": "other.com"}, "associations": []}).status_code == 500
        before = first.control.counts(), first.control.faults(), first.control.requests(), first.control.settings()
        hubspot.session.close()
        asana.session.close()
        first.kill()
    with start_sandbox(data, first.port) as second:
        control = second.control
        hubspot, asana = Vendor(second.base_url, "hubspot"), Vendor(second.base_url, "asana")
        assert (control.counts(), control.faults(), control.requests(), control.settings()) == before
        assert hubspot.get(f"{COMPANIES}/{made}").json()["id"] == made
        assert asana.get(f"/jobs/{job}").json()["data"]["status"] == "in_progress"
        control.configure("asana", job_seconds=0)
        assert asana.get(f"/jobs/{job}").json()["data"]["status"] == "succeeded"
        hubspot.session.close()
        asana.session.close()


def test_what_was_answered_before_kill_9_is_there_and_nothing_is_half_done(tmp_path: Path):
    data = tmp_path / "sandbox.sqlite3"
    answered: list[str] = []

    def hammer(base_url: str, name: str) -> None:
        hubspot = Vendor(base_url, "hubspot")
        with hubspot.session, suppress(requests.ConnectionError):
            while True:
                answered.append(company(hubspot, name=name))

    with start_sandbox(data) as first, ThreadPoolExecutor(4) as pool:
        running = [pool.submit(hammer, first.base_url, name) for name in "abcd"]
        until(lambda: len(answered) > 40)
        first.kill()
        for each in running:
            each.result()
    with start_sandbox(data) as second:
        kept = [each["id"] for each in second.control.objects("hubspot", "companies")]
        assert set(answered) <= set(kept)
        assert len(kept) - len(answered) <= 4
        assert len(second.control.requests("hubspot")) == len(kept)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_within_a_second_even_while_it_holds_a_socket(tmp_path: Path, number: signal.Signals):
    command = [sys.executable, "-m", "integrations.sandbox", "--port", "0", "--data", str(tmp_path / "s.sqlite3")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        base_url = process.stdout.readline().split()[1]
        SandboxControl(base_url).add_fault("hubspot", "timeout_before")
        hubspot = Vendor(base_url, "hubspot")
        with pytest.raises(requests.ReadTimeout):
            hubspot("GET", "/account-info/v3/details", timeout=0.1)
        hubspot.session.close()
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(5) == 0
        assert time.monotonic() - started < 1


def test_it_needs_no_django(tmp_path: Path):
    check = "import sys, integrations.sandbox.server; sys.exit('django' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.parametrize("which", ["--port", "--smtp-port"])
def test_a_busy_port_is_named(tmp_path: Path, process: SandboxProcess, which: str):
    port = str(process.port if which == "--port" else process.smtp_port)
    ports = {"--port": "0", which: port}
    command = [sys.executable, "-m", "integrations.sandbox", "--data", str(tmp_path / "s.sqlite3")]
    command += [word for pair in ports.items() for word in pair]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}" in ended.stderr


def test_the_command_sits_beside_the_web_and_in_its_data(settings: Any, tmp_path: Path):
    settings.PORT, settings.DATA_DIR = 9000, tmp_path
    command = load_command_class("integrations", "sandbox")
    given = command.create_parser("manage.py", "sandbox").parse_args([])
    assert (given.port, given.smtp_port, given.data) == (9001, 9002, tmp_path / "sandbox.sqlite3")


def test_what_it_says_at_its_start_connects_firstvalue_with_it(transactional_db: None, tmp_path: Path):
    command = [sys.executable, "-m", "integrations.sandbox", "--port", "0", "--data", str(tmp_path / "s.sqlite3")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = [process.stdout.readline()]
            while said[-1] and "begin anew" not in said[-1]:
                said.append(process.stdout.readline())
            commands = [shlex.split(line)[1:] for line in said if line.startswith("  manage.py ")]
            for words in commands:
                call_command(*words, stdout=StringIO())
            answers = {each.slug: probe(each) for each in Connection.objects.all()}
        finally:
            process.terminate()

    assert {"hubspot", "salesforce", "odoo", "asana", "jira", "zendesk", "scim", "slack", "postmark"} <= set(answers)
    assert all(each.ok for each in answers.values()), answers
