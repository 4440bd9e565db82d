"""Many of Zendesk's users at once: read by a hundred, made by jobs.

Sources: developer.zendesk.com/api-reference/ticketing: users/users ("Show Many Users": at most 100 ids or external ids; "Create
Or Update Many Users": at most 100, a job, and a 403 unless Zendesk has enabled bulk imports for the account),
ticket-management/job_statuses (kept for an hour), introduction/rate-limits ("Job limit": 30 queued or running). That results
come in the order of the users, each ``Created``, ``Updated`` or ``Failed`` with ``details``, Zendesk says in
support.zendesk.com/hc/en-us/community/posts/4408861015066; the ``id`` of a failed one is no user's.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from integrations.connectors.base import Created, JobAccepted
from integrations.connectors.objects import SupportUsers
from integrations.errors import Kind, ProviderError
from integrations.http.client import VendorHttp
from integrations.vendors.zendesk.schemas import JobStatus, OneJobStatus, User, Users

MOST = 100
_ENDED_BADLY = ("failed", "killed")


@dataclass
class Ahead:
    """What was read of users before each is asked for."""

    by_id: dict[str, User] = field(default_factory=dict)
    by_reference: dict[str, User | None] = field(default_factory=dict)
    """None: there is no such user."""


def read_many(http: VendorHttp, ids: Collection[str], references: Collection[str]) -> Ahead:
    """Raises ``ProviderError``."""
    made = Ahead(by_reference=dict.fromkeys(references))
    asked = [("ids", [each for each in ids if each.isdecimal()]), ("external_ids", [*references])]
    for name, wanted in asked:
        for user in _shown(http, name, wanted):
            made.by_id[str(user.id)] = user
            if user.external_id in made.by_reference:
                made.by_reference[user.external_id] = user
    return made


def _shown(http: VendorHttp, name: str, wanted: Sequence[str]) -> Iterator[User]:
    for start in range(0, len(wanted), MOST):
        params = {name: ",".join(wanted[start : start + MOST])}
        listed = http.request("GET", "/api/v2/users/show_many", params=params, expect=Users).data.users
        yield from (each for each in listed if each.active is not False)


def send(http: VendorHttp, wanted: SupportUsers, organization_id: str | int, role: str) -> JobAccepted:
    """Raises ``ProviderError``."""
    users: list[dict[str, Any]] = [
        {
            "name": each["name"],
            "email": each["email"],
            "organization_id": organization_id,
            "external_id": each["reference"],
            "role": role,
            "skip_verify_email": True,
        }
        for each in wanted.items or ()
    ]
    try:
        path = "/api/v2/users/create_or_update_many"
        made = http.request("POST", path, json={"users": users}, expect=OneJobStatus)
    except ProviderError as error:
        if error.kind is Kind.FORBIDDEN:
            error.message = (
                f"{error.message} Zendesk makes users in bulk only where its support has enabled that for the account: ask for "
                "it, or take bulk_from out of the playbook"
            )
        raise
    return JobAccepted(made.data.job_status.id)


def status(http: VendorHttp, path: str) -> JobStatus | None:
    """The job once it has ended; None while it is under way. Raises ``ProviderError(JOB_FAILED)`` where Zendesk gave it up."""
    job = http.request("GET", path, expect=OneJobStatus).data.job_status
    if job.status in _ENDED_BADLY:
        raise ProviderError(
            Kind.JOB_FAILED, f"Zendesk's job {job.id} has {job.status}: {job.message or 'no reason given'}"
        )
    return job if job.status == "completed" else None


def outcome(job: JobStatus, wanted: SupportUsers, url: str) -> Created:
    """``url``: of a user's page, with ``{}`` for the id. Raises ``ProviderError(MALFORMED)``."""
    items = wanted.items or []
    if len(job.results) != len(items):
        message = f"Zendesk's job {job.id} tells of {len(job.results)} users, and had {len(items)}"
        raise ProviderError(Kind.MALFORMED, message, effect_possible=True)
    made: dict[str, Created] = {}
    refused: dict[str, str] = {}
    for item, result in zip(items, job.results, strict=True):
        if result.status == "Failed" or result.error or not result.id:
            refused[item["key"]] = result.details or result.error or "no reason given"
        else:
            made[item["key"]] = Created(result.id, url.format(result.id), existed=result.status == "Updated")
    return Created("", items=made, refused=refused)
