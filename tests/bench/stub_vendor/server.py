"""A vendor that costs next to nothing: every create gets an id, nothing is kept on disk.

``python -m tests.bench.stub_vendor.server PORT``. GET /counts tells what there was (see ``Vendor``), GET /finished
when the last call of each onboarding was answered, by the address of its contact. POST /behaviour says how it answers
from now on (see ``Behaviour``).
"""

import asyncio
import itertools
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

LAST_CALL = "/email/welcomes"
PROBE = "/me"
HEAD_END = b"\r\n\r\n"
Json = dict[str, object]


@dataclass
class Behaviour:
    """How it answers. Shares are of all answers."""

    answer_seconds: float = 0.0
    too_many: float = 0.0
    """Share of 429, each with ``retry_after`` seconds."""
    retry_after: float = 1.0
    error_after: float = 0.0
    """Share of writes that are carried out and answered with a 500."""
    refused: str = ""
    """The system whose credentials are refused with a 401."""


class Vendor:
    """What was made, by path and reference. It knows no idempotency key: a second create makes a second object."""

    def __init__(self) -> None:
        self.calls = 0
        """Probes aside."""
        self.twice = 0
        self.limited = 0
        self.failed = 0
        self.early = 0
        """Calls that were repeated inside their Retry-After."""
        self.by_kind: Counter[str] = Counter()
        """Objects made, by the last word of their path."""
        self.at_once: Counter[str] = Counter()
        self.most_at_once: Counter[str] = Counter()
        """Calls under way, by system, since the behaviour was last set."""
        self.behaviour = Behaviour()
        self.dice = random.Random(10)  # noqa: S311
        self.told: dict[tuple[str, str, str, bytes], float] = {}
        """When each call was answered with a 429."""
        self.ids: dict[str, str] = {}
        self.finished: dict[str, float] = {}
        """When the answer to the last call went out, by the contact's address."""
        self.numbers = itertools.count(1)

    def counts(self) -> Json:
        names = ("calls", "twice", "limited", "failed", "early", "by_kind", "most_at_once")
        return {**{name: getattr(self, name) for name in names}, "finished": len(self.finished)}

    def control(self, path: str, body: bytes) -> Json | None:
        """The answer to whoever measures; None for what is a call."""
        if path == "/counts":
            return self.counts()
        if path == "/finished":
            return dict(self.finished)
        if path == "/behaviour":
            self.behaviour, self.told = Behaviour(**json.loads(body)), {}
            self.most_at_once.clear()
            return {}
        return None

    def begin(self, path: str) -> None:
        system = _system(path)
        if path.endswith(PROBE):
            return
        self.at_once[system] += 1
        self.most_at_once[system] = max(self.most_at_once[system], self.at_once[system])

    def end(self, path: str) -> None:
        self.at_once[_system(path)] -= not path.endswith(PROBE)

    def answer(self, method: str, path: str, query: str, body: bytes) -> tuple[HTTPStatus, Json]:
        """Status and body; a 429 comes with ``Retry-After``."""
        how = self.behaviour
        if _system(path) == how.refused:
            return HTTPStatus.UNAUTHORIZED, {"message": "The token is refused"}
        if path.endswith(PROBE):
            return HTTPStatus.OK, {}
        self.calls += 1
        call, now = (method, path, query, body), time.monotonic()
        self.early += now < self.told.pop(call, -how.retry_after) + how.retry_after
        if self.dice.random() < how.too_many:
            self.limited += 1
            self.told[call] = now
            return HTTPStatus.TOO_MANY_REQUESTS, {"message": "Slow down"}
        if method == "GET":
            return HTTPStatus.OK, self.find(path, dict(parse_qsl(query)).get("reference", ""))
        made = self.write(path, json.loads(body))
        if self.dice.random() < how.error_after:
            self.failed += 1
            return HTTPStatus.INTERNAL_SERVER_ERROR, {"message": "Something went wrong"}
        return HTTPStatus.OK, made

    def find(self, path: str, reference: str) -> Json:
        there = self.ids.get(f"{path} {reference}")
        return {"data": [{"id": there, "reference": reference}] if there else []}

    def write(self, path: str, given: dict[str, Any]) -> Json:
        if "items" in given:
            return {"items": [self.make(path, item["reference"]) for item in given["items"]]}
        if path == LAST_CALL:
            self.finished.setdefault(given["to"], time.time() + self.behaviour.answer_seconds)
        return self.make(path, str(given["reference"]))

    def make(self, path: str, reference: str) -> Json:
        key = f"{path} {reference}"
        self.twice += key in self.ids
        self.by_kind[path.rpartition("/")[2]] += key not in self.ids
        return {"id": self.ids.setdefault(key, str(next(self.numbers))), "reference": reference}


def _system(path: str) -> str:
    return path.split("/", 2)[1]


class Connection(asyncio.Protocol):
    """One client; a request follows only after the answer before it."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, rest = self.received.partition(HEAD_END)
        length = _content_length(head) if end else 0
        if not end or len(rest) < length:
            return
        self.received = b""
        method, target = head.split(b" ", 2)[:2]
        path, _, query = target.decode().partition("?")
        if (told := self.vendor.control(path, rest)) is not None:
            self.send(HTTPStatus.OK, told)
            return
        self.vendor.begin(path)
        status, made = self.vendor.answer(method.decode(), path, query, rest)
        if seconds := self.vendor.behaviour.answer_seconds:
            asyncio.get_running_loop().call_later(seconds, self.send, status, made, path)
        else:
            self.send(status, made, path)

    def send(self, status: HTTPStatus, made: Json, path: str = "") -> None:
        """``path``: of the call that ends with it."""
        if path:
            self.vendor.end(path)
        body = json.dumps(made).encode()
        limited = status == HTTPStatus.TOO_MANY_REQUESTS
        asks = f"Retry-After: {self.vendor.behaviour.retry_after:g}\r\n" if limited else ""
        head = (
            f"HTTP/1.1 {status} {status.phrase}\r\n{asks}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve(port: int) -> None:
    vendor = Vendor()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(vendor), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
