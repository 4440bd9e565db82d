"""The processes of ``make run`` are kept alive, stopped together, and never left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import run, supervisor
from config.supervisor import Child, Supervisor

SECONDS = 20.0


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    """Whether the process runs; a zombie, which only waits for a slow init, does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.lstrip().startswith("Z")


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(supervisor, "LONGEST_BACKOFF", 0.02)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    """Starts a supervisor of shell scripts, given by name, in ``tmp_path``."""
    started: list[Supervisor] = []

    def start(**scripts: str) -> Supervisor:
        children = [Child(name, ["/bin/sh", "-c", script]) for name, script in scripts.items()]
        started.append(Supervisor(children, data_dir=tmp_path, cwd=tmp_path))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.stop()


def test_a_child_that_dies_is_started_again(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    running = supervise(worker="echo $$ >> lives; exit 3", web="echo $$ >> web; exec sleep 60")

    wait_until(lambda: len(lines(tmp_path / "lives")) >= 3 and lines(tmp_path / "web"))
    running.stop()

    assert "ended with status 3; starting it again" in (tmp_path / "logs" / "worker.log").read_text()
    assert len(lines(tmp_path / "web")) == 1


def test_a_killed_child_is_started_again(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    running = supervise(worker="echo $$ >> lives; exec sleep 60")
    wait_until(lambda: lines(tmp_path / "lives"))

    os.kill(int(lines(tmp_path / "lives")[0]), signal.SIGKILL)

    wait_until(lambda: len(lines(tmp_path / "lives")) == 2)
    assert running.pid("worker") == int(lines(tmp_path / "lives")[1])
    assert "was ended by SIGKILL" in (tmp_path / "logs" / "worker.log").read_text()


def test_what_a_dead_child_left_behind_is_killed(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    running = supervise(web="sleep 60 & echo $! >> left; exit 1")

    wait_until(lambda: len(lines(tmp_path / "left")) >= 2)

    # While the next life goes on, not only when all is stopped.
    first = int(lines(tmp_path / "left")[0])
    wait_until(lambda: not is_running(first))
    running.stop()


def test_a_missing_program_is_reported_and_tried_again(tmp_path: Path) -> None:
    with Supervisor([Child("web", ["/nowhere/web"])], data_dir=tmp_path):
        log = tmp_path / "logs" / "web.log"
        wait_until(lambda: log.exists() and log.read_text().count("ended with status 127") >= 2)
        assert "/nowhere/web" in log.read_text()


def test_stop_ends_every_child(supervise: Callable[..., Supervisor], tmp_path: Path) -> None:
    script = "echo $$ >> pids; exec sleep 60"
    running = supervise(web=script, worker=script, scheduler=script)
    wait_until(lambda: len(lines(tmp_path / "pids")) == 3)

    running.stop()

    assert not any(is_running(int(pid)) for pid in lines(tmp_path / "pids"))


def test_a_child_that_ignores_its_signal_is_killed_with_its_group(
    supervise: Callable[..., Supervisor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "KILL_AFTER", 0.2)
    running = supervise(worker="trap '' TERM; sleep 60 & echo $$ $! >> pids; wait; sleep 60")
    wait_until(lambda: len(lines(tmp_path / "pids")) == 2)

    running.stop()

    wait_until(lambda: not any(is_running(int(pid)) for pid in lines(tmp_path / "pids")))


def test_every_line_is_shown_with_its_name_and_kept(
    supervise: Callable[..., Supervisor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = supervise(web="echo hello; echo trouble >&2; exec sleep 60")
    log = tmp_path / "logs" / "web.log"
    wait_until(lambda: log.exists() and log.read_text() == "hello\ntrouble\n")
    running.stop()

    assert "web | hello\nweb | trouble\n" in capsys.readouterr().out


def test_ready_waits_for_the_named_child(tmp_path: Path) -> None:
    sleeper = ["/bin/sleep", "60"]
    late = tmp_path / "late"
    children = [Child("web", sleeper, ready=late.exists), Child("worker", sleeper)]
    with Supervisor(children, data_dir=tmp_path) as running:
        assert running.wait_ready(0.1) == ["web"]
        assert running.wait_ready(SECONDS, ["worker"]) == []
        late.touch()
        assert running.wait_ready(SECONDS) == []


SUPERVISING = """
import sys
from pathlib import Path
from config.supervisor import Child, Supervisor
script = "sleep 60 & echo $$ $! >> pids; wait"
children = [Child(name, ["/bin/sh", "-c", script]) for name in ("web", "worker")]
Supervisor(children, data_dir=Path(sys.argv[1]), cwd=Path(sys.argv[1])).run()
"""


@pytest.fixture
def supervising(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own that supervises two children, each with one of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISING, str(tmp_path)], cwd=run.ROOT, stdout=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: len(lines(tmp_path / "pids")) == 4)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_and_is_no_failure(
    supervising: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals
) -> None:
    supervising.send_signal(number)

    assert supervising.wait(SECONDS) == 0
    wait_until(lambda: not any(is_running(int(pid)) for pid in lines(tmp_path / "pids")))


def test_nothing_is_left_when_the_supervisor_itself_is_killed(
    supervising: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    supervising.kill()

    wait_until(lambda: not any(is_running(int(pid)) for pid in lines(tmp_path / "pids")))


# --- make run ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_busy_port_is_named(taken: int, settings: object, capsys: pytest.CaptureFixture[str]) -> None:
    settings.PORT = taken

    assert run.main([]) == 2

    assert f"Port {taken} on 127.0.0.1 (PORT) is in use" in capsys.readouterr().err


@pytest.mark.parametrize(("distance", "what"), [(1, "PORT+1, the sandbox"), (2, "PORT+2, its mail catcher")])
def test_the_sandbox_needs_the_next_ports_too(taken: int, settings: object, distance: int, what: str) -> None:
    settings.PORT = taken - distance

    assert any(f"Port {taken} on 127.0.0.1 ({what})" in line for line in run.busy_ports(sandbox=True))
    assert not any(str(taken) in line for line in run.busy_ports(sandbox=False))


def test_the_children_of_one_machine(settings: object) -> None:
    settings.REDIS_URL = ""
    assert [child.name for child in run.build_children(sandbox=True)] == ["web", "worker", "scheduler", "sandbox"]


def test_with_redis_there_is_one_worker_a_core(settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REDIS_URL = "redis://localhost"
    settings.WORKER_CONCURRENCY = 16
    monkeypatch.setattr(run, "cores", lambda: 3)
    names = [child.name for child in run.build_children(sandbox=False)]
    assert names == ["web", "worker1", "worker2", "worker3", "scheduler"]

    monkeypatch.setattr(run, "cores", lambda: 64)
    assert len(run.build_children(sandbox=False)) == 2 + run.MOST_WORKER_THREADS // 16


def test_it_says_what_runs_where_and_tells_no_password(settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REDIS_URL = "redis://:hunter2@redis.internal:6379/0"
    monkeypatch.setitem(settings.DATABASES["default"], "PASSWORD", "hunter3")

    said = run.guide("https://firstvalue.example", sandbox=True)

    for part in (
        "https://firstvalue.example/admin/",
        "/api/docs/",
        "/webhooks/",
        "/readyz",
        "redis.internal",
        "createsuperuser",
    ):
        assert part in said
    assert str(settings.DATABASES["default"]["NAME"]) in said
    assert f"http://127.0.0.1:{settings.PORT + 1}" in said
    assert "hunter" not in said
