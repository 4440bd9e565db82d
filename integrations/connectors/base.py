"""What the engine asks of a vendor: the smallest vocabulary, and how safe the vendor's creates are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar, Self, TypeVar

import pydantic

from integrations.connectors.objects import VendorObject
from integrations.connectors.options import TOKEN, TOKEN_SECRET, Option, Secret, is_on
from integrations.crypto import SecretUnreadable
from integrations.errors import Kind, ProviderError, TemporaryRefusal
from integrations.http.client import VendorHttp
from integrations.inbound.delivery import Webhook
from integrations.models import Connection

M = TypeVar("M", bound=pydantic.BaseModel)
_REFUSALS = frozenset({Kind.FORBIDDEN, Kind.CONFLICT, Kind.INVALID})


class CreateSafety(Enum):
    """What protects a repeated create, which decides how an indeterminate outcome is resolved."""

    IDEMPOTENCY_KEY = "idempotency-key"
    UNIQUE_UPSERT = "unique-upsert"
    NEITHER = "neither"


@dataclass(frozen=True)
class ObjectKind:
    """``search_lag`` (seconds): an empty search says nothing about writes younger than this.

    ``key_lifetime`` (seconds): for so long the vendor knows an idempotency key again, counted from its first use.
    """

    safety: CreateSafety
    search_lag: float = 0.0
    key_lifetime: float = 0.0
    harmless: bool = False
    """A surplus one does no harm: a create whose outcome is indeterminate is sent again."""


@dataclass(frozen=True, kw_only=True)
class Capability:
    """What a vendor can do with one kind of object, whatever the connection; ``Connector.kind`` says it for one connection."""

    kind: str
    """The ``KIND`` of a ``VendorObject``."""
    safety: CreateSafety
    safety_depends: str = ""
    """In words, where an option or the account's plan decides it: "without a reference property: neither"."""
    search_lag: float = 0.0
    """Seconds, as in ``ObjectKind``."""
    search_lag_option: str = ""
    """The option that sets it, in place of ``search_lag``."""
    key_lifetime: float = 0.0
    """Seconds, as in ``ObjectKind``."""
    harmless: bool = False
    """As in ``ObjectKind``; ``safety_depends`` says why."""
    reversible: bool = True
    """Whether ``undo`` can remove one; a mail, for one, cannot be unsent."""
    rollback: str
    """What ``undo`` does and what stays, or why there is none: a short phrase."""
    updatable: bool = True
    associations: tuple[str, ...] = ()
    """Kinds that ``associate`` ties it to."""


@dataclass(frozen=True)
class MatchKey:
    """One way to recognise an object: ``reference``, ``id``, ``domain``, ``email``, ``tax-id``, ``name`` or
    ``name+billing-email``.
    """

    name: str
    value: str
    extra: str = ""
    """The billing email of ``name+billing-email``; the customer's domain of ``name``, where it has one; of ``reference`` the
    object's email or name, for a vendor that cannot search by references.
    """
    within: str = ""
    """The id of the object that it belongs to, where it is looked for only there: a task's project, a note's account."""


@dataclass(frozen=True)
class Found:
    """An object at the vendor, with what a person needs to tell it from another."""

    external_id: str
    label: str
    url: str = ""
    evidence: dict[str, str] = field(default_factory=dict)
    conclusive: bool = True
    """False: it shares a name, but nothing shows that it is this customer's; a person decides."""
    done: bool = False
    """A task that somebody has completed at the vendor."""
    changed_at: datetime | None = None
    """When the vendor says that it was last changed, by anybody; aware. None where the vendor does not say."""
    inactive: str = ""
    """What was done to it, where the vendor has put it out of use (``suspended``, ``archived``, ``deleted``): it is there, and
    no success."""

    def as_dict(self) -> dict[str, Any]:
        """Fit for JSON: ``changed_at`` as ISO 8601 text."""
        return asdict(self) | {"changed_at": self.changed_at.isoformat() if self.changed_at else None}


@dataclass(frozen=True)
class Created:
    external_id: str
    url: str = ""
    items: Mapping[str, "Created"] = field(default_factory=dict)
    """Of one call for many items: what was made for each, by the item's key; ``external_id`` is empty then."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Of such a call: the items of which the vendor made nothing, and why."""
    existed: bool = False
    """It was there already, and was brought up to date."""


@dataclass(frozen=True)
class JobAccepted:
    """The vendor works on it; ask ``poll`` for its end."""

    job_id: str


class Connector(ABC):
    """One vendor. Subclasses own payloads; ``Outbound`` owns deadlines (before writes too), errors and records."""

    provider: ClassVar[str]
    systems: ClassVar[frozenset[str]]
    hosts: ClassVar[tuple[str, ...]] = ()
    """Host patterns that a production base URL may have, such as ``*.zendesk.com``; none for one without a base URL."""
    default_base_url: ClassVar[str] = ""
    """Empty where each customer of the vendor has an address of its own."""
    kinds: ClassVar[tuple[Capability, ...]] = ()
    """The objects that it has, and what it can do with each."""
    options: ClassVar[tuple[Option, ...]] = ()
    secrets: ClassVar[tuple[Secret, ...]] = ()
    webhook: ClassVar[Webhook | None] = None
    """How it delivers its events; None for one that sends none."""
    probes: ClassVar[str] = ""
    """What ``probe`` checks, in words."""
    knows_people: ClassVar[bool] = False
    """Whether ``person`` tells who is a user there."""
    advice: ClassVar[Mapping[Kind, str]] = {}
    """What to do about a probe's failure, where it differs from the advice for a vendor's API."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.learned: dict[str, str] = {}
        """Options that a probe was told by the vendor itself; empty values say nothing."""

    @classmethod
    @abstractmethod
    def on(
        cls, connection: Connection, *, subject: str, deadline: float, before_write: Callable[[], None] | None = None
    ) -> Self:
        """Ready for calls; the arguments are those of ``Outbound``. Raises ``ProviderError(NOT_CONFIGURED)``."""

    def page(self, kind: str, external_id: str) -> str:  # noqa: ARG002
        """Where a person looks at an object by its id, where that can be told without asking the vendor; else empty."""
        return ""

    def option(self, name: str) -> str:
        """Its value, or its default. Raises ``LookupError`` for one that is not declared."""
        declared = next((each for each in self.options if each.name == name), None)
        if declared is None:
            raise LookupError(f"{self.provider} declares no option {name}")
        return declared.effective(self.connection.options.get(name))

    def seconds(self, name: str) -> float:
        """A number of seconds among the options. Raises ``ProviderError``."""
        try:
            return float(self.option(name))
        except ValueError:
            raise ProviderError(Kind.NOT_CONFIGURED, f"option {name} must be a number of seconds") from None

    def flag(self, name: str) -> bool:
        """Whether an option is on."""
        return is_on(self.option(name))

    def kind(self, name: str) -> ObjectKind:
        """How creates of this kind behave on this connection. Raises ``ValueError`` for a kind that is not declared."""
        declared = self._capability(name)
        if declared is None:
            raise ValueError(f"{self.provider} has no {name}")
        lag = self.seconds(declared.search_lag_option) if declared.search_lag_option else declared.search_lag
        return ObjectKind(declared.safety, lag, declared.key_lifetime, declared.harmless)

    def _capability(self, kind: str) -> Capability | None:
        return next((each for each in self.kinds if each.kind == kind), None)

    @abstractmethod
    def find(self, kind: str, key: MatchKey) -> list[Found]:
        """Objects that match; empty for a key that this vendor cannot look up."""

    @abstractmethod
    def get(self, kind: str, external_id: str) -> Found | None:
        """The object of that id, or None where it does not exist. One with another id: the vendor has merged the two."""

    def look_ahead(self, kind: str, external_ids: Collection[str], keys: Collection[MatchKey]) -> None:  # noqa: ARG002
        """Told what ``get`` and ``find`` are going to be asked: a vendor that can be asked for many at once is asked once."""
        return

    def archived(self, kind: str, external_id: str) -> Found | None:  # noqa: ARG002
        """The object of that id where the vendor has put it away and can bring it back, so that ``get`` does not show it."""
        return None

    @abstractmethod
    def create(self, wanted: VendorObject, reference: str) -> Created | JobAccepted:
        """Create once, with the reference embedded so that it can be found again.

        Raises ``ProviderError``; ``TypeError`` for a kind that the vendor does not have.
        """

    def update(self, external_id: str, wanted: VendorObject) -> None:  # noqa: ARG002
        """Change what ``wanted`` says of an object that exists. Repeating it changes nothing. Raises ``ProviderError``."""
        raise TypeError(f"{self.provider} cannot update a {wanted.kind}")

    def associate(self, kind: str, external_id: str, to_kind: str, to_id: str) -> None:  # noqa: ARG002
        """Tie two objects together. Repeating it changes nothing. Raises ``ProviderError``."""
        raise TypeError(f"{self.provider} cannot tie a {kind} to a {to_kind}")

    def poll(self, kind: str, job_id: str) -> Created | None:  # noqa: ARG002
        """The job's object, or None while it is under way. Raises ``ProviderError(JOB_FAILED)`` where it made none."""
        raise TypeError(f"{self.provider} has no jobs")

    def poll_many(self, kind: str, job_id: str, wanted: VendorObject) -> Created | None:  # noqa: ARG002
        """As ``poll``, of a job that makes the items of ``wanted``: what became of each."""
        raise TypeError(f"{self.provider} has no jobs")

    watches: ClassVar[bool] = False
    """Whether the vendor tells of an object's changes only where it is asked to, object by object (``watch``)."""

    def watch(self, kind: str, external_id: str) -> str:  # noqa: ARG002
        """Have the vendor tell our webhook of this object's changes; its id of that. Raises ``ProviderError``."""
        raise TypeError(f"{self.provider} is not asked to tell of a {kind}")

    def unwatch(self, watch: str) -> None:  # noqa: ARG002
        """End it. Harmless to repeat. Raises ``ProviderError``."""
        raise TypeError(f"{self.provider} is not asked to tell of anything")

    @classmethod
    def forget_watch(cls, connection: Connection, external_id: str) -> None:  # noqa: ARG003
        """Take nothing more of what the vendor tells of this object, whether or not it can be asked to end it."""
        raise TypeError(f"{connection.provider} is not asked to tell of anything")

    def reversible(self, kind: str) -> bool:
        """Whether ``undo`` can remove objects of this kind, as declared."""
        declared = self._capability(kind)
        return declared is not None and declared.reversible

    def undo(self, kind: str, external_id: str) -> None:  # noqa: ARG002
        """Remove an object that ``create`` made; associations with others go with it.

        Harmless to repeat: an object that is gone counts as undone. Raises ``ProviderError``; ``TypeError`` for a
        kind that is not ``reversible``.
        """
        raise TypeError(f"{self.provider} cannot undo a {kind}")

    def person(self, external_id: str) -> str | None:
        """The name of that user, where they may be given work; None where the vendor knows no such active user.

        Raises ``ProviderError``; ``TypeError`` where this vendor is not asked for people (``knows_people``).
        """
        raise TypeError(f"{self.provider} is not asked for people: {external_id}")

    @abstractmethod
    def probe(self) -> str:
        """A harmless call that needs the credentials: who we are there, in a few words. Raises ``ProviderError``."""


class HttpConnector(Connector):
    """A vendor with an HTTP API: it has an address and a token."""

    secrets: ClassVar[tuple[Secret, ...]] = (TOKEN_SECRET,)
    http_class: ClassVar[type[VendorHttp]] = VendorHttp
    temporary: ClassVar[tuple[TemporaryRefusal, ...]] = ()
    """Refusals that pass by themselves, from the vendor's documentation. They come before ``translate``."""

    def __init__(self, connection: Connection, http: VendorHttp) -> None:
        super().__init__(connection)
        self.http = http
        http.temporary, http.translate = self.temporary, self.translate

    @classmethod
    def on(
        cls, connection: Connection, *, subject: str, deadline: float, before_write: Callable[[], None] | None = None
    ) -> Self:
        if not connection.base_url:
            raise ProviderError(Kind.NOT_CONFIGURED, f"{connection.slug}: the base URL is missing")
        takes_token = any(secret.name == TOKEN for secret in cls.secrets)
        headers = cls.auth_headers(connection, cls._token(connection)) if takes_token else {}
        http = cls.http_class(
            connection, headers=headers, subject=subject, deadline=deadline, before_write=before_write
        )
        return cls(connection, http)

    @staticmethod
    def _token(connection: Connection) -> str:
        try:
            tokens = connection.secrets(TOKEN)
        except SecretUnreadable as problem:
            # As refused credentials: one ticket on the connection, and what needs it is parked until a person fixes it.
            raise ProviderError(Kind.AUTH, f"A secret of {connection.slug} cannot be read: {problem}.") from None
        if not tokens:
            raise ProviderError(Kind.NOT_CONFIGURED, f"{connection.slug}: the secret {TOKEN!r} is missing")
        return tokens[0]

    @staticmethod
    def auth_headers(connection: Connection, token: str) -> dict[str, str]:  # noqa: ARG004
        """What proves who we are: a bearer token unless the vendor wants it otherwise."""
        return {"Authorization": f"Bearer {token}"}

    def translate(self, status: int, headers: Mapping[str, str], body: Any) -> ProviderError | None:  # noqa: ARG002
        """The vendor's own reading of a refusal, or None for the common one by status. ``body`` is JSON, or text."""
        return None

    def read(self, path: str, expect: type[M], *, params: Mapping[str, Any] | None = None) -> M | None:
        """What a GET answers; None where the vendor says that there is no such thing."""
        try:
            return self.http.request("GET", path, params=params, expect=expect).data
        except ProviderError as error:
            if error.kind is Kind.NOT_FOUND:
                return None
            raise

    def delete(
        self,
        kind: str,
        external_id: str,
        path: str,
        *,
        ok: tuple[int, ...],
        expect: type[pydantic.BaseModel] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """A DELETE whose object may be gone already. Raises ``ProviderError``: a refusal's message names the object."""
        try:
            self.http.request("DELETE", path, ok=ok, expect=expect, headers=headers)
        except ProviderError as error:
            if error.kind is Kind.NOT_FOUND:
                return
            if error.kind in _REFUSALS:
                error.message = f"The {kind} {external_id} could not be deleted: {error.message}"
                error.fields = []  # no value of ours is to be fixed
            raise


def moment(text: str | None) -> datetime | None:
    """A vendor's ISO 8601 time; None for what is none, or names no time zone: no object is unreadable for that."""
    try:
        parsed = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None


@dataclass(frozen=True)
class OwnerFacts:
    """What a CRM knows of a customer before anybody is asked."""

    owner_id: str = ""
    deal_id: str = ""
    source: str = ""
    note: str = ""
    """Why nobody is named, as a sentence, where there is more to say than that the CRM does not know."""


class CrmConnector(HttpConnector):
    """A CRM is also a source of truth."""

    @abstractmethod
    def lookup_owner(self, *, domain: str, deal_id: str) -> OwnerFacts:
        """The owner of the deal, else the one owner of what is on that domain; empty where there is no such one."""
