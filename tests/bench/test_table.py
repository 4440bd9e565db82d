"""What the benchmark says of its figures: which are reached, which make it fail, and what stands in the documentation."""

import json
import os
from http import HTTPStatus
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.bench import drivers
from tests.bench.contenders import Peer, address
from tests.bench.options import GROUPS, Options
from tests.bench.report import chart, documentation, table
from tests.bench.report.table import Row, Verdict, at_least, at_most
from tests.bench.stub_vendor.client import Stub
from tests.bench.stub_vendor.server import Behaviour, Vendor

CPU = {"workers": 0.04, "web": 0.01, "database": 0.01}
RATES: dict[str, Any] = {
    "ours": {
        "size": 100,
        "rate": 21.0,
        "slow_rate": 20.0,
        "cpu": CPU,
        "mb": {"workers": [99.0, 101.0], "web": [80.0]},
        "large_size": 1000,
        "large_rate": 20.5,
        "large": {"cpu": CPU},
        "worker_mb": [101.0, 102.0],
        "worker_mb_runs": 1000,
    },
    "dbos": {
        "size": 100,
        "rate": 14.0,
        "slow_rate": 12.0,
        "cpu": {"workers": 0.08, "web": 0.01},
        "mb": {"workers": [82.0]},
    },
}
REPORT = {
    "at": "2026-11-28T19:00+00:00",
    "commit": "abc",
    "cores": 2,
    "load_before": 0.1,
    "python": "3.11",
    "history": 0,
    "measured": {"rates": RATES},
}


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.06, Verdict.REACHED), (0.065, Verdict.AS_REQUIRED), (0.07, Verdict.AS_REQUIRED), (0.071, Verdict.FAILED)],
)
def test_a_figure_between_the_goal_and_what_is_required_passes_as_required(value: float, verdict: Verdict) -> None:
    assert Row("CPU", {"ours": value}, at_most(0.06), at_most(0.07)).verdict is verdict


def test_a_missed_goal_alone_fails_nothing() -> None:
    missed = Row("rate", {"ours": 19.9, "dbos": 14.0}, at_least(20))
    assert missed.verdict is Verdict.MISSED
    assert table.failures([missed]) == []


def test_one_object_made_twice_fails_by_name() -> None:
    twice = Row("objects made twice", {"ours": 1, "dbos": 90}, required=table.NONE)
    assert table.failures([twice]) == ["objects made twice: 1, required none."]


def test_what_was_not_measured_of_ours_is_not_judged() -> None:
    assert Row("objects made twice", {"dbos": 90}, required=table.NONE).verdict is Verdict.SHOWN


def test_the_required_rates_are_multiples_of_those_of_dbos_in_the_same_run() -> None:
    ratios = {row.measure: row for row in table.rows({"rates": RATES}) if row.measure.startswith("times DBOS")}
    assert [row.values["ours"] for row in ratios.values()] == [21.0 / 14.0, 20.0 / 12.0]
    slower = {**RATES, "ours": {**RATES["ours"], "rate": 1.39 * 14.0}}
    assert [sentence.partition(":")[0] for sentence in table.failures(table.rows({"rates": slower}))] == [
        "times DBOS's rate at 0 ms"
    ]


def test_the_databases_share_of_the_cpu_is_told_apart() -> None:
    rows = {row.measure: row.values for row in table.rows({"rates": RATES})}
    assert rows["CPU s an onboarding, our processes"] == {"ours": pytest.approx(0.05), "dbos": pytest.approx(0.09)}
    assert rows["CPU s an onboarding, the database"] == {"ours": 0.01}


def test_the_web_of_a_peer_is_a_group_of_its_processes() -> None:
    me, parent = os.getpid(), os.getppid()
    peer = Peer(name="dbos", port=0, key="", workers=[parent], web=me, database=parent)
    groups = {group: [each.pid for each in processes] for group, processes in peer.processes().items()}
    assert (groups["workers"][0], groups["web"][0], groups["database"][0]) == (parent, me, parent)


def test_each_line_of_the_table_has_every_column_and_only_those_measured_are_columns() -> None:
    lines = table.cells(table.rows({"rates": RATES}))
    assert {len(line) for line in lines} == {len(lines[0])}
    assert lines[0] == ["measure", "to reach", "ours", "DBOS", "reached"]


def test_the_documentation_gets_the_table_and_the_chart_in_place_of_the_former(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "performance.md"
    monkeypatch.setattr(documentation, "PAGE", page)
    monkeypatch.setattr(documentation, "CHART", tmp_path / "performance.svg")
    page.write_text(f"before\n{documentation.BEGIN}\nold\n{documentation.END}\nafter\n")
    documentation.write(REPORT, table.rows(REPORT["measured"]))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| onboardings/s at 0 ms, 100 at once | ≥ 20 | 21 | 14 | yes |" in text
    ElementTree.fromstring((tmp_path / "performance.svg").read_text())  # noqa: S314 (made here)


def test_the_page_has_a_place_for_the_table() -> None:
    text = documentation.PAGE.read_text()
    assert 0 < text.find(documentation.BEGIN) < text.find(documentation.END)


def test_the_chart_draws_each_bar_to_one_scale() -> None:
    drawn = ElementTree.fromstring(chart.draw({"rates": RATES}))  # noqa: S314 (made here)
    widths = [float(each.attrib["width"]) for each in drawn.iter("{http://www.w3.org/2000/svg}rect")]
    _page, ours, dbos = widths[:3]
    assert dbos / ours == pytest.approx(14.0 / 21.0, rel=0.01)


def test_a_batch_is_made_smaller_only_where_nobody_asked_for_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Options().size("large", per_second=2.0) == 120
    assert Options().size("large", per_second=20.0) == 1000
    monkeypatch.setenv("BENCH_LARGE", "700")
    assert Options.from_environment().size("large", per_second=2.0) == 700


def test_groups_are_chosen_by_name_and_an_unknown_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Options.from_environment().only == frozenset(GROUPS)
    monkeypatch.setenv("BENCH_ONLY", "rates, idle")
    assert Options.from_environment().only == {"rates", "idle"}
    monkeypatch.setenv("BENCH_ONLY", "speed")
    with pytest.raises(SystemExit, match="speed"):
        Options.from_environment()


class Counted(Stub):
    """A vendor of whom 700 onboardings of others have finished; of these, one more at each look."""

    def __init__(self, names: list[str]) -> None:
        self.names, self.looks, self.lists = names, 0, 0

    def counts(self) -> dict[str, Any]:
        self.looks += 1
        return {"finished": 700 + self.looks, "calls": self.looks}

    def finished(self) -> dict[str, float]:
        self.lists += 1
        return {address(name): 0.0 for name in self.names[: self.looks]}


def test_last_measurement_is_not_slowed_by_earlier_results() -> None:
    stub = Counted(["one", "two", "three"])
    drivers.until_finished(stub, stub.names, before=700)
    assert (stub.looks, stub.lists) == (3, 1)


# --- The vendor, who says what is right ---------------------------------------------------------------------------------


def test_a_create_that_is_repeated_counts_as_made_twice() -> None:
    vendor = Vendor()
    for reference in ("one", "one", "two"):
        assert _create(vendor, reference).value == 200
    assert (vendor.twice, vendor.by_kind["accounts"], vendor.calls) == (1, 2, 3)


def test_a_write_that_is_answered_with_an_error_is_carried_out() -> None:
    vendor = Vendor()
    vendor.behaviour = Behaviour(error_after=1.0)
    assert _create(vendor, "one").value == 500
    assert vendor.find("/crm/accounts", "one")["data"]


def test_only_a_call_that_is_repeated_inside_its_retry_after_counts_as_early() -> None:
    vendor = Vendor()
    vendor.behaviour = Behaviour(too_many=1.0, retry_after=60.0)
    assert _create(vendor, "one").value == 429
    vendor.behaviour.too_many = 0.0
    _create(vendor, "two")
    assert vendor.early == 0
    _create(vendor, "one")
    assert (vendor.early, vendor.twice) == (1, 0)


def test_refused_credentials_and_probes_are_no_calls() -> None:
    vendor = Vendor()
    vendor.behaviour = Behaviour(refused="crm")
    assert _create(vendor, "one").value == 401
    vendor.behaviour = Behaviour()
    assert vendor.answer("GET", "/crm/me", "", b"")[0].value == 200
    assert (vendor.calls, vendor.by_kind) == (0, {})


def test_calls_at_once_are_counted_by_system_without_probes() -> None:
    vendor = Vendor()
    for path in ("/crm/accounts", "/crm/deals", "/crm/me", "/erp/customers"):
        vendor.begin(path)
    vendor.end("/crm/deals")
    vendor.begin("/crm/contacts")
    assert vendor.most_at_once == {"crm": 2, "erp": 1}


def _create(vendor: Vendor, reference: str) -> HTTPStatus:
    return vendor.answer("POST", "/crm/accounts", "", json.dumps({"reference": reference}).encode())[0]


def test_the_enterprise_playbooks_row_is_judged_by_its_outcome_alone() -> None:
    found = {"size": 100, "rate": 3.5, "cpu": CPU, "share": 0.91, "twice": 0, "unfinished": 0}
    made = {row.measure.partition(": ")[2]: row for row in table.rows({"enterprise": found})}
    assert made["share of lean transitions"].values == {"ours": 0.91}
    assert {row.verdict for row in made.values()} == {Verdict.SHOWN, Verdict.REACHED}
    assert table.failures(table.rows({"enterprise": {**found, "unfinished": 1}})) != []
