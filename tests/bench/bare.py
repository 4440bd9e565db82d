"""What the engine is measured against: one Celery task that does the same calls and keeps nothing.

No row, no lease, no intent, no audit: a killed worker loses the onboarding, a lost answer doubles an object.
"""

import os
import threading
import time
from typing import Any

import requests
from celery import Celery
from redis import Redis

app = Celery("bare", broker=os.environ["REDIS_URL"])
app.conf.update(task_default_queue="bare", task_ignore_result=True, worker_prefetch_multiplier=1)
app.conf.update(worker_enable_remote_control=False)
FINISHED = "bare-finished"
TASKS = (
    "Prepare the kickoff",
    "Configure the workspace",
    "Import the data",
    "Train the users",
    "Review the first value",
)
VENDOR = os.environ["BENCH_VENDOR"]
_local = threading.local()


def client() -> Redis:
    """Where the seconds of each finished onboarding are pushed."""
    return Redis(unix_socket_path=os.environ["REDIS_URL"].partition("://")[2])


@app.task(name="bare.onboard")
def onboard(content: dict[str, Any], paid_at: float) -> None:
    if not hasattr(_local, "session"):
        _local.session, _local.redis = requests.Session(), client()
    customer = content["customer"]
    name, domain, email = customer["legal_name"], customer["domain"], customer["primary_contact"]["email"]
    _search("/crm/accounts", domain)
    account = _create("/crm/accounts", f"bare/{domain}", name=name, domain=domain)
    contact = _create("/crm/contacts", f"bare/{domain}", email=email, account=account)
    _create("/crm/deals", f"bare/{domain}", account=account, contact=contact)
    _search("/erp/customers", domain)
    _create("/erp/customers", f"bare/{domain}", name=name, domain=domain)
    project = _create("/delivery/projects", f"bare/{domain}", name=name)
    items = [{"name": task, "reference": f"bare/{domain}/{task}"} for task in TASKS]
    _send("/delivery/tasks/batch", {"project": project, "items": items})
    _search("/support/organizations", domain)
    organization = _create("/support/organizations", f"bare/{domain}", name=name, domain=domain)
    _create("/support/users", f"bare/{domain}", email=email, organization=organization)
    _create("/product/tenants", f"bare/{domain}", name=name, domain=domain)
    _create("/delivery/kickoffs", f"bare/{domain}", project=project)
    _create("/email/welcomes", f"bare/{domain}", to=email, name=name)
    _local.redis.rpush(FINISHED, time.time() - paid_at)


def _search(path: str, domain: str) -> None:
    answer = _local.session.get(VENDOR + path, params={"domain": domain}, timeout=10)
    answer.raise_for_status()
    answer.json()


def _create(path: str, reference: str, **body: str) -> str:
    return str(_send(path, {**body, "reference": reference})["id"])


def _send(path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = _local.session.post(VENDOR + path, json=body, timeout=10)
    answer.raise_for_status()
    return dict(answer.json())
