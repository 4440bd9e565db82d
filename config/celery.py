"""The Celery application. No results, no retries, no eta: messages only say that a step may be due (docs/architecture.md)."""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_shutting_down

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("firstvalue")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["onboarding"])


@worker_shutting_down.connect
def finish_what_runs(**_: Any) -> None:
    from onboarding.engine import execution

    execution.stopping.set()
