"""The client side: start a sandbox process and pull its levers, from tests and the demo."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

Json = dict[str, Any]

TIMEOUT = 30
READY_SECONDS = 20.0
_ROOT = Path(__file__).resolve().parents[2]


class SandboxControl:
    """Typed calls to ``/_sandbox/``. Raises requests.HTTPError, with the sandbox's own words, for a refused one."""

    def __init__(self, base_url: str, timeout: float = TIMEOUT) -> None:
        """``timeout``: seconds to connect, and seconds without a byte of the answer."""
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout

    def health(self) -> Json:
        return self._call("GET", "health")

    def counts(self) -> Json:
        """``{"vendors": {vendor: {kind: {"total", "created", "seeded", "duplicates"}}}, "duplicates": int,
        "duplicate_keys": [{"vendor", "kind", "key", "ids"}]}``, of the objects that are there now.
        """
        return self._call("GET", "counts")

    def duplicates(self) -> int:
        return int(self.counts()["duplicates"])

    def objects(
        self,
        vendor: str | None = None,
        kind: str | None = None,
        *,
        text: str | None = None,
        ids: Iterable[str] = (),
        last: int | None = None,
    ) -> list[Json]:
        """Oldest first. ``text``: those that hold it anywhere, or have one of ``ids``; ``last``: the newest of each kind."""
        query = {"vendor": vendor, "kind": kind, "text": text or None, "ids": ",".join(ids) or None, "last": last}
        return list(self._call("GET", "objects", query=query)["objects"])

    def seed(self, vendor: str, kind: str, objects: Iterable[Mapping[str, Any]]) -> list[str]:
        """Put objects there as if they had always been; their ids. An object may choose its ``id``."""
        body = {"vendor": vendor, "kind": kind, "objects": [dict(each) for each in objects]}
        return list(self._call("POST", "seed", body)["ids"])

    def add_fault(
        self,
        vendor: str,
        kind: str,
        *,
        method: str | None = None,
        path: str | None = None,
        probability: float = 1.0,
        count: int | None = None,
        delay: float | None = None,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> int:
        """The new rule's id. ``vendor`` may be "*", ``path`` a glob or a regular expression, ``delay`` in seconds.

        ``count`` strikes so many times; None strikes until the rule is removed.
        """
        rule = {"vendor": vendor, "kind": kind, "method": method, "path": path, "probability": probability}
        rest = {"count": count, "delay": delay, "retry_after": retry_after, "status": status}
        return int(self._call("POST", "faults", {**rule, **rest})["id"])

    def faults(self) -> list[Json]:
        return list(self._call("GET", "faults")["faults"])

    def clear_faults(self, fault_id: int | None = None) -> int:
        return int(self._call("DELETE", "faults", query={"id": fault_id})["removed"])

    def set_tokens(self, vendor: str, tokens: Sequence[str]) -> None:
        """From now on these alone are accepted; ``settings`` remembers those before as ``former_tokens``."""
        self._call("POST", "tokens", {"vendor": vendor, "tokens": list(tokens)})

    def configure(self, vendor: str, **settings: Any) -> Json:
        """The vendor's settings after the change.

        ``search_lag`` and ``job_seconds`` (seconds or "never"), ``job_outcome`` ("succeeded" or "failed"),
        ``rate_limit`` (``{"requests", "seconds"}`` or None). None: as the vendor has it of itself.
        """
        return dict(self._call("POST", "settings", {vendor: settings})[vendor])

    def settings(self) -> Json:
        return self._call("GET", "settings")

    def requests(self, vendor: str | None = None, since: int = 0, *, last: int | None = None) -> list[Json]:
        """The ledger after row number ``since``, oldest first; ``last``: only so many, the newest."""
        return list(self._call("GET", "requests", query={"vendor": vendor, "since": since, "last": last})["requests"])

    def most_at_once(self, vendor: str) -> int:
        """How many requests the vendor had in hand at once, since the start, a reset or ``forget_traffic``."""
        return int(self._call("GET", "traffic")["traffic"].get(vendor, {}).get("most", 0))

    def forget_traffic(self) -> None:
        self._call("DELETE", "traffic")

    def reset(self) -> None:
        self._call("POST", "reset", {})

    def _call(self, method: str, name: str, body: Json | None = None, query: Json | None = None) -> Json:
        # A session a call: nothing stays open behind a test, and no proxy from the environment gets between.
        with requests.Session() as session:
            session.trust_env = False
            url = f"{self.base_url}/_sandbox/{name}"
            answer = session.request(method, url, params=query, json=body, timeout=self.timeout)
            if not answer.ok:
                raise requests.HTTPError(f"{answer.status_code} from {url}: {answer.text}", response=answer)
            return dict(answer.json())


class SandboxProcess:
    """A running sandbox; leaving the context stops it."""

    def __init__(self, process: subprocess.Popen[str], base_url: str, smtp_port: int, data: Path) -> None:
        self._process = process
        self.base_url = base_url
        self.smtp_port = smtp_port
        """Where the mail catcher listens, on 127.0.0.1."""
        self.data = data
        self.control = SandboxControl(base_url)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2])

    def stop(self) -> int:
        """As an operator would; the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(READY_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            if self._process.stdout is not None:
                self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_sandbox(data: Path, port: int = 0, smtp_port: int = 0) -> SandboxProcess:
    """Start a sandbox on ``data`` and wait until it answers; port 0 takes a free one.

    Raises RuntimeError when it does not come up; what it said is on standard error.
    """
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [
            *(sys.executable, "-m", "integrations.sandbox", "--data", str(data.resolve())),
            *("--port", str(port), "--smtp-port", str(smtp_port)),
        ],
        cwd=_ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    line = _first_line(process)
    urls = {word.partition("://")[0]: word for word in line.split() if "://" in word}
    if not {"http", "smtp"} <= set(urls):
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        raise RuntimeError(f"The sandbox did not start on port {port}: {line!r}")
    return SandboxProcess(process, urls["http"], int(urls["smtp"].rpartition(":")[2]), data)


def _first_line(process: subprocess.Popen[str]) -> str:
    if process.stdout is None:
        return ""
    until = time.monotonic() + READY_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(until - time.monotonic()) else ""
