"""From the POST to the objects at the vendors, as a caller sees it."""

from collections.abc import Callable
from typing import Any

from rest_framework.test import APIClient

from integrations.models import Connection
from tests.exceptions_queue.api.conftest import RUNS, TICKETS


def test_caller_follows_its_run_to_completion(
    connections: dict[str, Connection],
    api_key: Callable[[str], str],
    payload: Callable[..., dict[str, Any]],
    drain: Callable[[], int],
) -> None:
    client = APIClient(headers={"Authorization": f"Bearer {api_key('operate')}"})
    assert client.post(RUNS, payload(commercial__plan_sku="TBD", occurred_at=None), format="json").status_code == 201
    (waiting,) = client.get(f"{RUNS}pay_12345/").json()["exceptions"]
    fixed = client.post(f"{TICKETS}{waiting['id']}/fix/", {"fields": {"commercial.plan_sku": "pro"}}, format="json")
    assert fixed.json()["status"] == "resolved"

    drain()

    run = client.get(f"{RUNS}pay_12345/").json()
    assert (run["status"], run["blocked"], run["sla"]["state"]) == ("complete", False, "met")
    assert all(milestone["at"] for milestone in run["milestones"])
    assert {mapping["step"]: mapping["created_by_us"] for mapping in run["mappings"]} == {
        "crm.account": True,
        "crm.contact": True,
        "delivery.project": True,
        "support.organization": True,
    }
    assert {step["state"] for step in run["steps"]} == {"succeeded"}
    assert min(step["attempts"] for step in run["steps"]) == 1
