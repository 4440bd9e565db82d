"""What is asked of an official register: whether it knows a tax id, and whose it says that is. Nothing is written there."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from integrations.connectors.base import Created, Found, HttpConnector, JobAccepted, MatchKey
from integrations.connectors.objects import VendorObject
from integrations.connectors.options import Secret


@dataclass(frozen=True)
class RegisterEntry:
    """What the register said of a tax id."""

    is_valid: bool
    name: str = ""
    """As the register has it; empty where it does not tell."""
    is_same_name: bool | None = None
    """What the register itself says of the name that it was asked about; None where it does not compare."""
    evidence: str = ""
    """When it answered, and under which number of its own: in words, without personal data."""


class RegisterConnector(HttpConnector):
    """A register. It is public, so that most need no credentials."""

    secrets: ClassVar[tuple[Secret, ...]] = ()

    @abstractmethod
    def covers(self, country: str) -> bool:
        """Whether it has the tax ids of this country (ISO 3166-1 alpha-2)."""

    @abstractmethod
    def look_up(self, *, country: str, tax_id: str, name: str) -> RegisterEntry:
        """``tax_id``: without separators, with its country's prefix where it has one. ``name``: of the legal entity.

        Raises ``ProviderError``: a register that gives no answer has not said that the number is invalid.
        """

    def find(self, kind: str, key: MatchKey) -> list[Found]:  # noqa: ARG002
        return []

    def get(self, kind: str, external_id: str) -> Found | None:  # noqa: ARG002
        return None

    def create(self, wanted: VendorObject, reference: str) -> Created | JobAccepted:  # noqa: ARG002
        raise TypeError(f"{self.provider} has no {wanted.kind}")
