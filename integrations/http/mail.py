"""The way out for mail: one message through Django's configured mail backend (``EMAIL_URL``), sent once or not at all.

Nothing is retried here, and no repeat is harmless: what decides is whether the server may have taken the message. It can
only have once content went out (RFC 5321, 4.1.1.4); any definite reply but 421 says whether it did (4.2.1). 421 may
answer anything, a server's shutdown too (3.8), so that after the content it says nothing about the message.

Connecting, greeting, encryption, login and sender are about the server; what comes after is about one recipient and one mail.
"""

import re
import smtplib
import time
from contextlib import suppress
from enum import Enum
from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends import filebased, smtp

from integrations.errors import DeadlinePassed, FieldProblem, Kind, ProviderError
from integrations.failpoints import failpoint
from integrations.http import sockets
from integrations.http.recording import Outbound
from integrations.http.redaction import redact_text

RECIPIENT = "to"
"""The name of the field problem where the server refuses the recipient."""
_LOGIN_CODES = frozenset({530, 534, 535, 538})
"""RFC 4954, section 6: authentication required, too weak, refused, needs encryption."""
_RELAY = re.compile(r"\brelay", re.IGNORECASE)
"""The words of servers that do not know us (RFC 5321, 7.7): it is not the address that is to be fixed."""
_GREYLISTED_SECONDS = 300.0
"""Servers that greylist take the same mail after some minutes (RFC 6647, 2.4 and 5); sooner it fails."""
_OK, _GO_ON, _CLOSING = 250, 354, 421
_ACCEPTED_RECIPIENT = (250, 251)


class _Stage(Enum):
    """What a refusal is an answer to."""

    GREETING = "refused to talk to us"
    SENDER = "refused the sender"
    RECIPIENT = "refused the recipient"
    CONTENT = "did not take the mail"


class VendorMail(Outbound):
    """Sends on behalf of one subject; see ``Outbound``. Time: the deadline, and at most ``EMAIL_TIMEOUT`` a message."""

    @property
    def _vendor(self) -> str:
        return "The mail server"

    def send(self, message: EmailMessage, *, sender: str, recipient: str, request: dict[str, Any]) -> None:
        """Send once. ``sender`` and ``recipient`` are plain ASCII addresses, ``request`` is what the record shows.

        Raises ``ProviderError``; ``DeadlinePassed`` with nothing sent; ``RuntimeError`` inside a database transaction.
        """
        self._refuse_in_transaction()
        path, started = recipient.rpartition("@")[2], time.monotonic()
        backend = _configured()
        method = "SMTP" if isinstance(backend, smtp.EmailBackend) else "MAIL"
        try:
            if isinstance(backend, _Backend):
                reply = self._deliver(backend, message, sender, recipient)
            else:
                reply = self._hand_over(backend, message)
        except ProviderError as error:
            self._record(method, path, started=started, request=request, status=_code(error), error=error)
            raise
        self._record(method, path, started=started, request=request, response=reply, status=_OK)

    def probe(self, sender: str) -> str:
        """As far as a mail goes without one: greeting, login and sender. Says where mails go; raises as ``send`` does."""
        self._refuse_in_transaction()
        backend = _configured()
        if isinstance(backend, filebased.EmailBackend):
            return f"No mail server is set up: mails are written into the folder {settings.EMAIL_FILE_PATH}"
        if not isinstance(backend, _Backend):
            return f"Mails are handed to {type(backend).__module__}"
        path, started = f"{backend.host}:{backend.port}", time.monotonic()
        try:
            with sockets.call(time.monotonic() + self._seconds_left(settings.EMAIL_TIMEOUT), public_only=False):
                self._check_sender(backend, sender)
        except ProviderError as error:
            self._record("SMTP", path, started=started, status=_code(error), error=error)
            raise
        self._record("SMTP", path, started=started, status=_OK)
        return f"Mail server {path} accepts mails from {sender}"

    def _check_sender(self, backend: "_Backend", sender: str) -> None:
        try:
            server = self._opened(backend)
            self._expect(server.mail(sender), (_OK,), _Stage.SENDER)
            server.rset()
        except (smtplib.SMTPException, OSError) as problem:
            raise self._lost(problem, effect_possible=False) from problem
        finally:
            _leave(backend)

    def _hand_over(self, backend: Any, message: EmailMessage) -> str:
        """Through a backend of which we see neither replies nor stages: whatever goes wrong, the mail may be out."""
        self._before_write()
        self._seconds_left(settings.EMAIL_TIMEOUT)
        try:
            taken = backend.send_messages([message])
        except Exception as problem:
            words = f"The mail could not be handed over: {redact_text(str(problem), 300)}"
            raise ProviderError(Kind.SERVER, words, effect_possible=True) from problem
        if not taken:
            words = "The mail backend does not say that it took the mail"
            raise ProviderError(Kind.MALFORMED, words, effect_possible=True)
        return "handed over"

    def _deliver(self, backend: "_Backend", message: EmailMessage, sender: str, recipient: str) -> str:
        lines = message.message().as_bytes().splitlines()
        content = b"".join(b"." * line.startswith(b".") + line + b"\r\n" for line in lines)  # RFC 5321, 4.5.2
        left = self._seconds_left(settings.EMAIL_TIMEOUT)
        finished = False
        with sockets.call(time.monotonic() + left, public_only=False) as call:
            welcome = False
            try:
                server = self._opened(backend)
                self._expect(server.mail(sender), (_OK,), _Stage.SENDER)
                welcome = True
                self._expect(server.rcpt(recipient), _ACCEPTED_RECIPIENT, _Stage.RECIPIENT)
                self._expect(server.docmd("DATA"), (_GO_ON,), _Stage.CONTENT)
                self._before_write()
                if time.monotonic() >= call.deadline:
                    raise DeadlinePassed("connected too late to send")
                failpoint("before-mail")
                call.sent = True
                server.send(content + b".\r\n")
                failpoint("after-mail")
                reply = server.getreply()
                self._expect(reply, (_OK,), _Stage.CONTENT, sent=True)
                finished = True
            except (smtplib.SMTPException, OSError) as problem:
                raise self._lost(problem, effect_possible=call.sent, of_object=welcome) from problem
            finally:
                # Between DATA and its reply nothing may be said but content: hanging up alone ends it without effect.
                _leave(backend, politely=finished)
        return f"{reply[0]} {reply[1].decode('utf-8', 'replace')}"

    def _opened(self, backend: "_Backend") -> smtplib.SMTP:
        """Connected, encrypted and logged in as configured, and greeted."""
        backend.timeout = sockets.seconds_left()
        try:
            backend.open()
            if backend.connection is None:
                raise smtplib.SMTPServerDisconnected("no connection")
            backend.connection.ehlo_or_helo_if_needed()
        except smtplib.SMTPNotSupportedError as problem:
            raise ProviderError(
                Kind.NOT_CONFIGURED, f"{self._vendor} cannot do what EMAIL_URL asks: {problem}"
            ) from None
        except smtplib.SMTPResponseException as problem:
            text = problem.smtp_error
            reply = (problem.smtp_code, text.encode() if isinstance(text, str) else text)
            self._refuse(reply, _Stage.GREETING)
        return backend.connection

    def _expect(self, reply: tuple[int, bytes], wanted: tuple[int, ...], stage: _Stage, *, sent: bool = False) -> None:
        if reply[0] not in wanted:
            self._refuse(reply, stage, sent=sent)

    def _refuse(self, reply: tuple[int, bytes], stage: _Stage, *, sent: bool = False) -> NoReturn:
        code, text = reply[0], redact_text(reply[1].decode("utf-8", "replace"), 300)
        said = f"{self._vendor} {stage.value}: {code} {text}".strip()
        if code in _LOGIN_CODES:
            raise _Refused(Kind.AUTH, f"{self._vendor} refused our login: {code} {text}", code)
        of_object = stage in (_Stage.RECIPIENT, _Stage.CONTENT)
        refused = _Refused(Kind.INVALID, said, code, of_object=of_object)
        if stage is _Stage.RECIPIENT:
            refused.fields = [FieldProblem(RECIPIENT, f"{code} {text}", RECIPIENT)]
        if code == _CLOSING or (400 <= code < 500 and not of_object):  # noqa: PLR2004 (RFC 5321, 4.2.1: not now)
            raise _Refused(Kind.SERVER, said, code, effect_possible=sent and code == _CLOSING)
        if 400 <= code < 500:  # noqa: PLR2004 (as above)
            refused.kind, refused.retry_after = Kind.TEMPORARY, _GREYLISTED_SECONDS
        elif not 500 <= code < 600:  # noqa: PLR2004 (never)
            said = f"{self._vendor} gave an unexpected answer: {text if code < 0 else f'{code} {text}'}"
            raise _Refused(Kind.MALFORMED, said, max(code, 0), effect_possible=sent)
        elif not of_object or (stage is _Stage.RECIPIENT and _RELAY.search(text)):
            raise _Refused(Kind.FORBIDDEN, said, code)
        raise refused

    def _lost(self, problem: Exception, *, effect_possible: bool, of_object: bool = False) -> ProviderError:
        if isinstance(problem, smtplib.SMTPException) and not isinstance(problem, smtplib.SMTPServerDisconnected):
            words = f"{self._vendor} failed: {redact_text(str(problem), 300)}"
        elif isinstance(problem, TimeoutError) or "timed out" in str(problem):
            words = f"{self._vendor} did not answer in time"
        elif isinstance(problem, smtplib.SMTPServerDisconnected | ConnectionResetError | BrokenPipeError):
            words = f"{self._vendor} broke off the connection"
        else:
            reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
            words = f"{self._vendor} could not be reached: {redact_text(reason, 300)}"
        return ProviderError(Kind.SERVER, words, effect_possible=effect_possible, of_object=of_object)


class _Refused(ProviderError):
    """A refusal with the server's reply code, which is no HTTP status."""

    def __init__(
        self, kind: Kind, message: str, code: int, *, effect_possible: bool = False, of_object: bool = False
    ) -> None:
        super().__init__(kind, message, effect_possible=effect_possible, of_object=of_object)
        self.code = code


class _Timed(smtplib.SMTP):
    """Each command and each reply gets what is left of the current call; smtplib bounds every single read."""

    def send(self, s: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(sockets.seconds_left())
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = sockets.reader(self.sock)
        return super().getreply()


class _TimedTLS(_Timed, smtplib.SMTP_SSL):
    pass


class _Backend(smtp.EmailBackend):
    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return _TimedTLS if self.use_ssl else _Timed


def _configured() -> Any:
    """The backend; Django's own one for SMTP with bounded reads. Raises ``ProviderError(NOT_CONFIGURED)``."""
    try:
        backend = get_connection()
        return _Backend() if type(backend) is smtp.EmailBackend else backend
    except (ImproperlyConfigured, ImportError, ValueError, OSError) as problem:
        raise ProviderError(Kind.NOT_CONFIGURED, f"The mail settings (EMAIL_URL) do not work: {problem}") from None


def _leave(backend: _Backend, *, politely: bool = True) -> None:
    """Says goodbye where that can be said, and closes in any case."""
    server, backend.connection = backend.connection, None
    with suppress(smtplib.SMTPException, OSError):
        if server is not None and politely:
            server.quit()
        backend.close()  # what was opened halfway, such as before a refused login
    if server is not None:
        server.close()


def _code(error: ProviderError) -> int | None:
    return error.code if isinstance(error, _Refused) else None
