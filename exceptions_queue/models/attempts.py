"""The attempts at a step that tried something."""

from typing import Any

from django.db import models
from django.db.models import OuterRef
from django.db.models.functions import Coalesce

from onboarding.models import Attempt

NO_TRY = ("waiting", "")
"""Outcomes of attempts that tried nothing."""


def tries(step: Any) -> models.QuerySet[Attempt]:
    """The attempts at a step (or an ``OuterRef`` to one) that tried something: waiting and polling are none."""
    return Attempt.objects.filter(step=step).exclude(outcome__in=NO_TRY)


def tries_counted() -> Coalesce:
    """``tries`` of a ticket's step, as a column of a list."""
    counted = tries(OuterRef("step")).order_by().values("step").annotate(n=models.Count("pk")).values("n")
    return Coalesce(models.Subquery(counted, output_field=models.IntegerField()), 0)
