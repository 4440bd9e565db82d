"""Zendesk's answers, as far as they are used."""

from typing import Any

from integrations.connectors.answers import VendorAnswer


class Organization(VendorAnswer):
    id: int
    name: str
    external_id: str | None = None
    domain_names: list[str] = []
    tags: list[str] = []
    organization_fields: dict[str, Any] = {}
    """Custom ones, by their keys: all that the account has, also those without a value."""
    created_at: str = ""
    updated_at: str | None = None


class OneOrganization(VendorAnswer):
    organization: Organization


class Organizations(VendorAnswer):
    organizations: list[Organization]


class Merge(VendorAnswer):
    loser_id: int
    winner_id: int
    status: str = ""

    def is_of(self, loser: str) -> bool:
        return str(self.loser_id) == loser.strip() and self.status == "complete"


class Merges(VendorAnswer):
    organization_merges: list[Merge]


class Counts(VendorAnswer):
    users_count: int
    tickets_count: int


class Related(VendorAnswer):
    organization_related: Counts


class User(VendorAnswer):
    id: int | None
    """None only for the anonymous visitor that ``users/me`` may speak of."""
    name: str = ""
    role: str = ""
    email: str | None = None
    external_id: str | None = None
    organization_id: int | None = None
    active: bool | None = True
    """False once the user is deleted, or merged into another one."""
    suspended: bool | None = False
    created_at: str = ""
    updated_at: str | None = None


class OneUser(VendorAnswer):
    user: User


class Users(VendorAnswer):
    users: list[User]


class Identity(VendorAnswer):
    type: str
    value: str = ""


class Identities(VendorAnswer):
    identities: list[Identity]


class Ticket(VendorAnswer):
    id: int
    subject: str = ""
    external_id: str | None = None
    status: str = ""
    created_at: str = ""
    updated_at: str | None = None


class OneTicket(VendorAnswer):
    ticket: Ticket


class Tickets(VendorAnswer):
    tickets: list[Ticket]
    next_page: str | None = None


class JobResult(VendorAnswer):
    id: str = ""
    status: str = ""
    error: str = ""
    details: str = ""


class JobStatus(VendorAnswer):
    id: str
    status: str
    message: str = ""
    results: list[JobResult] = []
    """Empty while the job is under way."""


class OneJobStatus(VendorAnswer):
    job_status: JobStatus
