"""What the rows share: worker processes, customers, and the table at the end."""

import copy
import os
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from integrations.models import Connection
from integrations.sandbox.control import SandboxProcess
from onboarding.playbooks.playbook import playbooks
from tests.chaos import matrix
from tests.chaos.matrix import Row
from tests.chaos.runner import Workers
from tests.chaos.vendors import COMPANY, UPSERT, VENDORS, VendorKind
from tests.conftest import PAYLOAD


@pytest.fixture(scope="module")
def process(
    django_db_setup: None, sandbox_process: SandboxProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workers]:
    with Workers(sandbox_process, tmp_path_factory.mktemp("workers")) as started:
        yield started


@pytest.fixture
def own_playbooks(settings: Any) -> Iterator[None]:
    """The built-in playbook with all its steps, and those that a kind of vendor here has for itself."""
    settings.CONFIG_DIR = COMPANY
    playbooks.cache_clear()
    yield
    playbooks.cache_clear()


@pytest.fixture
def workers(process: Workers, connections: dict[str, Connection], smtp: Connection, own_playbooks: None) -> Workers:
    """Worker processes on whole playbooks, with all the vendors of the built-in one and nothing done yet."""
    from tests.support.stripe_events import connect

    connect()
    process.log_file.truncate(0)
    process.sandbox.clear_faults()
    return process


@pytest.fixture
def vendor(row: Row, workers: Workers) -> VendorKind:
    """The row's kind of vendor, set up."""
    kind = VENDORS.get(row.vendor, VENDORS[UPSERT])
    kind.set_up(workers.sandbox.base_url)
    return kind


def payload_of(name: str, *, plan: str = "pro", **changes: Any) -> dict[str, Any]:
    """The payload of a customer called so, with a second user, who buys that plan."""
    made = copy.deepcopy(PAYLOAD) | {"onboarding_transaction_id": f"pay_{name}"}
    made["customer"] |= {"legal_name": f"{name.capitalize()} Works", "domain": f"{name}-works.com"}
    made["customer"]["primary_contact"] = {"name": f"Ann {name.capitalize()}", "email": f"ann@{name}-works.com"}
    made["commercial"]["plan_sku"] = plan
    made["users"] = [{"name": "Sam Roe", "email": f"sam@{name}-works.com", "role": "admin"}]
    for part, values in changes.items():
        made[part] = {**made[part], **values} if isinstance(values, dict) else values
    return made


# --- The table ---------------------------------------------------------------------------------------------------------


class Table:
    """Collects what became of each row, whichever test is its proof."""

    def __init__(self) -> None:
        self.by_test: dict[str, Row] = {row.test: row for row in matrix.ROWS if row.test}
        self.results: dict[str, set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = defaultdict(float)

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        row = self._row(report.nodeid)
        if row is None:
            return
        self.seconds[row.id] += report.duration
        if report.when == "call" or not report.passed:
            self.results[row.id].add(report.outcome)

    def _row(self, nodeid: str) -> Row | None:
        test, _, parameters = nodeid.partition("[")
        if test.startswith("tests/chaos/"):
            return next((row for row in matrix.ROWS if parameters.rstrip("]") == row.id), None)
        return self.by_test.get(test)

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not matrix.WHOLE and not matrix.SELECTED:
            return
        database = os.environ["FIRSTVALUE_TEST_BACKEND"]
        terminalreporter.section(f"chaos on {database}, CHAOS_SEED={matrix.SEED}")
        for row in matrix.ROWS:
            if not row.is_selected:
                continue
            outcomes = self.results.get(row.id, set())
            result = next((each for each in ("failed", "skipped", "passed") if each in outcomes), "")
            result = f"not a test: {row.reason}" if row.reason else result or "not run"
            seconds = f"{self.seconds[row.id]:7.1f}" if outcomes else "      -"
            terminalreporter.write_line(
                f"{row.group + ': ' + row.name:58} {row.vendor:15} {database:9} {seconds}  {result}"
            )


@pytest.hookimpl
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if (row := row_of(item)) and (row.reason or not row.is_selected)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def row_of(item: pytest.Item) -> Row | None:
    callspec = getattr(item, "callspec", None)
    row = callspec.params.get("row") if callspec else None
    return row if isinstance(row, Row) else None  # other tests may call a parameter so


@pytest.hookimpl
def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Table(), "chaos-table")
