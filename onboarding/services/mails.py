"""A mail that did not arrive: the contact's data is corrected, and the mail goes out again, to the corrected address."""

from collections.abc import Collection
from typing import Any

from onboarding.models import OnboardingTransaction, Step
from onboarding.payload.schema import get
from onboarding.services import availability
from onboarding.services.base import require_no
from onboarding.services.changes import apply_change, request_change
from onboarding.services.data import clean
from onboarding.services.steps import resend


def correct_and_resend(
    step_pk: int,
    fields: dict[str, Any],
    *,
    actor: str,
    confirmed: Collection[str] = frozenset(),
    version: int | None = None,
) -> None:
    """The correction is a change of the run's data, applied at once: every step that reads it follows. Raises ``Refused``.

    Whoever is interrupted between the two does it again: what is corrected already is left as it is.
    """
    step = Step.objects.select_related("transaction").get(pk=step_pk)
    run = OnboardingTransaction.objects.get(pk=step.transaction_id)
    require_no(availability.resend(run, step))
    wanted = {path: clean(path, value, confirmed=path in confirmed) for path, value in fields.items()}
    if any(get(run.payload, path, default=None) != value for path, value in wanted.items()):
        request = request_change(run.pk, fields, actor=actor, confirmed=confirmed, version=version)
        apply_change(request.pk, actor=actor)
    resend(step_pk, actor=actor)
