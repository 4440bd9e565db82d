"""Fixtures of all tests: the vendors are the sandbox, over real HTTP."""

from collections.abc import Iterator

import pytest

from integrations import clock
from integrations.connections import set_connection
from integrations.models import Connection
from integrations.sandbox.asana import TEAM_GID, TEMPLATE_GID
from integrations.sandbox.control import SandboxControl, SandboxProcess, start_sandbox


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with start_sandbox(tmp_path_factory.mktemp("sandbox") / "vendors.sqlite3") as process:
        yield process


@pytest.fixture
def sandbox(sandbox_process: SandboxProcess) -> SandboxControl:
    """The vendors, with nothing in them but their furniture."""
    sandbox_process.control.reset()
    return sandbox_process.control


@pytest.fixture(autouse=True)
def unshifted_clock() -> Iterator[None]:
    yield
    clock.reset()


def connect(slug: str, system: str, path: str, sandbox: SandboxControl, **options: str) -> Connection:
    return set_connection(
        slug,
        system=system,
        provider=slug,
        base_url=sandbox.base_url + path,
        environment="sandbox",
        secrets={"token": [f"sandbox-{slug}-token"]},
        options=options,
        actor="tests",
    )


@pytest.fixture
def hubspot(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return connect("hubspot", "crm", "/hubspot", sandbox)


@pytest.fixture
def asana(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return connect("asana", "delivery", "/asana/api/1.0", sandbox, template_gid=TEMPLATE_GID, team_gid=TEAM_GID)


@pytest.fixture
def zendesk(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return connect("zendesk", "support", "/zendesk", sandbox)
