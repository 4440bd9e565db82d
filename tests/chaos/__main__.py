"""``python -m tests.chaos``: the whole matrix, on SQLite and on PostgreSQL; a table of its rows for each.

``CHAOS_SEED=`` repeats what was chosen by chance; ``CHAOS_ROWS=crash/after-send,vendor/*`` selects rows (comma-separated
globs over ``group/name/vendor kind``); ``CHAOS_DATABASES=sqlite`` one database.
"""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = "10"
"""How many times as much the generated tests (models, API) try as in ``make test``; FIRSTVALUE_EXAMPLES says otherwise."""
LONGEST_SECONDS = 3600
"""Of one test: the generated ones try ten times as much as in ``make test``."""
ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    os.environ["CHAOS"] = "1"
    from tests.chaos import matrix

    generated = {"FIRSTVALUE_EXAMPLES": EXAMPLES, **os.environ}
    arguments = [f"--hypothesis-seed={matrix.SEED}", *arguments]
    elsewhere = [row.test for row in matrix.ROWS if row.test and row.is_selected]
    failed = False
    for database in os.environ.get("CHAOS_DATABASES", "sqlite,postgres").split(","):
        environment = {**generated, "FIRSTVALUE_TEST_BACKEND": database, "CHAOS_SEED": str(matrix.SEED)}
        command = [
            sys.executable,
            "-m",
            "pytest",
            f"--timeout={LONGEST_SECONDS}",
            "tests/chaos",
            *elsewhere,
            *arguments,
        ]
        failed |= subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
