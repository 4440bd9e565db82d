"""The levers of the console's sandbox page."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from integrations.sandbox.control import SandboxControl
from tests.integrations.sandbox.conftest import Vendor

NAMES = [{"name": "Beta", "domain": "beta.io"}, {"name": "Gamma Öl", "domain": "gamma.io"}, {"name": "Delta"}]


def test_objects_by_number_text_and_id(control: SandboxControl):
    beta, gamma, delta = control.seed("hubspot", "companies", NAMES)
    control.seed("asana", "tasks", [{"name": "Call gamma.io"}])

    def found(**query: object) -> list[str]:
        return [each["id"] for each in control.objects("hubspot", **query)]

    assert found(last=2) == [gamma, delta]
    assert found(text="GAMMA ö") == [gamma]
    assert found(text="gamma", ids=[beta, "77"]) == [beta, gamma]
    assert found(text="gamma", ids=[beta], last=1) == [gamma]
    assert found(text="nobody") == []
    assert {each["vendor"] for each in control.objects(text="gamma")} == {"hubspot", "asana"}


def test_the_last_requests_are_the_newest_oldest_first(hubspot: Vendor, control: SandboxControl):
    for number in range(4):
        hubspot.get(f"/crm/v3/objects/companies/{number}")
    assert [each["path"][-1] for each in control.requests("hubspot", last=2)] == ["2", "3"]


def test_former_tokens_are_remembered_and_refused(hubspot: Vendor, control: SandboxControl):
    control.set_tokens("hubspot", ["second"])
    control.set_tokens("hubspot", ["third"])
    settings = control.settings()["hubspot"]
    assert settings["tokens"] == ["third"]
    assert sorted(settings["former_tokens"]) == ["sandbox-hubspot-token", "second"]
    assert hubspot.get("/crm/v3/owners").status_code == 401
    control.set_tokens("hubspot", ["third", *settings["former_tokens"]])
    assert control.settings()["hubspot"]["former_tokens"] == []
    assert hubspot.get("/crm/v3/owners").status_code == 200


def test_none_gives_a_setting_its_usual_value_back(control: SandboxControl):
    usual = control.configure("hubspot", search_lag=None)["search_lag"]
    assert usual > 0
    assert control.configure("hubspot", search_lag="never")["search_lag"] == "never"
    assert control.configure("hubspot", search_lag=None)["search_lag"] == usual


def test_the_most_requests_in_hand_at_once_are_counted(hubspot: Vendor, control: SandboxControl):
    hubspot.get("/crm/v3/owners")
    assert control.most_at_once("hubspot") == 1
    control.add_fault("hubspot", "timeout_before", delay=0.5, count=3)

    def unanswered() -> None:
        with pytest.raises(requests.RequestException):
            hubspot.get("/crm/v3/owners")

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(unanswered) for _ in range(3)]:
            done.result()
    assert control.most_at_once("hubspot") == 3
    assert control.most_at_once("asana") == 0
    control.forget_traffic()
    assert control.most_at_once("hubspot") == 0
