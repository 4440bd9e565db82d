"""``import_events``: a backfill through the one intake."""

import io
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from exceptions_queue.models import Ticket
from onboarding.enums import Status
from onboarding.intake import service
from onboarding.management.commands import import_events
from onboarding.models import ChangeRequest, OnboardingTransaction
from tests.conftest import Payload

pytestmark = pytest.mark.django_db(transaction=True)

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(line, line)``: the path of a file of these lines; a dictionary becomes JSON."""

    def made(*lines: dict[str, Any] | bytes) -> str:
        path = tmp_path / "events.jsonl"
        path.write_bytes(b"".join(raw(line) + b"\n" for line in lines))
        return str(path)

    return made


def raw(line: dict[str, Any] | bytes) -> bytes:
    return line if isinstance(line, bytes) else json.dumps(line).encode()


def imported(*arguments: str, code: int = 0) -> tuple[str, list[str]]:
    """The closing line, and what was said on standard error."""
    out, err = io.StringIO(), io.StringIO()
    ended = 0
    try:
        call_command("import_events", *arguments, stdout=out, stderr=err, no_color=True)
    except SystemExit as end:
        ended = int(str(end.code))
    assert ended == code
    return out.getvalue().splitlines()[-1], err.getvalue().splitlines()


def test_each_line_is_a_run_whose_clocks_start_when_it_was_paid(write: Write, payload: Payload) -> None:
    file = write(payload(), payload(onboarding_transaction_id="pay_2", occurred_at="2026-11-20T08:00:00Z"))
    assert imported(file, "--actor", "kim")[0] == "2 created, 0 replayed, 0 filled, 0 change requests, 0 refused."
    run = OnboardingTransaction.objects.get(onboarding_transaction_id="pay_2")
    assert run.occurred_at == datetime(2026, 11, 20, 8, tzinfo=UTC)
    assert run.status == Status.PROVISIONING
    assert run.audit.get(name="onboarding.run.accepted").actor == "kim"


def test_a_repeated_import_starts_nothing_twice(write: Write, payload: Payload) -> None:
    file = write(payload())
    imported(file)
    assert imported(file)[0] == "0 created, 1 replayed, 0 filled, 0 change requests, 0 refused."
    assert OnboardingTransaction.objects.count() == 1


def test_known_ids_are_filled_or_questioned(write: Write, payload: Payload) -> None:
    lacking = payload(commercial__term=None)
    imported(write(lacking))
    assert Ticket.objects.get().problems[0]["path"] == "commercial.term"
    closing, _ = imported(write(payload(), payload(commercial__plan_sku="enterprise")))
    assert closing == "0 created, 0 replayed, 1 filled, 1 change requests, 0 refused."
    assert ChangeRequest.objects.get().paths == ["commercial.plan_sku"]


BAD = {
    b"{": "The line is not JSON.",
    b"[]": "The line is not a JSON object.",
    b'{"a": NaN}': "NaN is not JSON.",
    b'{"a": 1, "a": 2}': "A name is listed twice in one object.",
    b'{"a": "\\u0000"}': "A text holds a NUL or half of a surrogate pair.",
    b'{"a": 1e400}': "A number is out of range.",
    b"\xff{}": "The line is not UTF-8.",
    b'{"a":' * 40 + b"1" + b"}" * 40: "The line is nested deeper than 32 levels.",
    b'{"a": "%s"}' % (b"x" * 1024 * 1024): "The line is longer than 1048576 bytes.",
    b'{"event_source": "x"}': "onboarding_transaction_id: Field required",
    b'{"onboarding_transaction_id": "a", "event_source": "\\u001c"}': "event_source: must be a text of 1 to 64 characters",
    b'{"onboarding_transaction_id": "a", "event_source": "x", "customer": {"domain": 5}}': (
        "customer.domain: Input should be a valid string"
    ),
}


def test_a_bad_line_is_named_and_stops_no_other(write: Write, payload: Payload) -> None:
    file = write(*BAD, payload())
    closing, said = imported(file, code=1)
    assert said == [f"{file}:{number}: {reason}" for number, reason in enumerate(BAD.values(), start=1)]
    assert closing == f"1 created, 0 replayed, 0 filled, 0 change requests, {len(BAD)} refused."


def test_a_dry_run_checks_every_line_and_writes_nothing(write: Write, payload: Payload) -> None:
    file = write(payload(), b"{", payload(onboarding_transaction_id="pay_2", commercial__term=None))
    closing, said = imported(file, "--dry-run", code=1)
    assert closing == "Nothing was written. 2 can be taken, 1 of them without all required data; 1 refused."
    assert said == [f"{file}:2: The line is not JSON."]
    assert not OnboardingTransaction.objects.exists()


def test_files_from_windows_and_without_a_last_line_end_are_read(tmp_path: Path, payload: Payload) -> None:
    file = tmp_path / "events.jsonl"
    second = raw(payload(onboarding_transaction_id="pay_2"))
    file.write_bytes(b"\xef\xbb\xbf" + raw(payload()) + b"\r\n\r\n" + second)
    assert imported(str(file))[0].startswith("2 created")


def test_standard_input_is_read(payload: Payload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw(payload()) + b"\n{\n")))
    closing, said = imported("-", code=1)
    assert closing.startswith("1 created")
    assert said == ["standard input:2: The line is not JSON."]


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        call_command("import_events", "nowhere.jsonl")


@pytest.mark.parametrize("actor", ["", " ", "x" * 151, "a\nb"])
def test_an_actor_has_a_name(write: Write, actor: str) -> None:
    with pytest.raises(CommandError, match="printable characters"):
        call_command("import_events", write(), "--actor", actor)


def test_a_database_that_is_away_ends_it_with_where_it_was(
    write: Write, payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError

    file = write(payload())
    monkeypatch.setattr(service, "accept", away)
    with pytest.raises(CommandError, match=r"jsonl:1: the database did not answer .* Run the same command again"):
        call_command("import_events", file, stdout=io.StringIO())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_and_a_log_gets_counts(
    write: Write, payload: Payload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_events, "TOLD_EVERY", 2)
    file = write(*[payload(onboarding_transaction_id=f"pay_{n}") for n in range(5)])
    assert imported(file, "--dry-run")[1] == ["2 lines, 0 refused", "4 lines, 0 refused"]
    terminal = Terminal()
    call_command("import_events", file, "--dry-run", stdout=io.StringIO(), stderr=terminal)
    assert f"{'█' * import_events.BAR_WIDTH} 100%  5 lines, 0 refused" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


@pytest.mark.one_database("sqlite")
def test_memory_does_not_grow_with_the_file(tmp_path: Path, payload: Payload) -> None:
    def peak(lines: Iterable[bytes]) -> int:
        file = tmp_path / "large.jsonl"
        with file.open("wb") as out:
            out.writelines(lines)
        tracemalloc.start()
        try:
            imported(str(file), "--dry-run", code=1)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    line = raw(payload(customer__territory="x" * 1000)) + b"\n"
    bad = b"{\n"
    one_long = b"x" * (32 * 1024 * 1024) + b"\n"
    few = peak([line, bad])
    assert peak([*[line] * 5000, bad]) < few + 1024 * 1024
    assert peak([one_long, line]) < few + 4 * 1024 * 1024
