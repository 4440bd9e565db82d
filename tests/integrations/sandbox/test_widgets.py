"""The widgets stand-in protects a repeated create in each way, or in none."""

from integrations.sandbox.control import SandboxControl
from tests.integrations.sandbox.conftest import Vendor


def made(control: SandboxControl, kind: str = "widgets") -> tuple[int, int]:
    counts = control.counts()["vendors"]["widgets"][kind]
    return counts["total"], counts["duplicates"]


def test_a_key_gives_its_first_answer_again(widgets: Vendor, control: SandboxControl):
    body = {"name": "Acme", "reference": "r1"}
    first, second = (widgets.post("/widgets", body, **{"Idempotency-Key": "k1"}) for _ in range(2))
    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert second.headers["Idempotent-Replayed"] == "true"
    other = widgets.post("/widgets", {**body, "name": "Other"}, **{"Idempotency-Key": "k1"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_mismatch")
    assert made(control) == (1, 0)


def test_a_key_is_forgotten_or_ignored(widgets: Vendor, control: SandboxControl):
    body = {"name": "Acme", "reference": "r1"}
    for settings in ({}, {"key_lifetime": 0}, {"key_lifetime": 60, "idempotency": "ignore"}):
        control.configure("widgets", **settings)
        assert widgets.post("/widgets", body, **{"Idempotency-Key": "k1"}).status_code == 201
    assert made(control) == (3, 2)


def test_an_upsert_goes_by_reference(widgets: Vendor, control: SandboxControl):
    statuses = [widgets("PUT", "/accounts/by-reference/r%2F1", {"name": name}).status_code for name in ("A", "B")]
    assert statuses == [201, 200]
    (found,) = widgets.get("/accounts", reference="R/1").json()["data"]
    assert found["name"] == "B"
    assert made(control, "accounts") == (1, 0)


def test_a_batch_is_made_whole_or_not_at_all(widgets: Vendor, control: SandboxControl):
    good, bad = {"name": "a", "reference": "1"}, {"name": "", "reference": "2"}
    assert widgets.post("/tasks/batch", {"items": [good, bad]}).status_code == 422
    assert made(control, "tasks") == (0, 0)
    answer = widgets.post("/tasks/batch", {"items": [good, {**good, "reference": "2"}]})
    assert [each["reference"] for each in answer.json()["items"]] == ["1", "2"]


def test_a_unique_field_names_the_one_that_has_it(widgets: Vendor, control: SandboxControl):
    control.configure("widgets", unique=["reference"])
    first = widgets.post("/widgets", {"name": "a", "reference": "r"}).json()
    second = widgets.post("/widgets", {"name": "b", "reference": "R"})
    assert (second.status_code, second.json()["error"]["existing_id"]) == (409, first["id"])


def test_search_lags_and_reading_does_not(widgets: Vendor, control: SandboxControl):
    control.configure("widgets", search_lag="never")
    row = widgets.post("/widgets", {"name": "a", "reference": "r"}).json()["id"]
    assert widgets.get("/widgets", reference="r").json() == {"data": []}
    assert widgets.get(f"/widgets/{row}").json()["reference"] == "r"
    assert widgets("PATCH", f"/widgets/{row}", {"name": "b"}).json()["name"] == "b"
    assert widgets("DELETE", f"/widgets/{row}").status_code == 204
    assert widgets.get(f"/widgets/{row}").status_code == 404
