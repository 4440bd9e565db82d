"""The sockets under ``client`` and ``mail``: kept open per thread and connection, a total deadline, the exact moment of sending.

``requests`` bounds each single read, so that an answer dripping byte by byte outlives any timeout; here every read gets
only what is left of the whole call. A request is sent only if time is left once connected: looking up a name cannot be
bounded, and a process may have been stopped meanwhile.
"""

import io
import ipaddress
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from http.client import HTTPConnection as PlainConnection
from http.client import HTTPMessage, HTTPResponse
from typing import Any
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import ConnectionPool, HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from integrations.failpoints import failpoint

HEADERS = {"User-Agent": "Firstvalue/1 (+onboarding)", "Accept": "application/json", "Accept-Encoding": "gzip"}


@dataclass
class Call:
    deadline: float
    """Monotonic seconds."""
    public_only: bool
    writes: bool = False
    sent: bool = False
    """Whether the vendor may have got the request: nothing can have happened before."""


class _Local(threading.local):
    def __init__(self) -> None:
        self.adapters: dict[int, HTTPAdapter] = {}
        self.call: Call | None = None


_local = _Local()


@contextmanager
def call(deadline: float, *, public_only: bool, writes: bool = False) -> Iterator[Call]:
    """Bounds what this thread sends inside."""
    _local.call = current = Call(deadline, public_only, writes)
    try:
        yield current
    finally:
        _local.call = None


def adapter(connection_id: int) -> HTTPAdapter:
    """This thread's way to one connection's vendor, whose sockets stay open between calls.

    No session above it: it would look for proxies and credentials in the environment, merge what never changes into each
    request, and keep cookies.
    """
    made = _local.adapters.get(connection_id)
    if made is None:
        made = _local.adapters[connection_id] = _Adapter()
    return made


def close_all() -> None:
    """Close this thread's sockets; the next call opens another."""
    for each in _local.adapters.values():
        each.close()
    _local.adapters.clear()


def seconds_left() -> float:
    """Of the current ``call``. Raises ``TimeoutError`` where none are left."""
    left = _current().deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _current() -> Call:
    if _local.call is None:
        raise RuntimeError("used outside transport.call()")
    return _local.call


class _TimedReader(io.RawIOBase):
    """Reads from a socket within the time left of the current call."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw: Any = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(seconds_left())
        return int(self._raw.readinto(buffer))

    def close(self) -> None:
        self._raw.close()
        super().close()


def reader(sock: socket.socket) -> io.BufferedReader:
    """What comes from a socket, each read bounded by the time left of the current ``call``."""
    return io.BufferedReader(_TimedReader(sock))


class _Readable:
    """Of a socket, what ``HTTPResponse`` takes of it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return reader(self._sock)


_ORDINARY_HEAD = re.compile(rb"HTTP/1\.1 ([2-5]\d\d) ([ -~]*)\r\n((?:[A-Za-z0-9-]+: [!-~](?:[ -~]*[!-~])?\r\n)+)\r\n")
_FRAMED_BY_STATUS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class TimedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Readable(sock), *args, **kwargs)  # type: ignore[arg-type]

    def begin(self) -> None:
        """The library reads a head as it does an e-mail message's, which costs as much as all else here. An ordinary one that
        came in one piece, and says how long its body is, needs none of that.
        """
        head = _ORDINARY_HEAD.match(self.fp.peek(1))
        if self.headers is None and head and self._take(int(head[1]), head[3].decode("ascii")):
            self.reason = head[2].decode("ascii").strip()
            self.fp.read(head.end())
        else:
            super().begin()

    def _take(self, status: int, lines: str) -> bool:
        headers = HTTPMessage()
        for line in lines.splitlines():
            name, _, value = line.partition(": ")
            headers[name] = value
        length = headers.get_all("Content-Length", [])
        ordinary = len(length) == 1 and length[0].isdecimal() and status not in _FRAMED_BY_STATUS
        if not ordinary or "Transfer-Encoding" in headers or "Connection" in headers:
            return False
        self.headers = self.msg = headers
        self.code = self.status = status
        self.version, self.chunked, self.will_close, self.length = 11, False, False, int(length[0])
        return True


class _Guarded(HTTPConnection):
    response_class = TimedResponse
    putheader = PlainConnection.putheader  # without urllib3's marks of headers to leave out
    _written: list[bytes] | None = None
    """Parts of the request that is being written: head and body leave as one."""

    def request(self, *args: Any, **kwargs: Any) -> None:
        current = _current()
        if self.sock is None:
            self.connect()
        if current.public_only and not is_public(self.sock.getpeername()[0]):
            self.close()
            raise NewConnectionError(self, "the connection leads to a private address")
        self._written = []
        super().request(*args, **kwargs)
        request, self._written = b"".join(self._written), None
        if time.monotonic() >= current.deadline:
            self.close()
            raise ConnectTimeoutError(self, "connected too late to send")
        if current.writes:
            failpoint("before-send")
        current.sent = True
        self.send(request)
        if current.writes:
            failpoint("after-send")

    def send(self, data: Any) -> None:
        if self._written is None:
            super().send(data)
        else:
            self._written.append(data)


class _GuardedTLS(_Guarded, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Guarded


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTLS


class _Adapter(HTTPAdapter):
    """Of one connection: what depends on its address alone is found once, not for each call."""

    def __init__(self) -> None:
        super().__init__(pool_connections=2, pool_maxsize=1, max_retries=0)
        self._origin = ""
        self._pool: ConnectionPool | None = None

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> ConnectionPool:
        origin = origin_of(str(request.url))
        if self._pool is None or origin != self._origin:
            pool = super().get_connection_with_tls_context(request, *args, **kwargs)
            super().cert_verify(pool, str(request.url), True, None)  # type: ignore[no-untyped-call]
            self._pool, self._origin = pool, origin
        return self._pool

    def cert_verify(self, *_: Any) -> None:
        """Done where the pool is made: certificates are always verified, in the same way."""

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        target = str(request.url)[len(self._origin) :]
        ordinary = target.startswith("/") and not target.startswith("//") and "#" not in target
        return target if ordinary else super().request_url(request, proxies)

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """Without cookies, none of which are kept, and without guessing at an encoding."""
        response = requests.Response()
        response.status_code, response.reason, response.raw = resp.status, resp.reason, resp
        response.headers = resp.headers  # regardless of case, too
        response.url, response.request = str(req.url), req
        return response


def origin_of(url: str) -> str:
    """Scheme, host and port of an absolute address that ``requests`` has prepared."""
    return "/".join(url.split("/", 3)[:3])


_PLAIN_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,;=:@-]*)+")
"""What quoting and resolving leave as it is."""


def prepared(
    method: str,
    base_url: str,
    path: str,
    *,
    headers: Mapping[str, str],
    params: Mapping[str, Any] | None = None,
    body: bytes | None = None,
    form: Mapping[str, Any] | None = None,
) -> requests.PreparedRequest:
    """As ``requests`` prepares it, without looking for what is never there (cookies, files, a password in the address).

    ``body`` is sent as it is, else ``form`` as a form. Raises ``requests.RequestException`` and ``ValueError``.
    """
    made = requests.PreparedRequest()
    made.prepare_method(method)
    plain = _PLAIN_PATH.fullmatch(path) and all(isinstance(value, str) for value in (params or {}).values())
    if plain and (base := _prepared_base(base_url)):
        made.url = f"{base}{path}?{urlencode(params)}" if params else base + path
    else:
        made.prepare_url(base_url.rstrip("/") + path, params)
    made.prepare_headers(headers)
    if body is None and form:
        made.prepare_body(form, None)
    else:
        made.body = body
        made.prepare_content_length(body)
    return made


@lru_cache(maxsize=1024)
def _prepared_base(base_url: str) -> str:
    """What a plain path can be put behind; empty for what is more than scheme, host, port and path."""
    if not base_url.startswith(("http://", "https://")):
        return ""
    made = requests.PreparedRequest()
    made.prepare_url(base_url.rstrip("/"), None)
    base = str(made.url).rstrip("/")
    return "" if {"?", "#", "@"} & set(base) else base


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052; its local-use sibling 64:ff9b:1::/48 (RFC 8215) may translate into anything."""
_NEVER_PUBLIC = (ipaddress.IPv6Network("64:ff9b:1::/48"), ipaddress.IPv6Network("fec0::/10"))
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)
"""The third quarter of an address whose last one is an IPv4 address (RFC 5214)."""
_LOW_32 = 0xFFFFFFFF


def is_public(address: str) -> bool:
    """Whether an IP address is reachable on the open internet. An IPv6 address that maps to an IPv4 one is so where both are."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv4Address):
        return parsed.is_global and not parsed.is_multicast
    if parsed.ipv4_mapped:
        return is_public(str(parsed.ipv4_mapped))
    if not all(is_public(str(inner)) for inner in _mapped_to(parsed)):
        return False
    return parsed.is_global and not parsed.is_multicast and not any(parsed in each for each in _NEVER_PUBLIC)


def _mapped_to(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses to which a gateway or this machine may translate it: NAT64, 6to4, Teredo, ISATAP, IPv4-compatible."""
    found = [address.sixtofour] if address.sixtofour else []
    found += address.teredo or ()
    number = int(address)
    if address in _NAT64 or address in _COMPATIBLE or (number >> 32) & _LOW_32 in _ISATAP:
        found.append(ipaddress.IPv4Address(number & _LOW_32))
    return found
