"""gunicorn's threaded worker behind a buffer: a thread gets a request only once all of it has arrived.

``gthread`` reads head and body inside a thread and without a time limit, so that as many half-open connections as there are
threads stop the web (slowloris), and its orderly close blocks the event loop for seconds. Here the event loop does both without
blocking: a request must be complete ``REQUEST_SECONDS`` after its first byte, its answer taken ``ANSWER_SECONDS`` after that.
Plain HTTP/1 only: a proxy ends TLS.
"""

import errno
import json
import selectors
import socket
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

from django.conf import settings
from gunicorn import http
from gunicorn.workers.gthread import TConn, ThreadWorker

from integrations.http.problem_details import CONTENT_TYPE, document

ANSWER_SECONDS = 60.0
LINGER_SECONDS = 2.0
"""How long the other side's bytes are read after our last one: closing at once could destroy our answer (RFC 9112, 9.6)."""
MOST_LINGERING_BYTES = 16 * 1024 * 1024
MOST_HEAD_BYTES = 64 * 1024
MOST_WAITING = 400
"""Connections without a complete request; one more, and the oldest is closed."""
MOST_BUFFERED_BYTES = 64 * 1024 * 1024
READ_BYTES = 64 * 1024
_END = b"\r\n\r\n"


class Refused(Exception):
    """The request is answered with this status, unread, and the connection closed."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Connection(TConn):
    """A client's connection and what has arrived on it of requests that no thread has."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.initialized = True  # no TLS, no HTTP/2: nothing to negotiate in a thread
        self.received = bytearray()
        self.size: int | None = None
        """Of the request that comes in now, head and body; None while its head is incomplete."""
        self.deadline = 0.0
        self.lingers = False
        self.lingering_bytes = 0

    def measure(self, arrived: int) -> None:
        """Learn the request's size once its head is complete. ``arrived``: the newest bytes. Raises ``Refused``."""
        if self.size is not None:
            return
        end = self.received.find(_END, max(0, len(self.received) - arrived - len(_END)))
        if (end if end >= 0 else len(self.received)) > MOST_HEAD_BYTES:
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's head is too large.")
        if end < 0:
            return
        length, is_awaited = body_announced(bytes(self.received[:end]))
        self.size = end + len(_END) + length
        if len(self.received) < self.size and is_awaited:
            with suppress(OSError):
                self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def take(self) -> bytes:
        """The complete request; what follows it stays."""
        request = bytes(self.received[: self.size])
        del self.received[: self.size]
        self.size = None
        return request


def body_announced(head: bytes) -> tuple[int, bool]:
    """The length of the body that follows a head, and whether its sender waits for a go-ahead (``Expect: 100-continue``).

    0 for a head that gunicorn itself will refuse. Raises ``Refused``.
    """
    lengths: list[bytes] = []
    is_awaited = False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        match name.strip().lower():
            case b"transfer-encoding":
                # WSGI has no end of input to wait for: Django would read such a body as an empty one.
                raise Refused(HTTPStatus.LENGTH_REQUIRED, "Send the body with a Content-Length.")
            case b"content-length":
                lengths.append(value.strip())
            case b"expect":
                is_awaited = value.strip().lower() == b"100-continue"
    if len(lengths) != 1 or not lengths[0].isdigit():
        return 0, False
    limit = settings.MAX_BODY_BYTES
    if len(lengths[0].lstrip(b"0")) > len(str(limit)) or int(lengths[0]) > limit:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {limit} bytes.")
    return int(lengths[0]), is_awaited


class BufferedWorker(ThreadWorker):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: dict[Connection, None] = {}
        """In the event loop's hands, oldest first."""
        self.answering: dict[Connection, float] = {}
        """In a thread's hands, or queued for one, with the time when the socket is cut."""
        self.buffered = 0

    # --- What gthread's event loop calls ------------------------------------------------------------------------------

    def accept(self, listener: Any) -> None:
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and self.waiting:
                self._close(next(iter(self.waiting)))
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        self._wait(Connection(self.cfg, client, address, listener.getsockname()), settings.REQUEST_SECONDS)

    def finish_request(self, conn: Connection, fs: "Future[Any]") -> None:
        """gthread hands the connection back to the event loop."""
        self.answering.pop(conn, None)
        if fs.cancelled() or fs.exception() or not fs.result():
            self._linger(conn)
            return
        self._wait(conn, settings.REQUEST_SECONDS if conn.received else self.cfg.keepalive)
        if conn.received:
            self._advance(conn, len(conn.received))

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:  # noqa: ARG002  (gthread's signature)
        """All of the request is out of the socket: no unread body needs draining."""
        return keepalive

    def murder_keepalived(self, force: bool = False) -> None:
        """gthread asks for this after each turn of its loop, and with ``force`` at the very end."""
        now = time.monotonic()
        for conn in [each for each in self.waiting if force or each.deadline <= now]:
            if force or conn.lingers or not conn.received:
                self._close(conn)
            else:
                self._refuse(conn, Refused(HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive in time."))
        for conn in [each for each, cut_at in self.answering.items() if cut_at <= now]:
            # A send that waits for a reader who does not read ends with EPIPE; the thread itself closes nothing.
            self.answering[conn] = float("inf")
            with suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RDWR)

    def _cap_keepalive(self, deadline: float) -> None:
        """A stopping worker waits no longer than this for requests."""
        for conn in self.waiting:
            conn.deadline = min(conn.deadline, deadline)

    # --- Reading ------------------------------------------------------------------------------------------------------

    def _wait(self, conn: Connection, seconds: float) -> None:
        conn.sock.setblocking(False)
        conn.deadline = time.monotonic() + seconds
        self.waiting[conn] = None
        self.buffered += len(conn.received)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_readable, conn))
        if len(self.waiting) > MOST_WAITING:
            self._close(next(iter(self.waiting)))

    def _release(self, conn: Connection) -> None:
        """Take a connection out of the event loop's hands."""
        del self.waiting[conn]
        self.buffered -= len(conn.received)
        self.poller.unregister(conn.sock)

    def _on_readable(self, conn: Connection, _sock: socket.socket) -> None:
        if conn not in self.waiting:
            return  # closed to make room, in this very turn of the loop
        try:
            data = conn.sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._close(conn)
        elif conn.lingers:
            conn.lingering_bytes += len(data)
            if conn.lingering_bytes > MOST_LINGERING_BYTES:
                self._close(conn)
        else:
            if not conn.received:
                conn.deadline = time.monotonic() + settings.REQUEST_SECONDS
            conn.received += data
            self.buffered += len(data)
            self._advance(conn, len(data))
            while self.buffered > MOST_BUFFERED_BYTES:
                self._close(next(each for each in self.waiting if each.received))

    def _advance(self, conn: Connection, arrived: int) -> None:
        try:
            conn.measure(arrived)
        except Refused as refusal:
            self._refuse(conn, refusal)
            return
        if conn.size is None or len(conn.received) < conn.size:
            return
        self._release(conn)
        conn.parser = http.get_parser(self.cfg, [conn.take()], conn.client)
        self.answering[conn] = time.monotonic() + ANSWER_SECONDS
        self.enqueue_req(conn)

    # --- Closing ------------------------------------------------------------------------------------------------------

    def _refuse(self, conn: Connection, refusal: Refused) -> None:
        body = json.dumps(document(refusal.status, refusal.detail)).encode()
        head = (
            f"HTTP/1.1 {refusal.status} {refusal.status.phrase}\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        with suppress(OSError):
            conn.sock.send(head.encode() + body)
        self._release(conn)
        self._linger(conn)

    def _linger(self, conn: Connection) -> None:
        """Say that nothing more will come, and close once the other side does, or soon."""
        conn.lingers, conn.lingering_bytes = True, 0
        conn.received.clear()
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.nr_conns -= 1
            conn.close()
            return
        self._wait(conn, LINGER_SECONDS)

    def _close(self, conn: Connection) -> None:
        self._release(conn)
        self.nr_conns -= 1
        conn.close()
