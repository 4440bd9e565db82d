"""A customer who pays in the sandbox, and what a billing system then delivers."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Payer:
    """What they give at the checkout."""

    company: str
    contact: str
    email: str
    metadata: Mapping[str, str]


@dataclass(frozen=True)
class SandboxPayment:
    reference: str
    """A correlation key's value, by which its run is found."""
    deliveries: list[tuple[bytes, Mapping[str, str]]]
    """Body and headers."""
