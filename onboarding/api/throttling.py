"""How many requests a minute one key may make."""

from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from onboarding.api.authentication import Caller

if TYPE_CHECKING:  # rest_framework.views itself imports what the settings name
    from rest_framework.views import APIView


class PerKeyThrottle(SimpleRateThrottle):
    """The rate ``key`` (``API_THROTTLE``, 1,200 a minute) for each key; then 429 with Retry-After.

    Counted in this process' memory (``CACHES``): with several web processes a key may make up to that many times more.
    """

    scope = "key"

    def get_cache_key(self, request: Request, view: "APIView") -> str | None:  # noqa: ARG002
        return f"throttle:key:{request.auth.key_pk}" if isinstance(request.auth, Caller) else None
