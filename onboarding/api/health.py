"""For whoever watches the process: is it alive, can it work."""

import logging
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from integrations.http.problem_details import problem
from onboarding.engine import dispatch
from onboarding.engine.periodic.health import stall_reason
from onboarding.middleware.database_unavailable import RETRY_AFTER

log = logging.getLogger(__name__)
_migrated = False


@csrf_exempt
@never_cache
def alive(request: HttpRequest) -> HttpResponse:
    """The process answers. Says nothing of the database, so that its loss restarts no process."""
    return _wrong_method(request) or JsonResponse({"status": "ok"})


@csrf_exempt
@never_cache
def ready(request: HttpRequest) -> HttpResponse:
    """The database answers, its migrations are applied, and due work is being taken.

    The broker is told and decides nothing: without it we are slower.
    """
    if refusal := _wrong_method(request):
        return refusal
    facts: dict[str, Any] = {"database": "ok", "migrations": "applied", "broker": _broker(), "work": "taken"}
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not _is_migrated():
            return problem(503, "Some migrations are not applied.", **facts | {"migrations": "not applied"})
        if reason := stall_reason():
            return problem(503, f"Due work is not being taken: {reason}", **facts | {"work": "stalled"})
    except (DatabaseError, InterfaceError) as error:
        log.warning("Not ready: the database does not answer (%s).", type(error).__name__)
        return problem(
            503,
            "The database does not answer.",
            headers=RETRY_AFTER,
            **facts | {"database": "down", "migrations": "unknown", "work": "unknown"},
        )
    return JsonResponse({"status": "ready", **facts})


def _broker() -> str:
    if not settings.BROKER_PUBLISH:
        return "not used now; the scheduler does its work"
    fault = dispatch.broker_fault()
    return f"does not answer ({fault}); the scheduler does its work" if fault else "ok"


def _is_migrated() -> bool:
    """Asked until it is true once: what is applied stays applied while this code runs."""
    global _migrated  # noqa: PLW0603
    if not _migrated:
        executor = MigrationExecutor(connection)
        _migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return _migrated


def _wrong_method(request: HttpRequest) -> HttpResponse | None:
    if request.method in ("GET", "HEAD"):
        return None
    return problem(405, "Only GET and HEAD.", headers={"Allow": "GET, HEAD"})
