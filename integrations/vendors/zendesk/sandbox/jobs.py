"""Background jobs (developer.zendesk.com/api-reference/ticketing/ticket-management/job_statuses; introduction/rate-limits).

What is told of each user: support.zendesk.com/hc/en-us/community/posts/4408861015066.
"""

from __future__ import annotations

from http import HTTPStatus

from integrations.sandbox.dialect import Answer, Call, as_seconds
from integrations.sandbox.store import Json, Row

MOST_USERS = 100
MOST_QUEUED = 30
KEPT_SECONDS = 3600.0


def seconds(call: Call) -> float:
    """How long a job takes."""
    return as_seconds(call.settings["job_seconds"])


def queued(call: Call) -> int:
    return sum(not _has_ended(call, job) for job in call.tx.rows("zendesk", "job_statuses"))


def _has_ended(call: Call, job: Row) -> bool:
    return call.tx.now - job.created_at >= seconds(call)


def result(place: int, answer: Answer) -> Json:
    """What became of one user. The ``id`` of a failed one is its place, and no user's."""
    if answer.status in (HTTPStatus.OK, HTTPStatus.CREATED):
        user = answer.body["user"]
        status = "Created" if answer.status == HTTPStatus.CREATED else "Updated"
        return {"id": user["id"], "status": status, "email": user.get("email"), "external_id": user["external_id"]}
    details = "; ".join(each["description"] for problems in answer.body["details"].values() for each in problems)
    return {"id": place, "error": "UserUpdateError", "details": details, "status": "Failed"}


def view(call: Call, job: Row) -> Json:
    results, ended = job.body["results"], _has_ended(call, job)
    return {
        "id": job.id,
        "url": f"https://sandbox.zendesk.example/api/v2/job_statuses/{job.id}.json",
        "job_type": "Bulk Create Or Update User",
        "total": len(results),
        "progress": len(results) if ended else None,
        "status": "completed" if ended else "queued",
        "message": None,
        "results": results if ended else None,
    }
