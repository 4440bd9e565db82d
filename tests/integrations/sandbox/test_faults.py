"""Each kind of fault, with and without effect, as the caller sees it."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from integrations.sandbox.control import SandboxControl
from tests.integrations.sandbox.conftest import Vendor

COMPANIES = "/crm/v3/objects/companies"
ACME = {"properties": {"name": "Acme", "domain": "acme.com"}, "associations": []}


def companies(control: SandboxControl) -> int:
    return int(control.counts()["vendors"]["hubspot"]["companies"]["total"])


def test_a_rate_limit_with_retry_after(hubspot: Vendor, control: SandboxControl):
    control.add_fault("hubspot", "rate_limit", count=1, retry_after=7)
    answer = hubspot.post(COMPANIES, ACME)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert companies(control) == 0


def test_a_rate_limit_without_retry_after(asana: Vendor, control: SandboxControl):
    control.add_fault("asana", "rate_limit")
    answer = asana.get("/users/me")
    assert answer.status_code == 429
    assert "Retry-After" not in answer.headers
    assert answer.json()["errors"]


@pytest.mark.parametrize(("kind", "effect"), [("error_before", 0), ("error_after", 1)])
def test_an_error_before_and_after_the_effect(hubspot: Vendor, control: SandboxControl, kind: str, effect: int):
    control.add_fault("hubspot", kind, status=503)
    answer = hubspot.post(COMPANIES, ACME)
    assert (answer.status_code, answer.json()["status"]) == (503, "error")
    assert companies(control) == effect


@pytest.mark.parametrize(("kind", "effect"), [("timeout_before", 0), ("timeout_after", 1)])
def test_a_timeout_before_and_after_the_effect(hubspot: Vendor, control: SandboxControl, kind: str, effect: int):
    control.add_fault("hubspot", kind)
    with pytest.raises(requests.ReadTimeout):
        hubspot("POST", COMPANIES, ACME, timeout=0.2)
    assert companies(control) == effect


def test_a_timeout_ends_in_a_closed_connection(hubspot: Vendor, control: SandboxControl):
    control.add_fault("hubspot", "timeout_before", delay=0.2)
    started = time.monotonic()
    with pytest.raises(requests.ConnectionError, match="closed connection without response"):
        hubspot.post(COMPANIES, ACME)
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize(("kind", "effect"), [("reset_before", 0), ("reset_after", 1)])
def test_a_reset_before_and_after_the_effect(hubspot: Vendor, control: SandboxControl, kind: str, effect: int):
    control.add_fault("hubspot", kind)
    with pytest.raises(requests.ConnectionError, match="reset by peer"):
        hubspot.post(COMPANIES, ACME)
    assert companies(control) == effect


def test_a_malformed_answer_took_effect(hubspot: Vendor, control: SandboxControl):
    control.add_fault("hubspot", "malformed")
    answer = hubspot.post(COMPANIES, ACME)
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()
    assert companies(control) == 1


def test_a_wrong_shape_took_effect(hubspot: Vendor, control: SandboxControl):
    control.add_fault("hubspot", "wrong_shape")
    answer = hubspot.post(COMPANIES, ACME)
    assert answer.status_code == 201
    assert "id" not in answer.json()
    assert companies(control) == 1


@pytest.mark.parametrize(("kind", "status"), [("unauthorized", 401), ("forbidden", 403)])
def test_a_refusal_has_no_effect(hubspot: Vendor, control: SandboxControl, kind: str, status: int):
    control.add_fault("hubspot", kind)
    answer = hubspot.post(COMPANIES, ACME)
    assert (answer.status_code, answer.json()["status"]) == (status, "error")
    assert companies(control) == 0


def test_slow_drip_exceeds_a_read_timeout(zendesk: Vendor, control: SandboxControl):
    control.add_fault("zendesk", "slow_drip", delay=0.005)
    started = time.monotonic()
    assert zendesk("GET", "/users/me", timeout=0.2).json()["user"]["id"] == 1
    assert time.monotonic() - started > 0.2


def test_rule_with_a_count_applies_exactly_that_often(hubspot: Vendor, control: SandboxControl):
    control.add_fault("hubspot", "error_before", count=3)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: hubspot.get("/account-info/v3/details").status_code, range(24)))
    assert sorted(answers) == [200] * 21 + [500] * 3
    (rule,) = control.faults()
    assert (rule["count"], rule["hits"]) == (0, 3)


@pytest.mark.parametrize("pattern", ["/crm/v3/objects/companies", "^/crm/.*/companies$", "/hubspot/crm/*/companies"])
def test_rule_applies_only_to_its_method_and_path(hubspot: Vendor, control: SandboxControl, pattern: str):
    control.add_fault("hubspot", "error_before", method="post", path=pattern)
    assert hubspot.post(COMPANIES, ACME).status_code == 500
    assert hubspot.get("/account-info/v3/details").status_code == 200
    assert hubspot.get(f"{COMPANIES}/404").status_code == 404


def test_rule_of_another_vendor_does_not_apply(hubspot: Vendor, asana: Vendor, control: SandboxControl):
    control.add_fault("asana", "error_before")
    assert hubspot.get("/account-info/v3/details").status_code == 200
    assert asana.get("/users/me").status_code == 500


def test_rule_for_all_vendors_applies_to_each(hubspot: Vendor, zendesk: Vendor, control: SandboxControl):
    control.add_fault("*", "error_before")
    assert hubspot.get("/account-info/v3/details").status_code == 500
    assert zendesk.get("/users/me").status_code == 500


def test_rule_with_zero_probability_never_applies(hubspot: Vendor, control: SandboxControl):
    control.add_fault("hubspot", "error_before", probability=0)
    assert hubspot.get("/account-info/v3/details").status_code == 200


def test_rules_are_removed_one_by_one_or_all(control: SandboxControl):
    first, second, third = (control.add_fault("hubspot", "error_before") for _ in range(3))
    assert control.clear_faults(first) == 1
    assert [each["id"] for each in control.faults()] == [second, third]
    assert control.clear_faults() == 2
    assert control.faults() == []


@pytest.mark.parametrize("wrong", [{"kind": "plague"}, {"vendor": "sap"}])
def test_a_rule_that_makes_no_sense_is_refused(control: SandboxControl, wrong: dict[str, str]):
    with pytest.raises(requests.HTTPError, match="must be"):
        control.add_fault(**{"vendor": "hubspot", "kind": "error_before", **wrong})


def test_the_ledger_says_what_the_caller_saw(hubspot: Vendor, control: SandboxControl):
    control.add_fault("hubspot", "error_after", count=1)
    hubspot.post(COMPANIES, ACME, **{"Idempotency-Key": "k1", "User-Agent": "firstvalue/1"})
    control.add_fault("hubspot", "reset_before", count=1)
    with pytest.raises(requests.ConnectionError):
        hubspot.get("/account-info/v3/details", a="b")
    failed, reset = control.requests("hubspot")
    assert (failed["method"], failed["path"], failed["status"], failed["fault"]) == (
        "POST",
        COMPANIES,
        500,
        "error_after",
    )
    assert (failed["idempotency_key"], failed["user_agent"]) == ("k1", "firstvalue/1")
    assert "acme.com" in failed["body"]
    assert (reset["path"], reset["status"]) == ("/account-info/v3/details?a=b", None)
    assert [each["seq"] for each in control.requests(since=failed["seq"])] == [reset["seq"]]
    assert control.requests("asana") == []
