"""The one table: each measure, what is to be reached, what was measured, and whether it is reached."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

COLUMNS = {"ours": "ours", "bare": "bare task", "canvas": "canvas", "dbos": "DBOS", "dbos in order": "DBOS in order"}
NOT_MEASURED = "-"
Measured = Mapping[str, Any]


class Verdict(StrEnum):
    REACHED = "yes"
    AS_REQUIRED = "as required"
    MISSED = "no"
    FAILED = "NO: required"
    SHOWN = ""
    """Nothing is to be reached, or nothing was measured."""


@dataclass(frozen=True)
class Bound:
    """At least or at most so much."""

    sign: str
    number: float

    def holds(self, value: float) -> bool:
        return value >= self.number if self.sign == "≥" else value <= self.number

    def __str__(self) -> str:
        return f"{self.sign} {self.number:g}" if self.number else "none"


@dataclass(frozen=True)
class Row:
    """``goal``: what is aimed at. ``required``: without it the benchmark fails, as it does without a correct outcome."""

    measure: str
    values: dict[str, float]
    """By contender; those that were measured."""
    goal: Bound | None = None
    required: Bound | None = None

    @property
    def verdict(self) -> Verdict:
        if "ours" not in self.values or not (self.goal or self.required):
            return Verdict.SHOWN
        value = self.values["ours"]
        if self.required and not self.required.holds(value):
            return Verdict.FAILED
        if self.goal and not self.goal.holds(value):
            return Verdict.AS_REQUIRED if self.required else Verdict.MISSED
        return Verdict.REACHED

    @property
    def to_reach(self) -> str:
        if self.goal and self.required and self.goal != self.required:
            return f"{self.goal} (required {self.required})"
        bound = self.required or self.goal
        return "" if bound is None else f"{bound} (required)" if self.required and bound.number else str(bound)


def at_least(number: float) -> Bound:
    return Bound("≥", number)


def at_most(number: float) -> Bound:
    return Bound("≤", number)


NONE = at_most(0)


def rows(measured: Measured) -> list[Row]:
    """``measured``: by group of figures, and where others are measured too by contender."""
    groups = {
        "rates": _rates,
        "latency": _latency,
        "intake": _intake,
        "limited": _limited,
        "duplicates": _duplicates,
        "parked": _parked,
        "enterprise": _enterprise,
        "memory": _memory,
        "idle": _idle,
        "sqlite": _sqlite,
        "alone": _alone,
    }
    there = {**measured, "memory": measured.get("rates")}
    return [row for group, made in groups.items() if (found := there.get(group)) for row in made(found)]


def _rates(rates: Measured) -> list[Row]:
    ours = rates.get("ours", {})
    sizes = {found["size"] for found in rates.values()}
    fast, slow = _each(rates, "rate"), _each(rates, "slow_rate")
    return [
        Row(f"onboardings/s at 0 ms, {_list(sizes)} at once", fast, at_least(20)),
        Row(
            f"onboardings/s at 0 ms, {shown(ours.get('large_size', 0))} at once",
            _only(ours, "large_rate"),
            at_least(20),
        ),
        Row("onboardings/s at 50 ms a call", slow, at_least(20)),
        Row("times DBOS's rate at 0 ms", _ratio(fast), required=at_least(1.4)),
        Row("times DBOS's rate at 50 ms", _ratio(slow), required=at_least(1.2)),
        Row("CPU s an onboarding, our processes", _cpu(rates), at_most(0.06), at_most(0.07)),
        Row("CPU s an onboarding, the database", _database(rates), at_most(0.02), at_most(0.03)),
        Row("  with the large batch, our processes", _cpu(_of(ours, "large"))),
        Row("  with the large batch, the database", _database(_of(ours, "large"))),
    ]


def _latency(steady: Measured) -> list[Row]:
    return [
        Row("s from post to last call at 2/s, 50 ms, p50", _each(steady, "p50"), required=at_most(0.6)),
        Row("s from post to last call at 2/s, 50 ms, p95", _each(steady, "p95")),
    ]


def _intake(found: Measured) -> list[Row]:
    return [
        Row("posts/s of one web process, new", _only(found, "stored"), at_least(100)),
        Row("posts/s of one web process, repeated", _only(found, "deduplicated"), at_least(100)),
        Row(f"ms of a post at {shown(found['at'])}/s, p99", _only(found, "p99_ms"), at_most(50)),
    ]


def _limited(found: Measured) -> list[Row]:
    what = f"5 % 429 ({found['size']} runs): "
    return [
        Row(f"{what}share of the rate", _only(found, "share"), required=at_least(0.5)),
        Row(f"{what}calls inside a Retry-After", _only(found, "early"), required=NONE),
        Row(f"{what}made twice or unfinished", _sum(found, "twice", "unfinished"), required=NONE),
    ]


def _duplicates(found: Measured) -> list[Row]:
    ours = found.get("ours", {})
    sizes = _list({each["size"] for each in found.values()})
    what = f"no keys, 5 % 500 after the write ({sizes} runs): "
    return [
        Row(f"{what}objects made twice", _each(found, "twice"), required=NONE),
        Row(f"{what}unfinished", _only(ours, "unfinished"), required=NONE),
        Row(f"{what}share of the rate", _only(ours, "share"), at_least(0.5)),
    ]


def _parked(found: Measured) -> list[Row]:
    what = f"{shown(found['size'])} parked runs released: "
    return [
        Row(f"{what}share of what the limit allows", _only(found, "share"), at_least(0.7)),
        Row(f"{what}calls beyond the limit", _only(found, "beyond"), required=NONE),
        Row(f"{what}made twice, calls too many", _sum(found, "twice", "wrong_calls"), required=NONE),
    ]


def _enterprise(found: Measured) -> list[Row]:
    what = f"enterprise playbook ({found['size']} runs): "
    return [
        Row(f"{what}onboardings/s at 0 ms", _only(found, "rate")),
        Row(f"{what}CPU s an onboarding, our processes", _cpu({"ours": found})),
        Row(f"{what}share of lean transitions", _only(found, "share")),
        Row(f"{what}made twice or unfinished", _sum(found, "twice", "unfinished"), required=NONE),
    ]


def _memory(rates: Measured) -> list[Row]:
    worker = {name: max(found["mb"]["workers"]) for name, found in rates.items() if "mb" in found}
    grown = {
        name: found["worker_mb"][-1] - found["worker_mb"][0] for name, found in rates.items() if "worker_mb" in found
    }
    if "ours" in grown:
        worker["ours"] = max(rates["ours"]["worker_mb"])
    runs = shown(rates["ours"]["worker_mb_runs"]) if "ours" in grown else ""
    return [
        Row("MB a worker process", worker, at_most(120)),
        *([Row(f"MB that a worker process grew over {runs} runs", grown, at_most(5))] if runs else []),
    ]


def _idle(found: Measured) -> list[Row]:
    return [Row("idle installation with database, % of a core", _only(found, "percent"), at_most(1))]


def _sqlite(found: Measured) -> list[Row]:
    return [
        Row("SQLite: onboardings/s", _only(found, "per_second"), at_least(8)),
        Row("SQLite: posts answered with an error", _only(found, "errors"), required=NONE),
        Row("SQLite: objects made twice or runs unfinished", _sum(found, "twice", "unfinished"), required=NONE),
        Row("SQLite: longest wait of a writer, s", _only(found, "longest_wait")),
        Row("SQLite: longest answer to a post, s", _only(found, "longest_answer")),
    ]


def _alone(found: Measured) -> list[Row]:
    return [
        Row("one thread: round trips an onboarding", _only(found, "round_trips")),
        Row("one thread: round trips of a post", _only(found, "round_trips_of_intake")),
        Row("one thread: s of Python an onboarding", _only(found, "python_seconds")),
    ]


# --- Values -----------------------------------------------------------------------------------------------------------


def _each(found: Measured, key: str) -> dict[str, float]:
    return {name: each[key] for name, each in found.items() if key in each}


def _only(found: Measured, key: str) -> dict[str, float]:
    return {"ours": found[key]} if key in found else {}


def _of(found: Measured, key: str) -> Measured:
    return {"ours": found[key]} if key in found else {}


def _sum(found: Measured, *keys: str) -> dict[str, float]:
    return {"ours": sum(found[key] for key in keys)}


def _ratio(values: dict[str, float]) -> dict[str, float]:
    return {"ours": values["ours"] / values["dbos"]} if {"ours", "dbos"} <= values.keys() else {}


def _cpu(found: Measured) -> dict[str, float]:
    return {
        name: sum(seconds for group, seconds in each["cpu"].items() if group != "database")
        for name, each in found.items()
    }


def _database(found: Measured) -> dict[str, float]:
    return {name: each["cpu"]["database"] for name, each in found.items() if "database" in each["cpu"]}


def _list(sizes: set[int]) -> str:
    return " or ".join(shown(size) for size in sorted(sizes))


# --- Text -------------------------------------------------------------------------------------------------------------


def shown(value: float) -> str:
    """Three digits that count, and no fewer than the whole number has."""
    if value == int(value):
        return f"{int(value):,}"
    digits = max(0, 3 - len(str(int(abs(value)))) if abs(value) >= 1 else 3)
    return f"{value:,.{digits}f}"


def cells(table: list[Row]) -> list[list[str]]:
    """The head and the rows, in words; contenders that were not measured at all have no column."""
    there = [name for name in COLUMNS if name == "ours" or any(name in row.values for row in table)]
    body = [
        [
            row.measure,
            row.to_reach,
            *(shown(row.values[name]) if name in row.values else NOT_MEASURED for name in there),
            row.verdict.value,
        ]
        for row in table
    ]
    return [["measure", "to reach", *(COLUMNS[name] for name in there), "reached"], *body]


def as_text(table: list[Row]) -> str:
    lines = cells(table)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, 1, last) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_markdown(table: list[Row]) -> str:
    head, *body = cells(table)
    rule = ["---", "---", *("--:" for _ in head[2:-1]), "---"]
    return "\n".join("| " + " | ".join(cell.strip() for cell in line) + " |" for line in (head, rule, *body))


def failures(table: list[Row]) -> list[str]:
    """One sentence for each row without which the benchmark fails."""
    return [
        f"{row.measure.strip()}: {shown(row.values['ours'])}, required {row.required}."
        for row in table
        if row.verdict is Verdict.FAILED
    ]
