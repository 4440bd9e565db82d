"""Doing several things at the same moment, each on a database connection of its own."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from django.db import connection

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
