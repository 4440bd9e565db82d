"""Where a connection may lead: no address that a person enters may misuse our credentials or our network (SSRF)."""

import ipaddress
import re
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from integrations.enums import Environment
from integrations.http.sockets import is_public

if TYPE_CHECKING:  # providers import the HTTP client, which asks here where a connection leads
    from integrations.connectors.provider_info import ProviderInfo

_HOST = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_PATH = re.compile(r"[A-Za-z0-9._~/%-]*")


def urllib3_host(url: str) -> str:
    """The host that the HTTP client will call."""
    try:
        return (parse_url(url).host or "").strip("[]").lower()
    except LocationParseError:
        return ""


def checked_base_url(url: str, info: "ProviderInfo", environment: str) -> str:
    """The address without a trailing slash. Raises ``ValueError`` saying what is wrong with it.

    Https to one of the provider's hosts; a sandbox connection may also lead to the sandbox. Where names resolve to is
    checked again for each call (``sockets``): what a name points to can change.
    """
    if not url:
        if info.connector is not None and info.hosts:
            example = info.hosts[0].replace("*", "acme", 1)
            raise ValueError(f"{info.name} needs a base URL of your own account, such as https://{example}")
        return ""
    if not info.hosts:
        raise ValueError(f"{info.name} has no base URL: this installation's settings say where it leads")
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as problem:
        raise ValueError(f"the base URL is not valid: {problem}") from None
    _check_shape(parts, host)
    if not _HOST.fullmatch(parts.netloc.lower()) or urllib3_host(url) != (parts.hostname or ""):
        # Parsers differ over a backslash, a blank or an escape: what is allowed here must be what is called.
        raise ValueError("the base URL must name a plain host, such as https://host/path")
    if is_sandbox(url, environment):
        return url.rstrip("/")
    if environment == Environment.SANDBOX and _is_loopback(host):
        raise ValueError(
            f"on this machine a sandbox connection may lead to {' or '.join(settings.SANDBOX_ORIGINS)} only"
        )
    if parts.scheme != "https":
        raise ValueError("the base URL must start with https:// (http:// is only for a sandbox on this machine)")
    address = _address(host)
    if _is_loopback(host) or (address is not None and not is_public(host)):
        raise ValueError(f"the base URL must not lead to a private address ({host})")
    if not any(fnmatchcase(host, pattern) for pattern in info.hosts):
        raise ValueError(f"{host} is no host of {info.name}: allowed are {', '.join(info.hosts)}")
    return url.rstrip("/")


def checked_endpoint_url(url: str) -> str:
    """A company's own address for webhooks, as given. Raises ``ValueError`` saying what is wrong with it.

    Https to a public host, whatever its name; or the sandbox of this installation. Where the name resolves to is checked again
    for
    each call.
    """
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
        _check_shape(parts, host)
    except ValueError as problem:
        raise ValueError(str(problem).replace("the base URL", "the address")) from None
    if not _HOST.fullmatch(parts.netloc.lower()) or urllib3_host(url) != (parts.hostname or ""):
        raise ValueError("the address must name a plain host, such as https://host/path")
    if is_sandbox(url, Environment.SANDBOX):
        return url
    if parts.scheme != "https":
        raise ValueError("the address must start with https://")
    if _is_loopback(host) or (_address(host) is not None and not is_public(host)):
        raise ValueError(f"the address must not lead to a private address ({host})")
    return url


def is_sandbox(url: str, environment: str) -> bool:
    """Whether a connection with this address leads to the sandbox: nothing else on this machine may be reached through one."""
    return environment == Environment.SANDBOX and _is_origin_of(url, tuple(settings.SANDBOX_ORIGINS))


@lru_cache(maxsize=1024)
def _is_origin_of(url: str, sandbox_origins: tuple[str, ...]) -> bool:
    """Asked with each call, of the same few addresses."""
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc.lower()}"
    return _is_loopback(parts.hostname or "") and any(fnmatchcase(origin, pattern) for pattern in sandbox_origins)


def _check_shape(parts: SplitResult, host: str) -> None:
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("the base URL must look like https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the base URL must not hold a user name or password: enter secrets as secrets")
    if not _PATH.fullmatch(parts.path):
        raise ValueError("the base URL's path must hold letters, digits and - . _ ~ / % only")
    if parts.query or parts.fragment:
        raise ValueError("the base URL must not hold a query or a fragment")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address is not None else host == "localhost" or host.endswith(".localhost")
