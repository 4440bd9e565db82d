"""Doing several things at the same moment, each on a database connection of its own."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connection, transaction

R = TypeVar("R")


def together(jobs: Sequence[Callable[[], R]]) -> list[R]:
    """Run all jobs at once; their results in order. The first exception is raised."""
    barrier = Barrier(len(jobs))

    def run(job: Callable[[], R]) -> R:
        barrier.wait(timeout=10)
        try:
            return job()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(run, job) for job in jobs]]


def empty_audit_trail() -> None:
    """Let SQLite's test database be flushed: its append-only triggers are taken away and put back.

    PostgreSQL is flushed by TRUNCATE, which fires no row triggers.
    """
    if connection.vendor != "sqlite":
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'onboarding_auditentry'"
        )
        triggers = cursor.fetchall()
        for name, _ in triggers:
            cursor.execute(f'DROP TRIGGER "{name}"')
        cursor.execute("DELETE FROM onboarding_auditentry")
        for _, sql in triggers:
            cursor.execute(sql)
