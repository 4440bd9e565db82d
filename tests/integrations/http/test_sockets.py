"""What is spared in preparing a request and reading an answer's head changes neither of them."""

import http.client
import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from integrations.http import sockets
from integrations.http.sockets import HEADERS, TimedResponse, prepared
from tests.machines.budget import budget

# --- Requests -------------------------------------------------------------------------------------------------------

SEGMENTS = st.one_of(
    st.text(max_size=8),
    st.text("abcXYZ019-._~!$&'()*+,;=:@%/?#[] é", max_size=10),
    st.sampled_from([".", "..", "...", "", "a%2Fb", "jordan%40acme.com", "%7e", "%zz", "accounts", "//x"]),
)
PATHS = st.one_of(
    st.sampled_from(["/accounts", "/a/./b", "/a/../../b", "/..", "/.", "/...", "/a.b/", "//a", "a", "", "/a/%2E%2E/b"]),
    st.lists(SEGMENTS, max_size=4).map(lambda parts: "".join(f"/{part}" for part in parts)),
)
PARAMS = st.one_of(
    st.none(),
    st.dictionaries(st.text(max_size=5), st.text(max_size=8), max_size=3),
    st.dictionaries(
        st.text(max_size=5), st.one_of(st.none(), st.integers(), st.lists(st.text(max_size=3))), max_size=2
    ),
)
BASES = st.sampled_from(
    [
        *("https://api.acme.com", "https://api.acme.com/", "https://API.Acme.com:8443/crm/v3/", "http://127.0.0.1:80"),
        *("https://münchen.example/a b", "https://api.acme.com/a/../b", "https://api.acme.com/v1?tenant=7", "nowhere"),
        *("https://api.acme.com/#top", "https://[::1]:8443/x", "ftp://acme.com", "https://a..b", "https://*.acme.com"),
    ]
)
OWN_HEADERS = st.sampled_from(
    [{}, {"content-type": "text/json"}, {"X-Key": " leading"}, {"X-Key": "a\nb"}, {"X-Key": 1}, {"Content-Length": "7"}]
)
BODIES = st.sampled_from([(None, None), (b'{"a": 1}', None), (b"{}", {"x": "y"}), (None, {"a": "é", "b": ["1", "2"]})])


@budget(400)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    base=BASES,
    path=PATHS,
    params=PARAMS,
    own=OWN_HEADERS,
    sent=BODIES,
)
def test_a_request_is_what_requests_itself_would_have_prepared(
    method: str, base: str, path: str, params: Any, own: dict[str, Any], sent: tuple[bytes | None, Any]
) -> None:
    body, form = sent
    headers = {**HEADERS, "Content-Type": "application/json", **own}
    plain = requests.Request(method, base.rstrip("/") + path, headers=headers, params=params, data=body or form)
    expected = described(plain.prepare)
    assert (
        described(lambda: prepared(method, base, path, headers=headers, params=params, body=body, form=form))
        == expected
    )


def described(prepare: Any) -> Any:
    try:
        made = prepare()
    except (requests.RequestException, ValueError) as problem:
        return type(problem)
    return made.method, made.url, dict(made.headers.lower_items()), made.body


# --- Heads of answers -----------------------------------------------------------------------------------------------

ODD_LINES = (
    *("Content-Length: 4", "Content-Length: 3", "Content-Length: -1", "Content-Length: 4x", "content-length: 4"),
    *(
        "Transfer-Encoding: chunked",
        "Connection: close",
        "Connection: keep-alive",
        "Retry-After: 2",
        "X-Folded: a\r\n b",
    ),
    *(
        "Set-Cookie: a=b; Path=/",
        "X-Empty:",
        "X-None",
        "X : y",
        "X-Space:  two ",
        "X-Tab:\tx",
        "X-Latin: é",
        ": nameless",
    ),
    *("Vary: a", "Vary: b", "X-Bare: a\nY: b"),
)
RANDOM_LINES = st.tuples(
    st.text("abcXYZ-", min_size=1, max_size=6), st.text(st.characters(max_codepoint=255), max_size=6)
).map(": ".join)
LINES = st.tuples(
    st.sampled_from([["Content-Length: 4"], ["Content-Type: application/json", "Content-Length: 4"], []]),
    st.lists(st.one_of(st.sampled_from(ODD_LINES), RANDOM_LINES), max_size=3),
).map(lambda parts: [*parts[0], *parts[1]])
STATUS = st.one_of(
    st.sampled_from(
        ["HTTP/1.1 200 OK", "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified", "HTTP/1.1 429 Too Many Requests"]
    ),
    st.sampled_from(
        [
            *(
                "HTTP/1.1 200 ",
                "HTTP/1.1 200",
                "HTTP/1.1 200  OK ",
                "HTTP/1.0 200 OK",
                "HTTP/1.1 999 Odd",
                "HTTP/2 200",
            ),
            *("nonsense", ""),
        ]
    ),
)


class Answer:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self.raw))  # type: ignore[arg-type]


@budget(600)
@given(status=STATUS, lines=LINES, method=st.sampled_from(["GET", "POST"]))
def test_a_head_is_read_as_the_library_reads_it(status: str, lines: list[str], method: str) -> None:
    raw = "\r\n".join([status, *lines, "", '{"a"']).encode("latin-1")
    assert what_is_read(quick(raw, method)) == what_is_read(http.client.HTTPResponse(Answer(raw), method=method))  # type: ignore[arg-type]


def quick(raw: bytes, method: str) -> TimedResponse:
    made = TimedResponse.__new__(TimedResponse)
    http.client.HTTPResponse.__init__(made, Answer(raw), method=method)  # type: ignore[arg-type]
    return made


def what_is_read(answer: http.client.HTTPResponse) -> Any:
    try:
        answer.begin()
        head = answer.status, answer.reason, answer.version, answer.headers.items(), answer.will_close, answer.chunked
        return head, answer.length, answer.read()
    except (http.client.HTTPException, ValueError) as problem:
        return type(problem)


def test_an_ordinary_head_costs_no_parser_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.client, "parse_headers", lambda _: 1 / 0)
    answer = quick(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", "POST")
    answer.begin()
    assert (answer.status, answer.read()) == (200, b"{}")


# --- What is kept ---------------------------------------------------------------------------------------------------


@contextmanager
def counting() -> Iterator[tuple[str, list[list[bytes]]]]:
    """A server that answers each request that comes in one piece, and keeps those pieces by connection."""
    heard: list[list[bytes]] = []

    def answer(peer: socket.socket) -> None:
        pieces: list[bytes] = []
        heard.append(pieces)
        with peer:
            while piece := peer.recv(65_536):
                pieces.append(piece)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    def serve(server: socket.socket) -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=[peer], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=[server])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def ask(base: str) -> int:
    request = prepared("POST", base, "/things", headers=HEADERS, body=b'{"a": 1}')
    with (
        sockets.call(time.monotonic() + 5, public_only=False),
        sockets.adapter(-1).send(request, stream=True, timeout=(5, 5)) as answer,
    ):
        assert answer.raw.read() == b"{}"
        return int(answer.status_code)


def test_head_and_body_leave_in_one_piece_on_a_socket_that_is_kept() -> None:
    with counting() as (base, heard):
        assert [ask(base) for _ in range(3)] == [200, 200, 200]
    assert [len(pieces) for pieces in heard] == [3]
    assert all(piece.startswith(b"POST /things HTTP/1.1\r\n") and piece.endswith(b'{"a": 1}') for piece in heard[0])


def test_a_new_address_of_a_connection_is_called_at_once() -> None:
    with counting() as (base, heard), counting() as (other, heard_there):
        assert [ask(base), ask(other), ask(base)] == [200, 200, 200]
    assert sum(map(len, heard)) == 2
    assert sum(map(len, heard_there)) == 1


def test_the_environment_says_neither_where_to_send_nor_who_we_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password pw\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", os.fspath(tmp_path / ".netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with counting() as (base, heard):
        assert ask(base) == 200
    assert b"authorization" not in heard[0][0].lower()
