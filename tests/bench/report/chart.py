"""The chart of ``docs/performance.md``: rates and costs of all that were measured, as an SVG for light and dark pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from tests.bench.report.table import COLUMNS, shown

WIDTH, LABELS, VALUES, BAR, GAP, HEAD, BETWEEN, MARGIN = 760, 120, 140, 18, 8, 34, 22, 16
"""Pixels: the panels, the names left of the bars, the room right of them, a bar and the gap under it, a panel's title, between
panels, around them.
"""
NAMES = {**COLUMNS, "ours": "Firstvalue"}
STYLE = """
.page { fill: #ffffff; }
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.note { fill: #59636e; }
.other { fill: #8c959f; }
.other-database { fill: #c8ced5; }
.ours { fill: #0969da; }
.ours-database { fill: #8dbcf0; }
.axis { stroke: #d1d9e0; }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117; }
  text { fill: #e6edf3; }
  .note { fill: #9198a1; }
  .other { fill: #7d8590; }
  .other-database { fill: #474e57; }
  .ours { fill: #4493f8; }
  .ours-database { fill: #27558f; }
  .axis { stroke: #3d444d; }
}
"""
Measured = Mapping[str, Any]


@dataclass(frozen=True)
class Bars:
    """One panel; each contender has one number, or two on top of each other: its processes' and the database's."""

    title: str
    note: str
    values: dict[str, tuple[float, ...]]


def draw(measured: Measured) -> str:
    """Raises ``KeyError`` where no rates were measured."""
    rates = measured["rates"]
    names = [name for name in COLUMNS if name in rates]
    size = rates[names[0]]["size"]
    panels = [
        Bars(
            "Onboardings a second, vendors answer at once",
            f"{size} at once, 14 calls each",
            _numbers(rates, names, "rate"),
        ),
        Bars("Onboardings a second, 50 ms a call", "", _numbers(rates, names, "slow_rate")),
        Bars(
            "Milliseconds of CPU an onboarding",
            "first its own processes, then the database",
            {name: _cost(rates[name]["cpu"]) for name in names},
        ),
    ]
    if steady := measured.get("latency"):
        title = "Seconds from post to last call, two a second, 50 ms a call"
        panels.append(Bars(title, "median; nine calls follow each other: 0.45 s", _numbers(steady, names, "p50")))
    parts, top = [], 0
    for panel in panels:
        parts.append(_panel(panel, top))
        top += HEAD + len(panel.values) * (BAR + GAP) + BETWEEN
    width, height = WIDTH + 2 * MARGIN, top - BETWEEN + 2 * MARGIN
    told = escape("; ".join(f"{panel.title}: {_told(panel)}" for panel in panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-MARGIN} {-MARGIN} {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-labelledby="told">\n<title id="told">{told}</title>\n<style>{STYLE}</style>\n'
        # A page of its own: the picture follows the browser's scheme, which a site's own theme may contradict.
        f'<rect class="page" x="{-MARGIN}" y="{-MARGIN}" width="{width}" height="{height}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _panel(panel: Bars, top: int) -> str:
    longest = max(sum(parts) for parts in panel.values.values())
    scale = (WIDTH - LABELS - VALUES) / longest
    note = f'<tspan class="note" font-weight="400" dx="10">{escape(panel.note)}</tspan>'
    lines = [f'<text class="title" x="0" y="{top + 16}">{escape(panel.title)}{note}</text>']
    y = top + HEAD
    bottom = y + len(panel.values) * (BAR + GAP) - GAP
    lines.append(f'<line class="axis" x1="{LABELS}" x2="{LABELS}" y1="{y - 3}" y2="{bottom + 3}"/>')
    for name, parts in panel.values.items():
        x, text = float(LABELS), y + BAR - 5
        lines.append(f'<text x="{LABELS - 8}" y="{text}" text-anchor="end">{escape(NAMES[name])}</text>')
        kind = "ours" if name == "ours" else "other"
        for number, part in enumerate(parts):
            fill = f"{kind}-database" if number else kind
            lines.append(f'<rect class="{fill}" x="{x:.1f}" y="{y}" width="{part * scale:.1f}" height="{BAR}"/>')
            x += part * scale
        lines.append(f'<text x="{x + 6:.1f}" y="{text}">{" + ".join(shown(part) for part in parts)}</text>')
        y += BAR + GAP
    return "\n".join(lines)


def _told(panel: Bars) -> str:
    return ", ".join(f"{NAMES[name]} {' + '.join(map(shown, parts))}" for name, parts in panel.values.items())


def _numbers(found: Measured, names: list[str], key: str) -> dict[str, tuple[float, ...]]:
    return {name: (found[name][key],) for name in names if name in found}


def _cost(cpu: Mapping[str, float]) -> tuple[float, ...]:
    own = sum(seconds for group, seconds in cpu.items() if group != "database")
    return tuple(1000 * seconds for seconds in (own, cpu.get("database", 0.0)) if seconds)
