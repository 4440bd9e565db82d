"""Who a request comes from: the network's own word, or that of the ``PROXY_COUNT`` proxies in front of us, and nobody else's."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The client's IP address.

    Each proxy appends whom it was called by to ``X-Forwarded-For``, so the entry that the outermost of ours wrote counts from the
    right; what stands left of it is the client's own claim.
    """
    direct = str(request.META.get("REMOTE_ADDR") or "")
    hops = request.headers.get("X-Forwarded-For", "").split(",")
    if not 0 < settings.PROXY_COUNT <= len(hops):
        return direct
    return _address(hops[-settings.PROXY_COUNT].strip()) or direct


def _address(hop: str) -> str:
    """Without the port that some proxies write; empty if it is no address."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ipaddress.ip_address(hop))
    except ValueError:
        return ""
