"""The mail catcher: an SMTP server on loopback that delivers nothing and keeps every mail it takes.

A rule for ``unauthorized``, ``forbidden`` or ``rate_limit`` strikes at MAIL (at AUTH where somebody logs in), every other
kind once the content is there; a rule with a method strikes at that command: MAIL, RCPT or DATA.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from http import HTTPStatus
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from integrations.sandbox.dialect import Answer, Dialect, key_of
from integrations.sandbox.faults import rules
from integrations.sandbox.faults.rules import Fault
from integrations.sandbox.store import Json, Store, Tx

REFERENCE = "X-Firstvalue-Reference"
HOST = "127.0.0.1"
_AT_MAIL = frozenset({"unauthorized", "forbidden", "rate_limit"})
_LOGIN_REFUSED = "535 5.7.8 Authentication credentials invalid"
_LINGER_RESET = struct.pack("ii", 1, 0)
_START_SECONDS = 10.0


class Mail(Dialect):
    """The account that the catcher fills. Its prefix leads nowhere: mails come by SMTP and are read by the control API."""

    name = "mail"
    prefix = "/mail"
    counted = ("messages",)
    id_base = 900_000_000

    def refusal(self, status: int, message: str) -> Answer:
        return Answer(status, {"error": message or HTTPStatus(status).phrase})

    def rate_limit_headers(self, limit: int, remaining: int, seconds: float) -> dict[str, str]:  # noqa: ARG002
        return {}

    def natural_keys(self, kind: str, body: Json) -> list[tuple[str, str]]:  # noqa: ARG002
        return key_of(body, "reference")

    def preseed(self, tx: Tx) -> None:
        """A new mailbox is empty."""


@dataclass(frozen=True)
class SmtpReply:
    """What one command gets: a reply, and the fault behind it."""

    reply: str
    fault: Fault | None = None


class Catcher:
    """aiosmtpd's handler. The store is used in the event loop itself: its transactions take milliseconds."""

    def __init__(self, store: Store, dialect: Mail) -> None:
        self._store = store
        self._dialect = dialect

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> Any:
        with self._store.transaction() as tx:
            fault = rules.take(tx, self._dialect.name, "AUTH", (), frozenset({"unauthorized"}))
            known = isinstance(data, LoginPassword) and data.password.decode() in self._dialect.settings(tx)["tokens"]
            well = known and fault is None
            self._record(tx, "AUTH", "", "235" if well else _LOGIN_REFUSED, fault)
        return AuthResult(success=well, handled=False, message=None if well else _LOGIN_REFUSED)

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        with self._store.transaction() as tx:
            reply = (
                self._rate_limited(tx) or self._answer_to(tx, "MAIL", address, _AT_MAIL) or SmtpReply("250 2.1.0 OK")
            )
            self._record(tx, "MAIL", address, reply.reply, reply.fault)
        if reply.reply.startswith("250"):
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return await _answer(server, reply)

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        with self._store.transaction() as tx:
            reply = self._answer_to(tx, "RCPT", address, frozenset()) or SmtpReply("250 2.1.5 OK")
            self._record(tx, "RCPT", address, reply.reply, reply.fault)
        if reply.reply.startswith("250"):
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return await _answer(server, reply)

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.original_content or b""
        recipients = ", ".join(envelope.rcpt_tos)
        with self._store.transaction() as tx:
            reply = self._answer_to(
                tx, "DATA", recipients, frozenset(rules.KINDS) - rules.UNUSUAL - _AT_MAIL
            ) or SmtpReply("250 2.0.0 OK")
            kept = reply.fault is None or reply.fault.takes_effect
            body = _read(content, envelope)
            if kept:
                self._dialect.add(tx, "messages", body)
            self._record(tx, "DATA", recipients, reply.reply, reply.fault, body=content, reference=body["reference"])
        return await _answer(server, reply)

    def _rate_limited(self, tx: Tx) -> SmtpReply | None:
        rate = self._dialect.settings(tx)["rate_limit"]
        if rate and tx.spend(self._dialect.name, float(rate["seconds"]))[0] > int(rate["requests"]):
            return SmtpReply("421 4.7.0 Too many mails, try again later")
        return None

    def _answer_to(self, tx: Tx, command: str, path: str, kinds: frozenset[str]) -> SmtpReply | None:
        fault = rules.take(tx, self._dialect.name, command, (path,), kinds)
        return SmtpReply(_reply(fault, command), fault) if fault else None

    def _record(
        self,
        tx: Tx,
        command: str,
        path: str,
        reply: str,
        fault: Fault | None,
        *,
        body: bytes = b"",
        reference: str | None = None,
    ) -> None:
        code = reply[:3]
        tx.record(
            {
                "vendor": self._dialect.name,
                "method": command,
                "path": path,
                "idempotency_key": reference or None,
                "status": None if (fault and fault.silent) or not code.isdecimal() else int(code),
                "fault": fault and fault.kind,
                "body": body.decode("utf-8", "replace"),
                "user_agent": None,
            }
        )


class MailServer:
    """Serves on a thread of its own, which ends with the process."""

    def __init__(self, store: Store, dialect: Mail, port: int) -> None:
        """Port 0 takes a free one. Raises ``OSError`` for a port that is taken."""
        self._socket = socket.create_server((HOST, port))
        self.port = int(self._socket.getsockname()[1])
        self._catcher = Catcher(store, dialect)
        self._ready = threading.Event()

    def start(self) -> None:
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        if not self._ready.wait(_START_SECONDS):
            raise RuntimeError("the mail catcher did not start")

    def _session(self) -> SMTP:
        return SMTP(
            self._catcher,
            hostname="sandbox",
            ident="FirstvalueSandbox",
            authenticator=self._catcher.authenticate,
            auth_require_tls=False,
        )

    async def _serve(self) -> None:
        server = await asyncio.get_running_loop().create_server(self._session, sock=self._socket)
        self._ready.set()
        await server.serve_forever()


def _reply(fault: Fault, command: str) -> str:
    """What a fault lets the caller see; ``status`` puts another reply code in place of the usual one."""
    match fault.kind:
        case "unauthorized":
            return "530 5.7.0 Authentication required"
        case "forbidden":
            return f"{fault.status or 550} 5.7.1 Not allowed"
        case "rate_limit":
            return "421 4.7.0 Too many mails, try again later"
        case "error_before" if command == "RCPT":
            status = fault.status or 451
            return f"{status} {status // 100}.1.1 This mailbox does not take mails"
        case "error_before":
            status = fault.status or 451
            return f"{status} {status // 100}.3.0 Something went wrong"
        case "error_after":
            # A server that took the mail and then says 451 breaks RFC 5321; one that shuts down may say 421 at any time.
            return f"{fault.status or 421} 4.3.2 Shutting down"
        case "malformed":
            return "<html><body><h1>Please stand by</h1></body></html>"
        case "wrong_shape":
            return "354 Go ahead"
    return "250 2.0.0 OK"


async def _answer(server: SMTP, reply: SmtpReply) -> str:
    """The reply, in the way of its fault. A silent one never returns: hanging up ends this session's task."""
    transport: Any = server.transport
    match reply.fault.kind if reply.fault else "":
        case "timeout_before" | "timeout_after":
            await asyncio.sleep((reply.fault and reply.fault.delay) or rules.HOLD_SECONDS)
            transport.abort()
            await asyncio.Event().wait()
        case "reset_before" | "reset_after":
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            transport.abort()
            await asyncio.Event().wait()
        case "slow_drip":
            for each in reply.reply[:-1]:
                transport.write(each.encode())
                await asyncio.sleep((reply.fault and reply.fault.delay) or rules.DRIP_SECONDS)
            return reply.reply[-1]
    if reply.reply.startswith("421"):
        await server.push(reply.reply)
        transport.close()
        await asyncio.Event().wait()
    return reply.reply


def _read(content: bytes, envelope: Envelope) -> Json:
    parsed = message_from_bytes(content, policy=policy.default)
    part = parsed.get_body(("plain", "html")) if isinstance(parsed, EmailMessage) else None
    return {
        "to": list(envelope.rcpt_tos),
        "from": envelope.mail_from or "",
        "subject": str(parsed.get("Subject", "")),
        "text": str(part.get_content()).replace("\r\n", "\n") if part is not None else "",
        "message_id": str(parsed.get("Message-ID", "")).strip().strip("<>"),
        "reference": str(parsed.get(REFERENCE, "")).strip(),
        "headers": {name: str(value) for name, value in parsed.items()},
    }
