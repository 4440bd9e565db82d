"""Bearer keys and what each scope may do."""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from integrations.database.compiled_queries import Compiled
from onboarding.enums import OriginKind, Scope
from onboarding.models import ApiKey, OnboardingTransaction
from onboarding.origins import Sender

if TYPE_CHECKING:  # rest_framework.views itself imports what the settings name
    from rest_framework.views import APIView

KEYWORD = b"bearer"
PREFIX_CHARS = 12
READERS = frozenset({Scope.READ, Scope.OPERATE})
OPERATORS = frozenset({Scope.OPERATE})
SENDERS = frozenset({Scope.INTAKE, Scope.OPERATE})
EVERYBODY = frozenset(Scope)


VALID_KEY = Compiled[tuple[int, str, str, list[str]]](
    lambda key_digest: ApiKey.objects.filter(digest=key_digest, revoked_at=None).values_list(
        "pk", "name", "scope", "fills"
    )[:1]
)


@dataclass(frozen=True)
class Caller:
    """Whose key a request carries."""

    key_pk: int
    name: str
    scope: Scope
    fills: frozenset[str] = frozenset()

    @property
    def actor(self) -> str:
        """As audit entries name it."""
        return f"key:{self.name}"

    @property
    def sender(self) -> Sender:
        """As the intake knows it. Keys of one name are one source: that is how a key is rotated."""
        return Sender(OriginKind.REST, self.name, self.fills, acts_for_people=self.scope == Scope.OPERATE)

    def may_read(self, run: OnboardingTransaction) -> bool:
        """A key that only sends reads the runs that it may fill in."""
        return self.scope in READERS or self.sender.may_fill(run.origin, run.origin_name)

    @property
    def sees_personal_data(self) -> bool:
        return self.scope == Scope.OPERATE


def caller(request: Request) -> Caller:
    """Who calls. For views behind ``HasScope`` only."""
    assert isinstance(request.auth, Caller)  # noqa: S101  (HasScope let it pass)
    return request.auth


def new_key(name: str, scope: Scope, fills: Iterable[str] = ()) -> tuple[str, ApiKey]:
    """Make a key. The first value is the key itself, which is kept nowhere. ``fills``: see ``ApiKey.fills``."""
    key = f"fv_{secrets.token_urlsafe(32)}"
    row = ApiKey(name=name, prefix=key[:PREFIX_CHARS], digest=digest(key.encode()), scope=scope, fills=sorted(fills))
    row.save(force_insert=True)
    return key, row


def digest(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()


class ApiKeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer KEY`` (RFC 6750, section 2.1)."""

    def authenticate(self, request: Request) -> tuple[Caller, Caller] | None:
        header = get_authorization_header(request).split()
        if not header:
            return None
        if len(header) != 2 or header[0].lower() != KEYWORD:  # noqa: PLR2004  (keyword and key)
            raise AuthenticationFailed("Send the key as “Authorization: Bearer KEY”.")
        # By digest: the comparison takes as long whatever part of the key is right.
        found = VALID_KEY(digest(header[1]))
        if not found:
            raise AuthenticationFailed("This key is unknown or revoked.")
        ((key_pk, name, scope, fills),) = found
        known = Caller(key_pk, name, Scope(scope), frozenset(fills))
        return known, known

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return "Bearer"


class HasScope(BasePermission):
    """A view says in ``scopes`` which scopes may use which method; what it does not list is forbidden."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if not isinstance(request.auth, Caller):
            return False
        method = "GET" if request.method == "HEAD" else request.method
        if method not in view.allowed_methods:
            return True  # the answer is 405, whoever asks
        listed: dict[str, Any] = getattr(view, "scopes", {})
        allowed = listed.get(method or "", frozenset())
        self.message = f"This key's scope is {request.auth.scope}; this needs {' or '.join(sorted(allowed))}."
        return request.auth.scope in allowed
