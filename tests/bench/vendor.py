"""A vendor that costs next to nothing: every create gets an id, nothing is kept on disk, each answer takes about 1 ms.

``python -m tests.bench.vendor PORT``. GET /counts tells how many calls there were, how many objects were made twice,
and how many calls were repeated inside their Retry-After. POST /faults says how many of the answers are to fail (see ``Faults``).
"""

import asyncio
import itertools
import json
import random
import sys
import time
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl

ANSWER_SECONDS = 0.001
HEAD_END = b"\r\n\r\n"
Json = dict[str, object]


@dataclass
class Faults:
    """Shares of all answers: 429 with ``retry_after`` seconds, and of writes that are carried out and answered with a 500."""

    too_many: float = 0.0
    retry_after: float = 1.0
    error_after: float = 0.0


class Vendor:
    """What was made, by path and reference. It knows no idempotency key: a second create makes a second object."""

    def __init__(self) -> None:
        self.calls = 0
        self.twice = 0
        self.refused = 0
        self.failed = 0
        self.early = 0
        self.faults = Faults()
        self.dice = random.Random(10)  # noqa: S311
        self.told: dict[tuple[str, str, str, bytes], float] = {}
        """When each call was answered with a 429."""
        self.ids: dict[str, str] = {}
        self.numbers = itertools.count(1)

    def answer(self, method: str, path: str, query: str, body: bytes) -> tuple[HTTPStatus, Json]:
        """Status and body; a 429 comes with ``Retry-After``."""
        if path == "/counts":
            names = ("calls", "twice", "refused", "failed", "early")
            return HTTPStatus.OK, {name: getattr(self, name) for name in names}
        if path == "/faults":
            self.faults, self.told = Faults(**json.loads(body)), {}
            return HTTPStatus.OK, {}
        self.calls += 1
        call, now = (method, path, query, body), time.monotonic()
        self.early += now < self.told.pop(call, -self.faults.retry_after) + self.faults.retry_after
        if self.dice.random() < self.faults.too_many:
            self.refused += 1
            self.told[call] = now
            return HTTPStatus.TOO_MANY_REQUESTS, {"message": "Slow down"}
        if method == "GET":
            return HTTPStatus.OK, self.find(path, dict(parse_qsl(query)).get("reference", ""))
        made = self.write(path, json.loads(body))
        if self.dice.random() < self.faults.error_after:
            self.failed += 1
            return HTTPStatus.INTERNAL_SERVER_ERROR, {"message": "Something went wrong"}
        return HTTPStatus.OK, made

    def find(self, path: str, reference: str) -> Json:
        there = self.ids.get(f"{path} {reference}")
        return {"data": [{"id": there, "reference": reference}] if there else []}

    def write(self, path: str, given: dict[str, list[dict[str, str]]]) -> Json:
        if "items" in given:
            return {"items": [self.make(path, item["reference"]) for item in given["items"]]}
        return self.make(path, str(given["reference"]))

    def make(self, path: str, reference: str) -> Json:
        key = f"{path} {reference}"
        self.twice += key in self.ids
        return {"id": self.ids.setdefault(key, str(next(self.numbers))), "reference": reference}


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
        status, made = self.vendor.answer(method.decode(), path, query, rest)
        body = json.dumps(made).encode()
        asks = f"Retry-After: {self.vendor.faults.retry_after:g}\r\n" if status == HTTPStatus.TOO_MANY_REQUESTS else ""
        answer = (
            f"HTTP/1.1 {status} {status.phrase}\r\n{asks}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        asyncio.get_running_loop().call_later(ANSWER_SECONDS, self.transport.write, answer.encode() + body)


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
