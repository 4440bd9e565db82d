"""Which statements are made by tests of one database alone: ``pytest -p tests.statements`` over all tests, on one backend.

A test marked ``one_database`` may rest on what others prove on both databases. So each shape of statement that it makes must be
made by one of those too; the run fails and lists the shapes that are not. Processes that tests start are not seen.
"""

import re
from collections import defaultdict
from collections.abc import Generator
from functools import lru_cache
from typing import Any

import pytest
from django.db.backends.utils import CursorWrapper

LISTS = (
    (re.compile(r"'[^']*'|\b\d+\b"), "?"),
    (re.compile(r"%s|\?"), "?"),
    (re.compile(r"\?(?:, ?\?)+"), "?"),
    (re.compile(r"\(\?\)(?:, ?\(\?\))+"), "(?)"),
    (re.compile(r"\s+"), " "),
)
"""How many values there are does not matter, nor which."""
NOT_STATEMENTS = ("SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN", "COMMIT")


@lru_cache(100_000)
def shape(sql: str) -> str:
    for pattern, instead in LISTS:
        sql = pattern.sub(instead, sql)
    return sql


class Statements:
    def __init__(self) -> None:
        self.now: set[str] = set()
        self.both: set[str] = set()
        self.lone: dict[str, set[str]] = defaultdict(set)

    def watch(self, name: str) -> None:
        real = getattr(CursorWrapper, name)

        def execute(cursor: CursorWrapper, sql: Any, *rest: Any) -> Any:
            if not str(sql).startswith(NOT_STATEMENTS):
                self.now.add(shape(str(sql)))
            return real(cursor, sql, *rest)

        setattr(CursorWrapper, name, execute)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.now.clear()
        result = yield
        if item.get_closest_marker("one_database") is None:
            self.both |= self.now
        else:
            for made in self.now:
                self.lone[made].add(item.nodeid)
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.lone = {made: tests for made, tests in self.lone.items() if made not in self.both}
        if self.lone and not session.exitstatus:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section(f"{len(self.lone)} statements that no test on both databases makes")
        for made, tests in sorted(self.lone.items(), key=lambda each: sorted(each[1])):
            terminalreporter.write_line(f"{min(tests)} ({len(tests)})\n    {made[:300]}")


@pytest.hookimpl
def pytest_configure(config: pytest.Config) -> None:
    statements = Statements()
    for name in ("_execute", "_executemany"):
        statements.watch(name)
    config.pluginmanager.register(statements, "statements")
