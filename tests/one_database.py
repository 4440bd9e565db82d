"""How ``make test`` shares the tests out (``addopts = -p tests.one_database``).

A test runs on both databases unless its outcome cannot depend on the database: then it has the marker ``one_database`` with the one
that it runs on. Two kinds get it here: tests that ask for no database (pytest-django refuses them every connection; those whose
processes have connections of their own are marked ``processes``), and tests in a browser, whose pages the test client asks for too.
Modules set it themselves as CONTRIBUTING.md says. Without ``--share`` nothing is left out.
"""

import os

import pytest

ON_POSTGRES = os.environ.get("FIRSTVALUE_TEST_BACKEND") == "postgres"
EXAMPLES = int(os.environ.get("FIRSTVALUE_EXAMPLES", "0"))
DATABASE_FIXTURES = frozenset({"db", "transactional_db", "live_server", "django_db_reset_sequences"})


def sized(full: int, small: int) -> int:
    """How often to try what finds the same faults on either database: ``full`` on PostgreSQL, ``small`` on SQLite.

    ``full`` on both with ``FIRSTVALUE_EXAMPLES``.
    """
    return full if ON_POSTGRES or EXAMPLES else small


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--share",
        choices=("processes", "rest"),
        help="this backend's share of all tests: of those that start worker processes, or of the rest",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("browser") is not None or not may_connect(item):
            item.add_marker(pytest.mark.one_database("sqlite"))
    if share := config.getoption("share"):
        left_out = {item for item in items if not is_ours(item) or starts_processes(item) != (share == "processes")}
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Nothing to do for this share is no failure: the tests that were asked for are another's."""
    if session.config.getoption("share") and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK


def starts_processes(item: pytest.Item) -> bool:
    return item.get_closest_marker("processes") is not None


def may_connect(item: pytest.Item) -> bool:
    """Whether the test, or a process that it starts, may connect to the database of this run."""
    return (
        item.get_closest_marker("django_db") is not None
        or starts_processes(item)
        or not DATABASE_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
    )


def is_ours(item: pytest.Item) -> bool:
    """Whether the backend of this run runs the test."""
    mark = item.get_closest_marker("one_database")
    return mark is None or mark.args[0] == os.environ["FIRSTVALUE_TEST_BACKEND"]
