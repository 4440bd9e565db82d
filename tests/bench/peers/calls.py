"""The fourteen calls of an onboarding in eleven steps, as ``company/`` says them, for those that the engine is measured against."""

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import requests

VENDOR = os.environ.get("BENCH_VENDOR", "")
TASKS = (
    "Prepare the kickoff",
    "Configure the workspace",
    "Import the data",
    "Train the users",
    "Review the first value",
)
FIRST = ("account", "contact", "deal")
BRANCHES = (("customer",), ("project", "task"), ("organization", "user"), ("tenant",))
"""What follows the deal, beside each other."""
LAST = ("kickoff", "welcome")
Content = dict[str, Any]
Found = dict[str, str]
_local = threading.local()


def do(step: str, content: Content, found: Mapping[str, str]) -> str:
    """Carries the step out and returns the id of what it made. ``found``: the ids that the steps before it made."""
    return _STEPS[step](content, found)


def _account(content: Content, _: Mapping[str, str]) -> str:
    _search("/crm/accounts", content)
    return _create("/crm/accounts", content, name=_name(content), domain=_domain(content))


def _contact(content: Content, found: Mapping[str, str]) -> str:
    return _create("/crm/contacts", content, email=_email(content), account=found["account"])


def _deal(content: Content, found: Mapping[str, str]) -> str:
    return _create("/crm/deals", content, account=found["account"], contact=found["contact"])


def _customer(content: Content, _: Mapping[str, str]) -> str:
    _search("/erp/customers", content)
    return _create("/erp/customers", content, name=_name(content), domain=_domain(content))


def _project(content: Content, _: Mapping[str, str]) -> str:
    return _create("/delivery/projects", content, name=_name(content))


def _task(content: Content, found: Mapping[str, str]) -> str:
    items = [{"name": task, "reference": f"{_domain(content)}/{task}"} for task in TASKS]
    return str(_send("/delivery/tasks/batch", {"project": found["project"], "items": items})["items"][0]["id"])


def _organization(content: Content, _: Mapping[str, str]) -> str:
    _search("/support/organizations", content)
    return _create("/support/organizations", content, name=_name(content), domain=_domain(content))


def _user(content: Content, found: Mapping[str, str]) -> str:
    return _create("/support/users", content, email=_email(content), organization=found["organization"])


def _tenant(content: Content, _: Mapping[str, str]) -> str:
    return _create("/product/tenants", content, name=_name(content), domain=_domain(content))


def _kickoff(content: Content, found: Mapping[str, str]) -> str:
    return _create("/delivery/kickoffs", content, project=found["project"])


def _welcome(content: Content, _: Mapping[str, str]) -> str:
    return _create("/email/welcomes", content, to=_email(content), name=_name(content))


_STEPS: dict[str, Callable[[Content, Mapping[str, str]], str]] = {
    "account": _account,
    "contact": _contact,
    "deal": _deal,
    "customer": _customer,
    "project": _project,
    "task": _task,
    "organization": _organization,
    "user": _user,
    "tenant": _tenant,
    "kickoff": _kickoff,
    "welcome": _welcome,
}


def _name(content: Content) -> str:
    return str(content["customer"]["legal_name"])


def _domain(content: Content) -> str:
    return str(content["customer"]["domain"])


def _email(content: Content) -> str:
    return str(content["customer"]["primary_contact"]["email"])


def _session() -> requests.Session:
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
    return _local.session  # type: ignore[no-any-return]


def _search(path: str, content: Content) -> None:
    answer = _session().get(VENDOR + path, params={"domain": _domain(content)}, timeout=10)
    answer.raise_for_status()
    answer.json()


def _create(path: str, content: Content, **body: str) -> str:
    return str(_send(path, {**body, "reference": _domain(content)})["id"])


def _send(path: str, body: Content) -> Content:
    answer = _session().post(VENDOR + path, json=body, timeout=10)
    answer.raise_for_status()
    return dict(answer.json())
