"""The sandbox process, emptied before each test, and a client for each vendor."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from integrations.sandbox.control import SandboxControl, SandboxProcess

PREFIXES = {"hubspot": "/hubspot", "asana": "/asana/api/1.0", "zendesk": "/zendesk/api/v2", "widgets": "/widgets/v1"}


class Vendor:
    """A caller of one stand-in, with the token that it accepts by default."""

    def __init__(self, base_url: str, name: str) -> None:
        self.name = name
        self.base = base_url + PREFIXES[name]
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer sandbox-{name}-token"
        self.session.headers["Content-Type"] = "application/json"

    def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.session.request(method, self.base + path, json=body, timeout=options.pop("timeout", 10), **options)

    def get(self, path: str, **query: Any) -> requests.Response:
        return self("GET", path, params=query)

    def post(self, path: str, body: Any, **headers: str) -> requests.Response:
        return self("POST", path, body, headers=headers)


@pytest.fixture
def process(sandbox_process: SandboxProcess) -> SandboxProcess:
    return sandbox_process


@pytest.fixture
def control(process: SandboxProcess) -> SandboxControl:
    process.control.reset()
    process.control.configure("hubspot", search_lag=0)
    process.control.configure("asana", job_seconds=0)
    return process.control


def _vendor(name: str) -> Any:
    @pytest.fixture(name=name)
    def make(process: SandboxProcess, control: SandboxControl) -> Iterator[Vendor]:
        vendor = Vendor(process.base_url, name)
        yield vendor
        vendor.session.close()

    return make


hubspot, asana, zendesk = _vendor("hubspot"), _vendor("asana"), _vendor("zendesk")
widgets = _vendor("widgets")


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The condition's value as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.01)
    return value
