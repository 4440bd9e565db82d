"""The processes of a benchmark: started, stopped at the end whatever happens, their CPU seconds and memory read from outside."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests import servers

ROOT = Path(__file__).resolve().parent.parent.parent
STOP_SECONDS = 25.0
LOG_END = 1500
"""Characters of each log that are shown where something did not end."""
Command = list[str]


class Unfinished(Exception):
    """What was begun did not end in time, or ended otherwise than it must for the figure to be one."""


@contextmanager
def running(
    started: servers.Servers, commands: Mapping[str, Command], env: Mapping[str, str] | None = None
) -> Iterator[list[int]]:
    """The process ids, in the order of ``commands``. The guard stops them should this process be killed."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in commands.items():
            with _log(started, name).open("wb") as log:
                options = {
                    "cwd": ROOT,
                    "stdout": log,
                    "stderr": subprocess.STDOUT,
                    "env": {**os.environ, **(env or {})},
                }
                processes.append(started.guard.start(command, signal.SIGTERM, **options))
        yield [process.pid for process in processes]
    except (Unfinished, AssertionError) as problem:
        ends = [f"--- {name}:\n{_log(started, name).read_text(errors='replace')[-LOG_END:]}" for name in commands]
        raise Unfinished("\n".join([str(problem), *ends])) from None
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            started.guard.drop(process.pid)


def _log(started: servers.Servers, name: str) -> Path:
    return started.folder / f"{name}.log"


def call(command: Command, env: Mapping[str, str] | None = None) -> str:
    """What the command printed. Raises ``Unfinished`` with its errors where it fails."""
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unfinished(f"{' '.join(command)}:\n{done.stderr[-LOG_END:]}")
    return done.stdout.strip()


def tree(pid: int) -> list[psutil.Process]:
    """The process and all that it started and that live."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    return []


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """User and system, of those that ended meanwhile too, as their parents have waited for them."""
    seconds = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:4])
    return seconds


def resident_mb(processes: list[psutil.Process]) -> list[float]:
    """Resident memory of each in MB (10⁶ bytes), shared pages counted in each."""
    sizes = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            sizes.append(process.memory_info().rss / 1e6)
    return sizes
