"""The way out to a vendor's API: an HTTP call, bounded in time and size, recorded redacted, its failure classified.

Nothing is retried here but a read that the vendor asks to repeat in a moment: whether a write may be sent again is the engine's
decision (an outcome may be unknown).
"""

import json as jsonlib
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Generic, TypeVar, overload
from urllib.parse import quote, unquote

import pydantic
import requests
from django.conf import settings
from django.db import DatabaseError
from urllib3.exceptions import HTTPError

from integrations import clock
from integrations.connections import concurrency
from integrations.errors import Kind, ProviderError, TemporaryRefusal
from integrations.http import sockets
from integrations.http.hosts import is_sandbox
from integrations.http.recording import Outbound
from integrations.http.redaction import redact, redact_text
from integrations.models import Connection

log = logging.getLogger(__name__)
M = TypeVar("M", bound=pydantic.BaseModel)
MAX_ANSWER_BYTES = 5 * 1024 * 1024
MAX_RETRY_AFTER_SECONDS = 86_400.0
LOOK_AGAIN_SECONDS = 0.1
"""For so long it is taken for granted that nobody was told to wait: most steps are over by then."""
LONGEST_PAUSE_SECONDS = 5.0
READ_AGAIN = 2
MARGIN_SECONDS = 0.01
OK = (200, 201, 202)
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_TRY_LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
_KINDS = {401: Kind.AUTH, 403: Kind.FORBIDDEN, 404: Kind.NOT_FOUND, 409: Kind.CONFLICT, 429: Kind.RATE_LIMIT}
_WORDS = {
    Kind.AUTH: "refused our credentials",
    Kind.FORBIDDEN: "does not allow this",
    Kind.NOT_FOUND: "does not have this",
    Kind.CONFLICT: "says that this conflicts with what it has",
    Kind.RATE_LIMIT: "asks us to slow down",
    Kind.TEMPORARY: "asks us to try again later",
    Kind.INVALID: "did not accept the request",
    Kind.SERVER: "failed",
}

_PASSING = frozenset({Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.CONFLICT, Kind.INVALID})
"""With ``Retry-After`` such a refusal says itself that it will pass (RFC 9110, 10.2.3, and 15.5.14 of a 413)."""

Translate = Callable[[int, Mapping[str, str], Any], ProviderError | None]
Explain = Callable[[ProviderError, Any], None]


@dataclass(frozen=True)
class Answer(Generic[M]):
    status: int
    headers: Mapping[str, str]
    data: M


@dataclass(frozen=True)
class _Raw:
    status: int
    headers: Mapping[str, str]
    body: Any
    """Parsed JSON where it is JSON, else the text."""
    is_json: bool


@dataclass(frozen=True)
class _Call:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None
    parts: dict[str, Any]
    """``params``, ``json`` and ``form``, where there are any."""
    expect: type[pydantic.BaseModel] | None
    ok: tuple[int, ...]
    writes: bool


_UNSTORABLE = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)


def segment(value: object) -> str:
    """``value`` as one path segment. Raises ``ValueError`` for what would address something else."""
    text = str(value).strip()
    if text in ("", ".", ".."):
        raise ValueError(f"{text!r} is no id")
    return quote(text, safe="")


class VendorHttp(Outbound):
    """HTTP calls. A provider refines errors through ``temporary`` and ``translate``, through ``denies`` finds them in a
    success, and through ``explain`` says which fields of ours they are about.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        headers: Mapping[str, str],
        subject: str,
        deadline: float,
        before_write: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(connection, subject=subject, deadline=deadline, before_write=before_write)
        self.temporary: Sequence[TemporaryRefusal] = ()
        self.translate: Translate = lambda _status, _headers, _body: None
        self.denies: Translate = lambda _status, _headers, _body: None
        self.explain: Explain = lambda _error, _body: None
        self._headers = headers
        self._looked_at = time.monotonic()

    @overload
    def request(
        self,
        method: str,
        path: str,
        *,
        expect: type[M],
        json: Any = ...,
        params: Mapping[str, Any] | None = ...,
        form: Mapping[str, Any] | None = ...,
        headers: Mapping[str, str] | None = ...,
        ok: tuple[int, ...] = ...,
        reads: bool = ...,
    ) -> Answer[M]: ...

    @overload
    def request(
        self,
        method: str,
        path: str,
        *,
        expect: None = ...,
        json: Any = ...,
        params: Mapping[str, Any] | None = ...,
        form: Mapping[str, Any] | None = ...,
        headers: Mapping[str, str] | None = ...,
        ok: tuple[int, ...] = ...,
        reads: bool = ...,
    ) -> Answer[Any]: ...

    def request(
        self,
        method: str,
        path: str,
        *,
        expect: type[pydantic.BaseModel] | None = None,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        form: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        ok: tuple[int, ...] = OK,
        reads: bool = False,
    ) -> Answer[Any]:
        """One call; ``data`` is the validated answer, or None where nothing is expected.

        ``reads`` marks a POST that changes nothing (a search). Raises ``ProviderError``; ``DeadlinePassed`` with
        nothing sent; ``RuntimeError`` inside a database transaction: a vendor's slowness must never hold our locks.
        """
        self._refuse_in_transaction()
        self._wait_out_pause()
        writes = method not in _SAFE_METHODS and not reads
        body = None if json is None else jsonlib.dumps(json, allow_nan=False).encode()
        content = {} if body is None else {"Content-Type": "application/json"}
        whole = {**sockets.HEADERS, **self._headers, **content, **(headers or {})}
        parts = {name: part for name, part in (("params", params), ("json", json), ("form", form)) if part}
        call = _Call(method, path, whole, body, parts, expect, ok, writes)
        for again in range(READ_AGAIN, -1, -1):
            try:
                return self._once(call)
            except ProviderError as error:
                if writes or not again or not self._passes_in_a_moment(error):
                    raise
                time.sleep((error.retry_after or 0.0) + MARGIN_SECONDS)
        raise AssertionError  # the last time raises

    def _once(self, call: _Call) -> Answer[Any]:
        started = time.monotonic()
        raw: _Raw | None = None
        try:
            raw = self._send(call)
            data = self._judge(raw, call.expect, call.ok, call.writes)
        except ProviderError as error:
            self._apply_backpressure(error)
            self._record_call(call, raw, error, started)
            raise
        self._record_call(call, raw, None, started)
        return Answer(raw.status, raw.headers, data)

    def _passes_in_a_moment(self, error: ProviderError) -> bool:
        """A 429 that asks for so short a wait that giving the step back would cost more."""
        wait = error.retry_after or 0.0
        in_time = self._deadline - time.monotonic() > 2 * (wait + MARGIN_SECONDS)
        return error.kind is Kind.RATE_LIMIT and 0 < wait <= concurrency.OWN_SECONDS and in_time

    def _wait_out_pause(self) -> None:
        """Another step may have been told to wait since this one was begun: nothing is sent before that time is over.

        Raises ``ProviderError`` where that takes longer than a thread should wait.
        """
        left = concurrency.pause_left(self.connection.pk)
        if not left and time.monotonic() > self._looked_at + LOOK_AGAIN_SECONDS:
            left = concurrency.read_pause(self.connection.pk)
            self._looked_at = time.monotonic()
        if left > self._seconds_left(LONGEST_PAUSE_SECONDS):
            raise ProviderError(
                Kind.RATE_LIMIT, f"{self._vendor} asks us to wait, so this was not sent", retry_after=left
            )
        if left > 0:
            time.sleep(left)

    def _apply_backpressure(self, error: ProviderError) -> None:
        """At once: others are about to send, too. Where that fails it is tried again by whoever records the outcome."""
        try:
            concurrency.apply_backpressure(self.connection.pk, error)
        except DatabaseError:
            log.exception("%s could not be paused", self.connection.slug)

    def _send(self, call: _Call) -> _Raw:
        base, params, form = self.connection.base_url, call.parts.get("params"), call.parts.get("form")
        try:
            prepared = sockets.prepared(
                call.method, base, call.path, headers=call.headers, params=params, body=call.body, form=form
            )
        except (requests.RequestException, ValueError) as problem:
            raise ProviderError(Kind.NOT_CONFIGURED, redact_text(f"{self._vendor}: {problem}")) from None
        if call.writes:
            self._before_write()
        left = self._seconds_left(settings.CALL_SECONDS)
        public_only = not is_sandbox(base, self.connection.environment)
        with sockets.call(time.monotonic() + left, public_only=public_only, writes=call.writes) as sending:
            try:
                return self._exchange(prepared, left)
            except (requests.RequestException, HTTPError, OSError) as problem:
                possible = call.writes and sending.sent
                raise ProviderError(
                    Kind.SERVER, self._no_answer(problem, sending.sent), effect_possible=possible
                ) from problem

    def _exchange(self, prepared: requests.PreparedRequest, left: float) -> _Raw:
        adapter = sockets.adapter(self.connection.pk)
        connect = min(settings.CALL_SECONDS / 2, left)
        with adapter.send(prepared, stream=True, timeout=(connect, left)) as response:
            content = response.raw.read(MAX_ANSWER_BYTES + 1, decode_content=True)
            if len(content) > MAX_ANSWER_BYTES:
                raise requests.exceptions.ContentDecodingError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
            body, is_json = _parsed(content)
            return _Raw(response.status_code, response.headers, body, is_json)

    def _judge(self, raw: _Raw, expect: type[pydantic.BaseModel] | None, ok: tuple[int, ...], writes: bool) -> Any:
        if raw.status not in ok:
            raise self._refused(raw, writes)
        if denied := self.denies(raw.status, raw.headers, raw.body):
            self.explain(denied, raw.body)
            denied.message = redact_text(denied.message)
            raise _never_before(denied, raw)
        if expect is None:
            return None
        if not raw.is_json:
            raise self._malformed(raw, "an answer that is not JSON", writes)
        try:
            return expect.model_validate(raw.body)
        except pydantic.ValidationError as problem:
            where = ", ".join(".".join(map(str, each["loc"])) or "all of it" for each in problem.errors()[:3])
            raise self._malformed(raw, f"an unexpected answer ({where})", writes) from None

    def _malformed(self, raw: _Raw, what: str, writes: bool) -> ProviderError:
        return ProviderError(Kind.MALFORMED, f"{self._vendor} gave {what}", raw.status, effect_possible=writes)

    def _refused(self, raw: _Raw, writes: bool) -> ProviderError:
        error = (
            self._temporary(raw)
            or self.translate(raw.status, raw.headers, raw.body)
            or self._default_error(raw, writes)
        )
        error.http_status = error.http_status or raw.status
        self.explain(error, raw.body)
        error.message = redact_text(error.message)
        if raw.status >= HTTPStatus.INTERNAL_SERVER_ERROR or raw.status in _TRY_LATER:
            error.effect_possible = writes
        return _never_before(error, raw)

    def _temporary(self, raw: _Raw) -> ProviderError | None:
        case = next((each for each in self.temporary if each.covers(raw.status, raw.body)), None)
        if case is None:
            return None
        error = self._error(Kind.TEMPORARY, raw)
        error.retry_after, error.whole_account = case.wait, case.whole_account
        return error

    def _default_error(self, raw: _Raw, writes: bool) -> ProviderError:
        status = raw.status
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return self._malformed(raw, "an unexpected success", writes)
        if status == HTTPStatus.SEE_OTHER:  # the answer to a POST that was carried out (RFC 9110, 15.4.4)
            return self._malformed(raw, "a redirect instead of an answer", writes)
        if status < HTTPStatus.BAD_REQUEST:
            return ProviderError(
                Kind.NOT_CONFIGURED, f"{self._vendor} redirects elsewhere: correct the base URL", status
            )
        if status == HTTPStatus.NOT_FOUND and not raw.is_json:
            # A proxy's page says nothing about the vendor's objects: taken for "none there", it makes a duplicate.
            return ProviderError(
                Kind.MALFORMED, f"{self._vendor} gave a 404 that is not its own: check the base URL", status
            )
        later = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _TRY_LATER
        kind = Kind.SERVER if later else _KINDS.get(status, Kind.INVALID)
        return self._error(Kind.TEMPORARY if kind in _PASSING and retry_after(raw.headers) else kind, raw)

    def _error(self, kind: Kind, raw: _Raw) -> ProviderError:
        # The page of a proxy that failed is for nobody to read; what a vendor says of its own failure is.
        silent = kind is Kind.SERVER and not isinstance(raw.body, dict | list)
        detail = "" if silent or not raw.body else f": {_words(raw.body)}"
        return ProviderError(kind, f"{self._vendor} {_WORDS[kind]}{detail}", raw.status)

    def _no_answer(self, problem: Exception, sent: bool) -> str:
        if not sent:
            return f"{self._vendor} could not be reached"
        timed_out = isinstance(problem, requests.Timeout | TimeoutError) or "timed out" in str(problem)
        return f"{self._vendor} did not answer in time" if timed_out else f"{self._vendor} broke off the connection"

    def _record_call(self, call: _Call, raw: _Raw | None, error: ProviderError | None, started: float) -> None:
        self._record(
            call.method,
            unquote(call.path),
            started=started,
            request=call.parts,
            response=raw.body if raw and raw.body != "" else None,
            status=raw.status if raw else None,
            error=error,
            writes=call.writes,
        )


def _never_before(error: ProviderError, raw: _Raw) -> ProviderError:
    """With the longer of what the provider knows and what the answer asks for. A 503 is about the whole service."""
    asked = retry_after(raw.headers)
    if asked is not None:
        error.retry_after = max(asked, error.retry_after or 0.0)
        error.whole_account = error.whole_account or raw.status == HTTPStatus.SERVICE_UNAVAILABLE
    return error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` asks for: a number, or a date against the sender's ``Date`` (RFC 9110, 10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        until = _http_date(value)
        if until is None:
            return None
        seconds = (until - (_http_date(headers.get("Date", "")) or clock.now())).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS) if seconds == seconds else None  # noqa: PLR0124 (NaN)


def _http_date(value: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _parsed(content: bytes) -> tuple[Any, bool]:
    text = content.decode("utf-8", "replace").replace("\0", "")
    try:
        parsed = jsonlib.loads(text)
        return (_storable(parsed) if _UNSTORABLE.search(text) else parsed), True
    except (ValueError, RecursionError):
        return text, False


def _storable(value: Any) -> Any:
    """Without what PostgreSQL stores in no text: NUL and lone surrogates, which JSON may escape."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value


def _words(body: Any) -> str:
    """What the vendor says, shortened: its own message where one is found."""
    if isinstance(body, dict):
        listed = body.get("errors")
        if isinstance(listed, list) and listed and isinstance(listed[0], dict) and "message" not in body:
            return _words(listed[0])
        for name in ("message", "error_description", "description", "detail", "error"):
            if isinstance(body.get(name), str):
                return redact_text(body[name], 300)
        if isinstance(body.get("error"), dict):
            return _words(body["error"])
    return redact_text(body if isinstance(body, str) else jsonlib.dumps(redact(body)), 300)
