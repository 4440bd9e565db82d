"""The web that ``make run`` starts answers others whatever some connections do, or do not do."""

import os
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import pytest
import requests
from django.conf import settings as django_settings

from config import run
from config.buffered_worker import MOST_WAITING
from tests.processes.installation import ROOT, free_port, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.one_database("sqlite")]
MANY = 4 * run.WEB_THREADS
PATIENCE = 20
"""Seconds for one answer; only a web that is stopped needs so long."""
HEAD = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /webhooks/stripe/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


class Web:
    """The web's own command, alone."""

    def __init__(self, folder: Path, port: int, **environment: str) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self.folder = folder
        web = next(child for child in run.build_children(sandbox=False) if child.name == "web")
        self.argv = list(web.argv)
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PORT": str(port), **environment}

    def __enter__(self) -> Self:
        self.log = (self.folder / "web.log").open("wb")
        self.process = subprocess.Popen(
            self.argv, cwd=ROOT, env=self.environment, stdout=self.log, stderr=subprocess.STDOUT
        )
        wait_for("the web answers", lambda: run.web_answers("127.0.0.1", self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(25)
        finally:
            self.process.kill()
            self.log.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)


@pytest.fixture
def web(tmp_path: Path, settings: Any, request: pytest.FixtureRequest) -> Iterator[Web]:
    settings.PORT = free_port()
    with Web(tmp_path, settings.PORT, REQUEST_SECONDS=getattr(request, "param", "20")) as started:
        yield started


@pytest.fixture
def one_process(tmp_path: Path, settings: Any) -> Iterator[Web]:
    """Of several, nobody can tell which one gets a connection."""
    settings.PORT = free_port()
    web = Web(tmp_path, settings.PORT)
    web.argv[web.argv.index("--workers") + 1] = "1"
    with web:
        yield web


def answer_of(client: socket.socket) -> bytes:
    """All that comes until the web closes the connection."""
    found = b""
    while data := client.recv(65536):
        found += data
    return found


@pytest.mark.parametrize(
    "begun",
    [b"", HEAD[:9], HEAD, POST + b"Content-Length: 1000\r\n\r\n{"],
    ids=["nothing", "half a line", "half a head", "half a body"],
)
def test_half_open_requests_do_not_block_others(web: Web, begun: bytes) -> None:
    with ExitStack() as held:
        for _ in range(MANY):
            held.enter_context(web.connect()).sendall(begun)

        assert requests.get(f"{web.url}/healthz", timeout=PATIENCE).json() == {"status": "ok"}


@pytest.mark.parametrize("web", ["1"], indirect=True)
@pytest.mark.parametrize(
    ("begun", "drop"),
    [(HEAD, b"X-A: b\r\n"), (POST + b"Content-Length: 1000000\r\n\r\n", b"{")],
    ids=["head", "body"],
)
def test_slow_request_is_ended_in_time(web: Web, begun: bytes, drop: bytes) -> None:
    with web.connect() as client:
        client.sendall(begun)
        # A drop whenever the web has nothing to say: a limit a read, rather than a limit a request, would never strike.
        while not select.select([client], [], [], 0.1)[0]:
            client.sendall(drop)

        assert client.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_unclosed_connections_do_not_block_others(web: Web) -> None:
    with ExitStack() as held:
        for _ in range(MANY):
            client = held.enter_context(web.connect())
            client.sendall(HEAD + b"Connection: close\r\n\r\n")
        for _ in range(3):
            assert requests.get(f"{web.url}/healthz", timeout=2).ok


def test_more_connections_than_are_kept_waiting_close_the_oldest(one_process: Web) -> None:
    with ExitStack() as held:
        first = held.enter_context(one_process.connect())
        first.sendall(HEAD)
        for _ in range(MOST_WAITING + 100):
            held.enter_context(one_process.connect())

        assert requests.get(f"{one_process.url}/healthz", timeout=PATIENCE).ok
        with suppress(ConnectionError):
            assert first.recv(1) == b""


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n", b"411"),
        (POST + b"Content-Length: %d\r\n\r\n" % (django_settings.MAX_BODY_BYTES + 1), b"", b"413"),
        (POST + b"Content-Length: 99999999999999999999999999\r\n\r\n", b"", b"413"),
        (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n", b"{}", b"400"),
        (POST + b"Content-Length: -2\r\n\r\n", b"", b"400"),
        (b"GET /" + b"a" * 70_000, b"", b"431"),
        (b"nonsense\r\n\r\n", b"", b"400"),
    ],
    ids=["chunked", "too large", "absurd", "two lengths", "negative", "endless line", "no HTTP"],
)
def test_what_cannot_be_read_is_refused_at_once(web: Web, head: bytes, body: bytes, status: bytes) -> None:
    with web.connect() as client:
        client.sendall(head + body)
        client.shutdown(socket.SHUT_WR)

        assert answer_of(client).startswith(b"HTTP/1.1 " + status)


def test_pipelined_requests_are_answered_in_order(web: Web) -> None:
    with web.connect() as client:
        client.sendall(HEAD + b"\r\n" + POST + b"Content-Length: 2\r\n\r\n{}" + HEAD + b"Connection: close\r\n\r\n")

        answers = answer_of(client)

    assert answers.count(b'{"status": "ok"}') == 2
    assert answers.count(b"HTTP/1.1 ") == 3


def test_a_sender_that_waits_for_a_go_ahead_gets_one(web: Web) -> None:
    with web.connect() as client:
        client.sendall(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")

        assert b'"status"' in answer_of(client)


def test_a_connection_serves_one_request_after_another(web: Web) -> None:
    with requests.Session() as session:
        for size in (0, 900_000, 3):
            answer = session.post(f"{web.url}/healthz", data=b" " * size, timeout=PATIENCE)
            assert (answer.status_code, answer.headers["Connection"]) == (405, "keep-alive")
