"""A process that does the engine's work and may be killed at a failpoint. ``python -m tests.engine.worker DATABASE``.

It reads lines ``NAME:K`` and answers each with the exit code of a process of its own, forked for it: 137 where that one
met its end at the K-th hit of NAME, 0 where it did all the work there was.
"""

import importlib
import os
import sys

import django
from django.db import connections


def work(failpoint: str) -> None:
    from onboarding.engine import failpoints
    from tests.conftest import drain_engine

    os.environ["FIRSTVALUE_FAILPOINT"] = failpoint
    importlib.reload(failpoints)
    drain_engine()


def main(database: str) -> None:
    django.setup()
    connections.settings["default"]["NAME"] = database
    from tests import conftest  # noqa: F401 (imported once, not by every child)

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(line.strip())
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
