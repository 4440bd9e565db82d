"""What a step handler declares: one declaration serves the engine, and the question which steps a changed field touches."""

import hashlib
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from integrations.providers.base import Connector, MatchKey
from integrations.words import System
from onboarding.payload.plausibility import customer_domain, normal_name
from onboarding.payload.schema import get

Content = dict[str, Any]


LONGEST_KEY = 200


def bounded(key: str) -> str:
    """``key`` itself, or where it is too long for a column or a vendor's field a digest of it that is as unique."""
    if len(key) <= LONGEST_KEY:
        return key
    return f"{key.partition(':')[0]}:sha256:{hashlib.sha256(key.encode()).hexdigest()}"


class StepHandler(ABC):
    """A step of some kind: which system it works in, what it reads, and which handlers' objects it needs."""

    name: ClassVar[str]
    system: ClassVar[System]
    title: ClassVar[str]
    """In plain words, as after "Firstvalue could not": "make the CRM account"."""
    reads: ClassVar[tuple[str, ...]]
    """Payload paths."""
    needs: ClassVar[tuple[str, ...]] = ()


class EnsureHandler(StepHandler):
    """A step that stands for one object: find it, or create it once."""

    kind: ClassVar[str]
    shared: ClassVar[bool] = False
    """One object a customer (found by its match key), not one a run: runs of one customer take turns through a reservation."""

    @abstractmethod
    def match_key(self, content: Content, run_id: str) -> str:
        """What makes two of these the same object."""

    @abstractmethod
    def reference(self, content: Content, run_id: str) -> str:
        """Our own name for it, embedded in the create: deterministic, so that a repeated create is recognised."""

    @abstractmethod
    def keys(self, content: Content, reference: str) -> list[MatchKey]:
        """How to find it, strongest first."""

    @abstractmethod
    def params(self, content: Content, related: dict[str, str]) -> dict[str, Any]:
        """What is sent to create it. ``related``: the external ids of what it needs, by handler name."""

    def settle(self, connector: Connector, external_id: str, related: dict[str, str]) -> None:
        """Tie the object to the others. Must be harmless to repeat."""


class CustomerHandler(EnsureHandler):
    """An object that a customer has once, whatever they buy: matched by domain, else by legal name and billing email."""

    shared = True

    def match_key(self, content: Content, run_id: str) -> str:  # noqa: ARG002
        if domain := customer_domain(content):
            return bounded(f"domain:{domain}")
        name, email = normal_name(get(content, "customer.legal_name")), get(content, "commercial.billing_email").lower()
        return bounded(f"name:{name}|{email}")

    def reference(self, content: Content, run_id: str) -> str:
        return f"firstvalue:{self.match_key(content, run_id)}"
