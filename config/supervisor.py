"""Keeps a handful of processes running under one terminal, service unit or container.

Each child leads a session and process group of its own, so that whatever it started dies with it and Ctrl-C reaches it
only through the supervisor. Threads block in ``wait`` and ``read``; nothing polls.

Should the supervisor itself be killed with -9, a **guard** cleans up: a tiny ``sh`` that knows the children's groups
and reads a pipe whose other end only the supervisor holds. The kernel closes that pipe however the supervisor ends.
Unlike Linux' PR_SET_PDEATHSIG this works on macOS too, is not bound to the thread that forked, and reaches
grandchildren.
"""

import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, NoReturn, Self, cast

FIRST_BACKOFF, LONGEST_BACKOFF, STABLE_AFTER = 0.5, 10.0, 30.0
"""Seconds: the pause before a restart doubles from the first to the longest, and starts anew after a stable life."""
KILL_AFTER = 15.0
"""Seconds between a child's stop signal and SIGKILL for its group; the contract's limit for everything is 20."""
STOPPING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
COLOURS = (36, 33, 35, 32, 34, 31)

_GUARD_SCRIPT = """
trap '' HUP INT TERM
groups=
while read -r verb group name; do
  case $verb in
    add) groups="$groups $group:$name" ;;
    drop)
      kept=
      for entry in $groups; do case $entry in "$group":*) ;; *) kept="$kept $entry" ;; esac; done
      groups=$kept ;;
  esac
done
for entry in $groups; do kill -s "${entry#*:}" -- "-${entry%%:*}"; done
tries=0
while [ $tries -lt 50 ]; do
  alive=
  for entry in $groups; do kill -s 0 -- "-${entry%%:*}" && alive=yes; done
  [ "$alive" ] || break
  tries=$((tries + 1))
  sleep 0.1
done
for entry in $groups; do kill -s KILL -- "-${entry%%:*}"; done
[ $# -eq 0 ] || rm -rf -- "$@"
"""


# A child enters itself, before it becomes its program. Until then it holds the guard's pipe open (as its standard
# input), so there is no moment in which the death of this process leaves a child that the guard does not know. The
# subshell takes the SIGPIPE if somebody killed the guard.
_ENTER_SCRIPT = """(echo "add $$ $0" >&0) 2>/dev/null; exec "$@" </dev/null"""


class Guard:
    """Stops process groups, and removes folders, once this process is gone, whatever ended it."""

    def __init__(self, *folders: Path) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(  # noqa: S603 (fixed script)
            ["/bin/sh", "-c", _GUARD_SCRIPT, "guard", *map(str, folders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._pipe = cast("IO[bytes]", self._process.stdin)

    def start(self, argv: Sequence[str], stop_signal: signal.Signals, **options: Any) -> "subprocess.Popen[bytes]":
        """Starts a process that leads a session and group of its own. ``options`` go to Popen. Raises OSError.

        A program that cannot be run is no OSError: the process ends with the shell's status 126 or 127.
        """
        name = stop_signal.name.removeprefix("SIG")
        command = ["/bin/sh", "-c", _ENTER_SCRIPT, name, *argv]
        return subprocess.Popen(command, stdin=self._pipe, start_new_session=True, **options)  # noqa: S603 (caller's argv)

    def drop(self, group: int) -> None:
        """To be called as soon as the group is gone: its number may be given to another."""
        # A guard that somebody killed must not take the children with it.
        with self._lock, suppress(OSError, ValueError):
            self._pipe.write(f"drop {group} -\n".encode())
            self._pipe.flush()

    def close(self) -> None:
        """Ends the guard, which stops what was not dropped and removes its folders. Waits for it."""
        with self._lock, suppress(OSError):
            self._pipe.close()
        self._process.wait()


@dataclass(frozen=True)
class Child:
    """One process to keep alive. ``env`` is added to the supervisor's own environment."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    ready: Callable[[], bool] | None = None
    """Tells, without blocking for long, whether the child does its work; None: it counts as ready once started."""


def kill_group(group: int, number: int = signal.SIGKILL) -> None:
    # macOS answers EPERM for a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


class Supervisor:
    """Runs children until told to stop.

    As a context manager (main thread only) it starts them, turns SIGTERM, SIGINT and SIGHUP into one KeyboardInterrupt
    in the body, and stops them at the end; one more signal a second later kills at once.
    """

    def __init__(
        self, children: Sequence[Child], *, data_dir: Path, cwd: Path | None = None, echo: bool = True
    ) -> None:
        """``echo``: whether the children's lines are printed as well as logged."""
        self.children = list(children)
        self._logs = data_dir / "logs"
        self._cwd = cwd
        self._echo = echo
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self._guard: Guard | None = None
        self._width = max((len(child.name) for child in children), default=0)
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._handlers: dict[signal.Signals, Any] = {}
        self._interrupted_at = time.monotonic()
        self._wake = (-1, -1)

    # --- Life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._guard = Guard()
        for child, colour in zip(self.children, itertools.cycle(COLOURS), strict=False):
            thread = threading.Thread(target=self._keep, args=(child, colour), name=f"keep-{child.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Asks every child to stop and kills the groups of those that still run after ``KILL_AFTER`` seconds."""
        with self._lock:
            self._stopping.set()
            for child in self.children:
                if process := self._processes.get(child.name):
                    process.send_signal(child.stop_signal)
        deadline = time.monotonic() + KILL_AFTER
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.kill()
        for thread in self._threads:
            thread.join(2)
        if self._guard:
            self._guard.close()
            self._guard = None

    def kill(self) -> None:
        for process in list(self._processes.values()):
            kill_group(process.pid)

    def wait_ready(self, seconds: float, names: Sequence[str] = ()) -> list[str]:
        """Waits until the named children (default: all) are ready. Returns those that are not in time: none is good."""
        deadline = time.monotonic() + seconds
        waiting = [child for child in self.children if not names or child.name in names]
        while waiting:
            waiting = [child for child in waiting if not (child.name in self._processes and self._is_ready(child))]
            if not waiting or time.monotonic() >= deadline or self._stopping.wait(0.05):
                break
        return [child.name for child in waiting]

    def pid(self, name: str) -> int | None:
        """The process id of a child that is running now."""
        with self._lock:
            process = self._processes.get(name)
        return process.pid if process else None

    def run(self) -> None:
        """Keeps the children running until a stopping signal arrives, then stops them."""
        with suppress(KeyboardInterrupt), self:
            self.wait()

    def wait(self) -> NoReturn:
        """Blocks until a stopping signal arrives, which raises KeyboardInterrupt. Only inside the context."""
        while True:
            os.read(self._wake[0], 1)

    def __enter__(self) -> Self:
        # The system may hand a signal to any thread: the pipe wakes the main thread all the same.
        self._wake = os.pipe()
        os.set_blocking(self._wake[1], False)
        signal.set_wakeup_fd(self._wake[1])
        for number in STOPPING_SIGNALS:
            self._handlers[number] = signal.signal(number, self._interrupt)
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._interrupted_at = time.monotonic()
        for number in STOPPING_SIGNALS:
            signal.signal(number, self._again)
        self.stop()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        for end in self._wake:
            os.close(end)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupted_at = time.monotonic()
        for number in STOPPING_SIGNALS:
            signal.signal(number, self._again)
        raise KeyboardInterrupt

    def _again(self, _number: int, _frame: FrameType | None) -> None:
        # make passes a SIGTERM on that a whole process group was sent: such an echo is no impatience.
        if time.monotonic() - self._interrupted_at > 1:
            self.kill()

    @staticmethod
    def _is_ready(child: Child) -> bool:
        return child.ready is None or child.ready()

    # --- One child --------------------------------------------------------------------------------------------------

    def _keep(self, child: Child, colour: int) -> None:
        """Starts the child, and starts it again whenever it ends, until told to stop."""
        log = RotatingFileHandler(self._logs / f"{child.name}.log", maxBytes=10_000_000, backupCount=2)
        backoff = FIRST_BACKOFF
        try:
            while True:
                started = time.monotonic()
                outcome = self._live(child, colour, log)
                if outcome is None or self._stopping.is_set():
                    return
                if time.monotonic() - started >= STABLE_AFTER:
                    backoff = FIRST_BACKOFF
                self._say(f"{outcome}; starting it again in {backoff:g} s", colour, child.name, log)
                if self._stopping.wait(backoff):
                    return
                backoff = min(backoff * 2, LONGEST_BACKOFF)
        finally:
            log.close()

    def _live(self, child: Child, colour: int, log: logging.Handler) -> str | None:
        """One life of the child, from start to end. Returns how it ended, or None if it must not start any more."""
        # Under the lock: stop() sees every process that was started, or none is started after it looked.
        with self._lock:
            if self._stopping.is_set() or not self._guard:
                return None
            try:
                process = self._guard.start(
                    child.argv,
                    child.stop_signal,
                    cwd=self._cwd,
                    env={**os.environ, **child.env},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                return f"could not start: {error}"
            self._processes[child.name] = process
        output = cast("IO[bytes]", process.stdout)
        pump = threading.Thread(target=self._pump, args=(output, child.name, colour, log), daemon=True)
        pump.start()
        code = process.wait()
        # What it leaves behind may hold the port or the pipe.
        kill_group(process.pid)
        with self._lock:
            del self._processes[child.name]
            if self._guard:
                self._guard.drop(process.pid)
        pump.join(2)
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def _pump(self, stream: IO[bytes], name: str, colour: int, log: logging.Handler) -> None:
        with stream:
            while line := stream.readline(65536):
                text = line.decode(errors="replace").rstrip("\r\n")
                if self._echo:
                    self._say(text, colour, name, log)
                else:
                    log.handle(logging.makeLogRecord({"msg": text}))

    def _say(self, text: str, colour: int, name: str, log: logging.Handler | None = None) -> None:
        if log:
            log.handle(logging.makeLogRecord({"msg": text}))
        prefix = f"{name:<{self._width}} |"
        if self._coloured:
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        # One write a line, so that threads do not mix theirs; a closed terminal must not end the children.
        with suppress(OSError, ValueError):
            sys.stdout.write(f"{prefix} {text}\n")
            sys.stdout.flush()
