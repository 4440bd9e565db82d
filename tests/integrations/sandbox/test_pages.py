"""The vendors' pages for people: what a link from the console leads to."""

import pytest
import requests

from integrations.sandbox.control import SandboxControl


def opened(control: SandboxControl, path: str) -> requests.Response:
    """As a browser that sends no token."""
    return requests.get(path if "://" in path else control.base_url + path, timeout=10)


@pytest.mark.parametrize(
    ("vendor", "kind", "path"),
    [
        ("zendesk", "organizations", "/zendesk/agent/organizations/{}"),
        ("zendesk", "users", "/zendesk/agent/users/{}"),
        ("asana", "projects", "/asana/0/{}/list"),
        ("asana", "tasks", "/asana/0/1/{}"),
        ("hubspot", "companies", "/hubspot/contacts/7/record/0-2/{}"),
    ],
)
def test_a_link_leads_to_the_object(control: SandboxControl, vendor: str, kind: str, path: str) -> None:
    (made,) = control.seed(vendor, kind, [{"name": "Beta <b>Works</b>", "email": "beta@works.example"}])
    answer = opened(control, path.format(made))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<h1>Beta &lt;b&gt;Works&lt;/b&gt;</h1>" in answer.text
    assert "beta@works.example" in answer.text
    assert control.requests(vendor) == []  # no call of ours


def test_what_is_not_there_is_told_as_a_page(control: SandboxControl) -> None:
    answer = opened(control, "/zendesk/agent/organizations/404")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_asanas_permalinks_stay_in_the_sandbox(control: SandboxControl, asana) -> None:  # type: ignore[no-untyped-def]
    (made,) = control.seed("asana", "tasks", [{"name": "Schedule the kickoff"}])
    link = asana.get(f"/tasks/{made}", opt_fields="permalink_url").json()["data"]["permalink_url"]
    assert "<h1>Schedule the kickoff</h1>" in opened(control, link).text
