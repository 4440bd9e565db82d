"""The kinds of vendor, by what protects a repeated create: how each is set up, where it writes, and what people may seed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMPANY = Path(__file__).parent / "company"
"""Playbooks beside the built-in ones; the providers are those of ``tests/company``."""
UPSERT, NEITHER, KEYED = "unique-upsert", "neither", "idempotency-key"
UPDATES = frozenset({"crm.deal-status", "delivery.handover"})
PROVISIONING = UPDATES | {
    "crm.account", "crm.contact", "crm.deal", "crm.note", "delivery.project", "delivery.tasks", "support.organization",
    "support.users",
}  # fmt: skip
BUILT_IN = PROVISIONING | {"kickoff.task", "welcome.mail"}
MAPPED = frozenset({"http:workspace", "http:task", "http:workspace.update"})


@dataclass(frozen=True)
class Site:
    """Where a sandbox vendor is written to: a method and a glob over the path, or for mails a command."""

    vendor: str
    method: str
    path: str | None = None

    def as_fault(self) -> dict[str, Any]:
        return {"vendor": self.vendor, "method": self.method, "path": self.path}


@dataclass(frozen=True)
class VendorKind:
    """One kind, with a playbook that has steps at such vendors."""

    steps: frozenset[str]
    """The step kinds that are different with it; the others are another kind's to show."""
    set_up: Callable[[str], None]
    """Makes its connections; given the sandbox's address."""
    sites: tuple[Site, ...]
    """Every write of the playbook."""
    refuses: Site
    """Where a scenario has one write refused."""
    connection: str
    """The slug of the connection that is broken where one is."""
    twins: tuple[str, str, dict[str, str]]
    """Sandbox vendor, kind, and an object of the customer ``one``: of two such nobody knows which is theirs."""
    plan: str = "pro"
    lagging: tuple[str, ...] = ("hubspot", "asana")
    every_hit: bool = False
    """Crashes at hits without a step, and in steps of no kind, are this one's to show."""


def with_reference_property(_: str) -> None:
    """HubSpot with a unique property: creates are upserts on it. The connection's own default."""


def without_reference_property(_: str) -> None:
    """Nothing keeps two accounts or deals apart, as with projects, tasks, notes and mails in any case."""
    from integrations.connections.services import set_connection  # the table itself is read without Django

    options = {"reference_property": "", "search_lag": "20"}
    set_connection("hubspot", system="crm", provider="hubspot", options=options, actor="chaos")


def with_mapped_vendors(base_url: str) -> None:
    """Each of the sandbox's widgets vendors as the declarative providers of ``tests/company`` describe it."""
    from integrations.connections.services import set_connection

    for provider, system in (("keyed", "product"), ("upserting", "erp")):
        set_connection(
            provider,
            system=system,
            provider=provider,
            base_url=f"{base_url}/widgets/v1",
            environment="sandbox",
            secrets={"token": ["sandbox-widgets-token"]},
            actor="chaos",
        )


SANDBOX_VENDORS = {"keyed": "widgets", "upserting": "widgets"}
"""What the sandbox calls the vendor of a connection, where that is not its slug."""


def _built_in(account: str, deal: str) -> tuple[Site, ...]:
    return (
        Site("hubspot", "POST", account),
        Site("hubspot", "POST", deal),
        Site("hubspot", "POST", "*/objects/contacts"),
        Site("hubspot", "POST", "*/objects/notes"),
        Site("hubspot", "PATCH", "*/objects/deals/*"),
        Site("asana", "POST", "*instantiateProject"),
        Site("asana", "POST", "*/api/1.0/tasks"),
        Site("asana", "PUT", "*/projects/*"),
        Site("zendesk", "POST", "*/organizations/create_or_update"),
        USERS,
        Site("mail", "DATA"),
    )


USERS = Site("zendesk", "POST", "*/users/create_or_update")
COMPANIES = ("hubspot", "companies", {"name": "One Works", "domain": "one-works.com"})
BATCH = Site("widgets", "POST", "*/tasks/batch")
VENDORS = {
    UPSERT: VendorKind(
        BUILT_IN,
        with_reference_property,
        _built_in("*/companies/batch/upsert", "*/deals/batch/upsert"),
        USERS,
        "hubspot",
        COMPANIES,
        every_hit=True,
    ),
    NEITHER: VendorKind(
        frozenset({"crm.account", "crm.deal"}),
        without_reference_property,
        _built_in("*/objects/companies", "*/objects/deals"),
        USERS,
        "hubspot",
        COMPANIES,
    ),
    KEYED: VendorKind(
        MAPPED,
        with_mapped_vendors,
        (
            Site("widgets", "PUT", "*/accounts/by-reference/*"),
            Site("widgets", "POST", "*/workspaces"),
            BATCH,
            Site("widgets", "PATCH", "*/workspaces/*"),
        ),
        BATCH,
        "keyed",
        ("widgets", "workspaces", {"name": "One Works", "reference": "firstvalue:pay_one/workspace"}),
        plan="keyed",
        lagging=("widgets",),
    ),
}
