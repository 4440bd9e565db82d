"""A customer who pays in the sandbox, and what a billing system then delivers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Payer:
    """What they give at the checkout."""

    company: str
    contact: str
    email: str
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class SandboxObject:
    """What a vendor holds by then, and is asked for."""

    vendor: str
    kind: str
    body: dict[str, Any]
    """With its ``id``."""


@dataclass(frozen=True)
class SandboxPayment:
    reference: str
    """A correlation key's value, by which its run is found."""
    deliveries: list[tuple[bytes, Mapping[str, str]]]
    """Body and headers."""
    objects: list[SandboxObject] = field(default_factory=list)
    """To be put into the sandbox before anything is delivered."""
