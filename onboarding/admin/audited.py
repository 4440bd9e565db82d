"""Set-up that people change in the admin's plain forms leaves entries in the audit trail."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import transaction as db
from django.db.models import QuerySet
from django.http import HttpRequest

from onboarding import audit

VERBS = ("added", "changed", "removed")


class AuditedAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Who added, changed or removed which row, and the names of the fields, never their values. Stands first among the bases.

    Entries are written last in the database transaction, as ``audit.record_global`` asks.
    """

    audited_as: ClassVar[str]
    """What the entries' names begin with, such as ``onboarding.price``."""
    change_form_outer_after_template = "admin/firstvalue/history.html"

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        logged = super().log_addition(request, obj, message)
        self._record(request, "added", obj.pk)
        return logged

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> LogEntry:
        logged = super().log_change(request, obj, message)
        if fields := _fields(message):
            self._record(request, "changed", obj.pk, fields=fields)
        return logged

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        pk = obj.pk
        with db.atomic():
            super().delete_model(request, obj)
            self._record(request, "removed", pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with db.atomic():
            pks = sorted(queryset.values_list("pk", flat=True))
            super().delete_queryset(request, queryset)
            for pk in pks:
                self._record(request, "removed", pk)

    def _record(self, request: HttpRequest, verb: str, pk: Any, **facts: Any) -> None:
        actor = request.user.get_username()
        audit.record_global(f"{self.audited_as}.{verb}", actor=actor, data={"object": pk, **facts})


def _fields(message: Any) -> list[str]:
    """Labels of the fields that a form changed, from Django's own message about it."""
    parts = message if isinstance(message, list) else []
    return [name for part in parts for name in part.get("changed", {}).get("fields", [])]
