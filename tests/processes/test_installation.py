"""Nothing is lost or doubled when processes die or the broker is not there: seen from outside, on real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.processes.installation import QUICK, Installation, wait_for

pytestmark = pytest.mark.processes
Payload = Callable[..., dict[str, Any]]


def paid(payload: Payload, count: int) -> list[dict[str, Any]]:
    """Distinct customers, except that the last two are one."""
    made = []
    for number in range(count):
        company = f"company-{min(number, count - 2)}"
        content = payload()
        content |= {"onboarding_transaction_id": f"pay_{number}"}
        content["customer"] |= {"legal_name": company, "domain": f"{company}.io"}
        content["customer"]["primary_contact"] = {"name": "Kim Doe", "email": f"kim@{company}.io"}
        made.append(content)
    return made


def all_complete(running: Installation, payments: list[dict[str, Any]]) -> Callable[[], bool]:
    return lambda: all(running.status_of(one["onboarding_transaction_id"]) == "complete" for one in payments)


def all_complete_with_people(running: Installation, payments: list[dict[str, Any]]) -> Callable[[], bool]:
    """A worker that dies on the point of sending leaves nobody knowing whether it did: a person looks at the vendor, and says."""
    complete = all_complete(running, payments)

    def seen() -> bool:
        asked = running.call("GET", "exceptions/?category=unknown-outcome&status=open").json()["results"]
        for ticket in asked:
            made = running.sandbox.objects("asana", "projects", text=f"[{ticket['onboarding_transaction_id']}]")
            answer = {"external_id": made[0]["id"]} if made else {"create": True}
            running.call("POST", f"exceptions/{ticket['id']}/choose-match/", answer)
        return complete()

    return seen


def assert_once(running: Installation, payments: list[dict[str, Any]]) -> None:
    counts = running.sandbox.counts()
    assert counts["duplicates"] == 0, counts["duplicate_keys"]
    assert counts["vendors"]["asana"]["projects"]["total"] == len(payments)
    assert counts["vendors"]["hubspot"]["companies"]["total"] == len(payments) - 1
    running.manage("audit", "verify")


def test_killed_workers_lose_and_duplicate_nothing(tmp_path: Path, payload: Payload) -> None:
    with Installation(tmp_path) as running:
        running.sandbox.add_fault("*", "error_after", method="POST", probability=0.15)
        payments = paid(payload, 12)
        for number, one in enumerate(payments):
            assert running.call("POST", "onboardings/", one).status_code == 201
            if number % 4 == 3:
                running.kill("celery")
        running.sandbox.clear_faults()
        wait_for("every run is complete", all_complete_with_people(running, payments), 90)
        assert_once(running, payments)


def test_everything_happens_without_a_broker(tmp_path: Path, payload: Payload) -> None:
    # Nobody listens there; the scheduler does the work that no broker takes.
    broker = {"REDIS_URL": "redis://127.0.0.1:1/0"} if os.environ.get("REDIS_URL") else {"BROKER_PUBLISH": "0"}
    with Installation(tmp_path, **broker) as running:
        payments = paid(payload, 4)
        for one in payments:
            assert running.call("POST", "onboardings/", one).status_code == 201
        wait_for("every run is complete", all_complete(running, payments), 60)
        assert_once(running, payments)


def test_wiped_broker_and_frozen_worker_lose_nothing(tmp_path: Path, payload: Payload) -> None:
    with Installation(tmp_path) as running:
        # Vendors hang while the worker is frozen, so that it holds leases when it is.
        running.sandbox.add_fault("*", "timeout_after", method="POST", delay=2, count=4)
        payments = paid(payload, 8)
        for one in payments:
            assert running.call("POST", "onboardings/", one).status_code == 201
        frozen = running.pids("celery")
        running.signal(frozen, signal.SIGSTOP)
        wipe_broker(tmp_path)
        # Leases of QUICK last 10 s: the scheduler, with nobody to take its messages, cannot go on until the worker wakes up late.
        wait_for("a lease has run out", lambda: running.expired_leases() > 0, 40)
        running.signal(frozen, signal.SIGCONT)
        wait_for("every run is complete", all_complete_with_people(running, payments), 90)
        assert_once(running, payments)


def wipe_broker(folder: Path) -> None:
    if url := os.environ.get("REDIS_URL"):
        with Redis(unix_socket_path=url.removeprefix("redis+socket://").partition("?")[0]) as redis:
            redis.flushall()
    for message in (folder / "broker" / "queue").glob("*"):
        message.unlink(missing_ok=True)


@pytest.mark.skipif("DATABASE_URL" in os.environ, reason="the demo always runs on the embedded default")
def test_demo_ends_as_expected_with_a_killed_worker(tmp_path: Path) -> None:
    demo = Installation(tmp_path)
    for name in QUICK:  # the demo gives a busy machine more time by itself
        demo.environment.pop(name)
    with (tmp_path / "demo.log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "config.demo", "--once"], env=demo.environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_for(
                "a customer is being provisioned", lambda: "provisioning" in (tmp_path / "demo.log").read_text(), 300
            )
            demo.kill("celery")
            assert process.wait(900) == 0, (tmp_path / "demo.log").read_text()
        finally:
            process.kill()
    assert "17 paid · 10 complete · 7 owned tickets · 0 duplicates" in (tmp_path / "demo.log").read_text()
    assert not demo.pids("gunicorn")
