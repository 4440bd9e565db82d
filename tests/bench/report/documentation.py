"""Puts a report into ``docs/performance.md``, as its table and its chart.

``BENCH_DOCS=1 make bench`` does it with what it measured, ``python -m tests.bench.report.documentation REPORT`` with a report that
``BENCH_OUT`` wrote.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.bench.processes import ROOT
from tests.bench.report import chart, table

PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def caption(report: dict[str, Any]) -> str:
    history = f", {report['history']:,} finished runs in the tables" if report["history"] else ""
    return (
        f"{report['at'][:16].replace('T', ' ')} UTC, commit {report['commit']}: {report['cores']} cores, load before "
        f"{report['load_before']}, Python {report['python']}{history}; 14 calls an onboarding."
    )


def write(report: dict[str, Any], rows: list[table.Row]) -> None:
    """The chart only where rates were measured. Raises ``ValueError`` where the page has no place for it."""
    if "rates" in report["measured"]:
        CHART.write_text(chart.draw(report["measured"]))
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{PAGE} has no {BEGIN} with an {END} after it.")
    PAGE.write_text(f"{before}{BEGIN}\n{caption(report)}\n\n{table.as_markdown(rows)}\n{END}{after}")


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    write(given, table.rows(given["measured"]))
