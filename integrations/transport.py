"""The sockets under ``http`` and ``mail``: pooled sessions per thread, a total deadline, the exact moment of sending.

``requests`` bounds each single read, so that an answer dripping byte by byte outlives any timeout; here every read gets
only what is left of the whole call. A request is sent only if time is left once connected: looking up a name cannot be
bounded, and a process may have been stopped meanwhile.
"""

import io
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
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
        self.sessions: dict[int, requests.Session] = {}
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


def session(connection_id: int) -> requests.Session:
    """This thread's session for one connection: no proxies or netrc from the environment, no cookies, no retries."""
    made = _local.sessions.get(connection_id)
    if made is None:
        made = requests.Session()
        made.trust_env = False
        made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        made.mount("http://", _Adapter())
        made.mount("https://", _Adapter())
        _local.sessions[connection_id] = made
    return made


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


class _TimedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = reader(sock)


class _Guarded(HTTPConnection):
    response_class = _TimedResponse

    def request(self, *args: Any, **kwargs: Any) -> None:
        current = _current()
        if self.sock is None:
            self.connect()
        if current.public_only and not is_public(self.sock.getpeername()[0]):
            self.close()
            raise NewConnectionError(self, "the connection leads to a private address")
        if time.monotonic() >= current.deadline:
            self.close()
            raise ConnectTimeoutError(self, "connected too late to send")
        if current.writes:
            failpoint("before-send")
        current.sent = True
        super().request(*args, **kwargs)
        if current.writes:
            failpoint("after-send")


class _GuardedTLS(_Guarded, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Guarded


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTLS


class _Adapter(HTTPAdapter):
    def __init__(self) -> None:
        super().__init__(pool_connections=2, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}


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
