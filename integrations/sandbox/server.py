"""The HTTP front of the sandbox: authentication, rate limit, faults and the ledger, the same for every vendor but the mailbox."""

from __future__ import annotations

import json
import select
import signal
import socket
import socketserver
import struct
import sys
import threading
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from integrations.connectors.declaration import load, vendors
from integrations.sandbox import control_api, pages
from integrations.sandbox.dialect import Answer, Call, Dialect, Refused
from integrations.sandbox.faults import rules
from integrations.sandbox.faults.rules import Fault
from integrations.sandbox.guide import guide
from integrations.sandbox.mail_catcher import Mail, MailServer
from integrations.sandbox.store import Json, Store, Tx
from integrations.sandbox.traffic import Traffic
from integrations.sandbox.widgets import Widgets

MAX_BODY = 5 * 1024 * 1024
IDLE_SECONDS = 300
#: how often a held connection looks whether its caller is still there
_LOOK_SECONDS = 0.1
_LINGER_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    method: str
    path: str
    query: str
    raw: bytes
    handler: BaseHTTPRequestHandler

    def parsed(self) -> Any:
        if self.handler.headers.get_content_type() == "application/x-www-form-urlencoded":
            return dict(parse_qsl(self.raw.decode(), keep_blank_values=True))
        return json.loads(self.raw) if self.raw.strip() else {}

    @property
    def parameters(self) -> dict[str, str]:
        return dict(parse_qsl(self.query, keep_blank_values=True))


class SandboxServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, port: int, data: Path) -> None:
        self.store = Store(data)
        self.stopping = threading.Event()
        self.traffic = Traffic()
        self.mail = Mail()
        stand_ins: list[Dialect] = [load(each.stand_in)() for each in vendors().values() if each.stand_in]
        dialects = (*stand_ins, Widgets(), self.mail)
        self.dialects: dict[str, Dialect] = {each.name: each for each in dialects}
        with self.store.transaction() as tx:
            if not tx.settings("*"):
                control_api.reset(tx, self.dialects)
        self.store.close_thread()
        super().__init__(("127.0.0.1", port), Handler)
        for each in dialects:
            each.origin = f"http://127.0.0.1:{self.server_port}"

    def server_bind(self) -> None:
        # HTTPServer's own asks the resolver for this machine's name, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def shutdown_request(self, request: Any) -> None:
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_LINGER_RESET)) == _LINGER_RESET:
            request.close()  # with a lingering time of zero this sends RST; a shutdown would send FIN first
            return
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def answer(self, asked: Asked) -> tuple[Answer, Fault | None]:
        if asked.method == "GET" and (place := pages.place(self.dialects, asked.path)):
            with self.store.transaction() as tx:
                return pages.page(tx, self.dialects, place), None
        if dialect := self.vendor_of(asked.path):
            with self.store.transaction() as tx:
                return self._vendor(tx, dialect, asked)
        return self._control(asked), None

    def vendor_of(self, path: str) -> Dialect | None:
        return next((each for each in self.dialects.values() if path.startswith(f"{each.prefix}/")), None)

    def _control(self, asked: Asked) -> Answer:
        try:
            with self.store.transaction() as tx:
                lever = control_api.ControlRequest(tx, self.dialects, asked.parameters, asked.parsed(), self.traffic)
                return control_api.handle(asked.method, asked.path, lever)
        except LookupError as error:
            return Answer(HTTPStatus.NOT_FOUND, {"error": str(error)})
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            return Answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    def _vendor(self, tx: Tx, dialect: Dialect, asked: Asked) -> tuple[Answer, Fault | None]:
        """What this request does, and what is answered. The ledger says what the caller got to see."""
        settings = dialect.settings(tx)
        path = asked.path.removeprefix(dialect.prefix)
        headers = asked.handler.headers
        fault: Fault | None = None
        limit, remaining, seconds = 0, -1, 0.0
        if not dialect.accepts(tx, headers.get("Authorization", ""), settings["tokens"]):
            answer = dialect.refusal(HTTPStatus.UNAUTHORIZED, "")
        else:
            if rate := settings["rate_limit"]:
                limit, seconds = int(rate["requests"]), float(rate["seconds"])
                used, left = tx.spend(dialect.name, seconds)
                remaining = max(limit - used, 0)
            if limit and used > limit:
                answer = dialect.refusal(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests")
                if dialect.sends_retry_after:
                    answer.headers["Retry-After"] = str(max(1, -int(-left // 1)))
            else:
                fault = rules.take(tx, dialect.name, asked.method, (path, asked.path))
                truth = None if fault and not fault.takes_effect else self._effect(tx, dialect, settings, path, asked)
                answer = fault.apply_to(dialect, truth) if fault else truth or Answer(HTTPStatus.NO_CONTENT)
        if answer.shows_rate_limit:
            answer.headers = {**dialect.rate_limit_headers(limit, remaining, seconds), **answer.headers}
        tx.record(
            {
                "vendor": dialect.name,
                "method": asked.method,
                "path": path + (f"?{asked.query}" if asked.query else ""),
                "idempotency_key": headers.get("Idempotency-Key"),
                "status": None if fault and fault.silent else answer.status,
                "fault": fault and fault.kind,
                "body": asked.raw.decode("utf-8", "replace"),
                "user_agent": headers.get("User-Agent"),
            }
        )
        return answer, fault

    def _effect(self, tx: Tx, dialect: Dialect, settings: Json, path: str, asked: Asked) -> Answer:
        """The true answer; a refusal rolls back what its request wrote, and nothing else."""
        tx.db.execute("SAVEPOINT effect")
        try:
            body = asked.parsed()
            if not isinstance(body, dict):
                raise TypeError("The body must be a JSON object")  # noqa: TRY301
            call = Call(tx, settings, asked.method, path, asked.parameters, body, asked.handler.headers)
            answer = dialect.handle(call)
        except Refused as refused:
            answer = refused.answer
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError, RecursionError) as error:
            # A body of another shape than the vendor documents: its 400.
            answer = dialect.refusal(HTTPStatus.BAD_REQUEST, f"Invalid input: {error}")
        else:
            tx.db.execute("RELEASE effect")
            return answer
        tx.db.execute("ROLLBACK TO effect")
        tx.db.execute("RELEASE effect")
        return answer


class Handler(BaseHTTPRequestHandler):
    server: SandboxServer
    protocol_version = "HTTP/1.1"
    server_version = "FirstvalueSandbox"
    sys_version = ""
    timeout = IDLE_SECONDS
    #: one segment an answer: an unbuffered head followed by its body waits for the caller's delayed ACK
    wbufsize = -1
    disable_nagle_algorithm = True

    def finish(self) -> None:
        self.server.store.close_thread()
        with suppress(ConnectionError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """The ledger is the log."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self._refuse_body(HTTPStatus.LENGTH_REQUIRED, parts.path)
            return
        if int(length) > MAX_BODY:
            self._refuse_body(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, parts.path)
            return
        raw = self.rfile.read(int(length))
        if len(raw) < int(length):
            self.close_connection = True  # the caller went away in the middle of its own request
            return
        asked = Asked(str(self.command), parts.path, parts.query, raw, self)
        dialect = self.server.vendor_of(asked.path)
        with self.server.traffic.request(dialect.name) if dialect else nullcontext():
            self._answer(asked)

    def _answer(self, asked: Asked) -> None:
        answer, fault = self.server.answer(asked)
        match fault.kind if fault else "":
            case "timeout_before" | "timeout_after":
                self._hold((fault and fault.delay) or rules.HOLD_SECONDS)
                self.close_connection = True
            case "reset_before" | "reset_after":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
                self.close_connection = True
            case "slow_drip":
                self._send(answer, drip=(fault and fault.delay) or rules.DRIP_SECONDS)
            case _:
                self._send(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _refuse_body(self, status: HTTPStatus, path: str) -> None:
        """The body stays unread, so the connection cannot be used again."""
        self.close_connection = True
        dialect = self.server.vendor_of(path)
        answer = dialect.refusal(status, status.phrase) if dialect else Answer(status, {"error": status.phrase})
        self._send(answer)

    def _send(self, answer: Answer, drip: float | None = None) -> None:
        content_type, payload = answer.payload()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if content_type:
            self.send_header("Content-Type", content_type)
        if answer.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(payload)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if drip is None:
            self.wfile.write(payload)
            return
        self.wfile.flush()
        for position in range(len(payload)):
            if not self._hold(drip):
                self.close_connection = True
                return
            self.wfile.write(payload[position : position + 1])
            self.wfile.flush()

    def _hold(self, seconds: float) -> bool:
        """Say nothing for so long; False as soon as the server stops or the caller has gone."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.server.stopping.wait(min(left, _LOOK_SECONDS)):
                return False
            if self._has_input():
                try:
                    if not self.connection.recv(1, socket.MSG_PEEK):
                        return False
                except OSError:
                    return False
        return True

    def _has_input(self) -> bool:
        """Not by ``select.select``, which refuses the descriptors of a process that has more than 1,024."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(0))


def serve(port: int, data: Path, smtp_port: int = 0) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. Call it from the main thread. Port 0 takes a free one."""
    wanted = port
    try:
        server = SandboxServer(port, data)
        wanted = smtp_port
        mail = MailServer(server.store, server.mail, smtp_port)
    except OSError as error:
        print(f"sandbox: cannot listen on 127.0.0.1:{wanted}: {error.strerror}", file=sys.stderr, flush=True)
        return 1
    mail.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stopping.set())
    listener = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    listener.start()
    web, catcher = f"http://127.0.0.1:{server.server_port}", f"smtp://127.0.0.1:{mail.port}"
    print(f"sandbox: {web} with {catcher} keeps its data in {data}", flush=True)
    with server.store.transaction() as tx:
        print(guide(tx, server.dialects, web, catcher), flush=True)
    server.store.close_thread()
    server.stopping.wait()
    server.shutdown()
    server.server_close()
    # Handlers are daemon threads: let the transaction that is open commit, and take none of the next ones.
    server.store.seal()
    return 0
