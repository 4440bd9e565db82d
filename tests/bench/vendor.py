"""A vendor that costs next to nothing: every create gets an id, nothing is kept on disk, each answer takes about 1 ms.

``python -m tests.bench.vendor PORT``. GET /counts tells how many calls there were, and how many objects were made twice.
"""

import asyncio
import itertools
import json
import sys
from http import HTTPStatus

ANSWER_SECONDS = 0.001
HEAD_END = b"\r\n\r\n"


class Vendor:
    """What was made, by path and reference."""

    def __init__(self) -> None:
        self.calls = 0
        self.twice = 0
        self.ids: dict[str, str] = {}
        self.numbers = itertools.count(1)

    def answer(self, method: str, path: str, body: bytes) -> object:
        if path == "/counts":
            return {"calls": self.calls, "twice": self.twice}
        self.calls += 1
        if method == "GET":
            return {"data": []}
        given = json.loads(body)
        if "items" in given:
            return {"items": [self.make(path, item["reference"]) for item in given["items"]]}
        return self.make(path, given["reference"])

    def make(self, path: str, reference: str) -> dict[str, str]:
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
        made = self.vendor.answer(method.decode(), target.decode().partition("?")[0], rest)
        body = json.dumps(made).encode()
        status = HTTPStatus.OK
        answer = f"HTTP/1.1 {status} {status.phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
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
