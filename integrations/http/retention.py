"""Retention of records of calls: what is older than ``CALL_RETENTION_DAYS`` is deleted, some at a time.

They are evidence for people; nothing that the engine decides reads them. Those in the archive are ``manage.py archive``'s.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction as db

from integrations.models import ApiCall

AT_ONCE = 1_000
PAUSE_SECONDS = 0.1
log = logging.getLogger(__name__)


def delete_old_calls(now: datetime) -> int:
    """One batch, the oldest first; returns how many were deleted. Several at once take different ones."""
    if not settings.CALL_RETENTION_DAYS:
        return 0
    old = ApiCall.objects.filter(at__lt=now - timedelta(days=settings.CALL_RETENTION_DAYS)).order_by("at")
    if not old.exists():
        return 0
    with db.atomic():
        batch = list(old.select_for_update(skip_locked=True).values_list("pk", flat=True)[:AT_ONCE])
        deleted, _ = ApiCall.objects.filter(pk__in=batch).delete()
    if deleted:
        log.info("deleted %d records of calls older than %d days", deleted, settings.CALL_RETENTION_DAYS)
    return deleted
