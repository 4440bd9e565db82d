"""What each vendor's tests say of it, so that one suite (``test_conformance``) can hold every provider to the same rules.

``tests/integrations/vendors/<vendor>/conformance.py`` names its objects in ``CASES``.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from integrations.connections.services import set_connection
from integrations.connectors.base import Connector, Created, JobAccepted, MatchKey
from integrations.connectors.declaration import load, vendors
from integrations.connectors.objects import VendorObject
from integrations.connectors.registry import connector
from integrations.errors import Kind
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from integrations.sandbox.store import Json

REFERENCE = "firstvalue:customer:acme-logistics.com"
Seed = Callable[[int], Mapping[str, Any]]


class Bench:
    """A vendor's account in the sandbox, and the connection to it."""

    def __init__(self, vendor: str, sandbox: SandboxControl) -> None:
        dialect = load(vendors()[vendor].stand_in)
        self.vendor, self.sandbox = vendor, sandbox
        self.connection: Connection = set_connection(
            vendor,
            system=dialect.system,
            provider=vendor,
            base_url=sandbox.base_url + dialect.base_path,
            environment="sandbox",
            secrets={
                "token": [f"sandbox-{vendor}-token"],
                **{name: [value] for name, value in dialect.secrets.items()},
            },
            options=dict(dialect.options),
            actor="tests",
        )

    def connector(self, seconds: float = 20) -> Connector:
        return connector(self.connection, subject="step:1", deadline=time.monotonic() + seconds)

    def create(self, wanted: VendorObject, reference: str = REFERENCE) -> str:
        """The id of the new object, once a job that makes it has ended."""
        made = self.connector().create(wanted, reference)
        until = time.monotonic() + 10
        while isinstance(made, JobAccepted):
            assert time.monotonic() < until, "the job never ended"
            made = self.connector().poll(wanted.kind, made.job_id) or made
        assert isinstance(made, Created)
        return made.external_id

    def kept(self, case: "Case") -> set[str]:
        """Ids of the objects that are there, without those that ``undo`` has put out of use."""
        return {row_id for row_id, body in self.bodies(case.stored_as).items() if case.is_kept(body)}

    def bodies(self, kind: str) -> dict[str, Json]:
        """What the vendor holds of that kind, by id."""
        return {each["id"]: each["body"] for each in self.sandbox.objects(self.vendor, kind)}


class MailBench(Bench):
    """The mail catcher, which stands in for any mail server: what it holds is known by its Message-ID."""

    def __init__(self, connection: Connection, sandbox: SandboxControl) -> None:
        self.vendor, self.sandbox, self.connection = "mail", sandbox, connection

    def bodies(self, kind: str) -> dict[str, Json]:
        return {each["body"]["message_id"]: each["body"] for each in self.sandbox.objects(self.vendor, kind)}


@dataclass(frozen=True)
class Case:
    """One kind of object at one vendor.

    ``wanted`` makes what a step would ask for, of a customer of that name; it may create what the object belongs to.
    """

    vendor: str
    kind: str
    stored_as: str
    """The sandbox's name of the kind."""
    wanted: Callable[[Bench, str], VendorObject]
    keys: Callable[[VendorObject, str], Sequence[MatchKey]]
    """By which of its values it is found, with its reference; the strongest first. None for what no vendor can be asked for
    again, such as a mail: what was made is then counted where it went, and ``get`` tells what was recorded."""
    change: VendorObject | None = None
    """An update, and ``shows`` whether a stored body has it."""
    shows: Callable[[Json], bool] = lambda _: True
    ties: Callable[[Bench], tuple[str, str]] | None = None
    """(kind, id) of an object that it can be tied to."""
    others: Seed | None = None
    """Another customer's object as the vendor stores it, by number: found beside ours where a page of answers has many."""
    is_kept: Callable[[Json], bool] = lambda _: True
    """Whether a stored body is still in use, where ``undo`` puts the object out of use and leaves it there."""
    error_kinds: Mapping[int, Kind] = field(default_factory=dict)
    """Status of a refusal -> its kind, where the vendor's documentation means another one than usual."""
    creates_at: str | None = None
    """The path of a create, as a glob, where the vendor's reads are POSTs too."""
    answered_as: Mapping[int, int] = field(default_factory=dict)
    """Status that the rules ask for -> the one by which the vendor says it."""
    says_nothing: bool = False
    """A create's success has no body, so that it cannot arrive slowly."""
    probes_by_a_call: bool = True
    """False where whatever is called starts something: a probe looks at what is stored alone."""
    writes: tuple[str, ...] = ("POST", "PUT", "PATCH")
    """The methods by which it is made; of a vendor that does not speak HTTP its own commands."""

    @property
    def speaks_http(self) -> bool:
        return "POST" in self.writes

    def __str__(self) -> str:
        return f"{self.vendor}-{self.kind}"


def cases() -> list[Case]:
    """Of every vendor whose tests name some, in the order of names."""
    return [case for name in vendors() for case in cases_of(name)]


def cases_of(vendor: str) -> list[Case]:
    """Empty where its tests name none."""
    module = f"tests.integrations.vendors.{vendors()[vendor].folder}.conformance"
    return list(import_module(module).CASES) if find_spec(module) else []
