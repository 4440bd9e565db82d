"""Taking one safeguard out of a worker process, to see that the oracle notices. Only ``tests.chaos.worker`` does."""

from collections.abc import Callable
from typing import Any


def without_intent() -> None:
    """Nothing is known of a create before its result is recorded."""
    from onboarding.engine import claiming
    from onboarding.enums import IntentState
    from onboarding.models import Intent

    claim_locked = claiming.claim_locked

    def claim(*args: Any) -> Any:
        claimed = claim_locked(*args)
        if claimed and claimed.intent:
            Intent.objects.filter(pk=claimed.intent.pk).update(state=IntentState.NO_EFFECT, indeterminate_since=None)
        return claimed

    claiming.claim_locked = claim  # type: ignore[assignment]


def without_lease() -> None:
    """Whoever comes may take a step out of another worker's hands."""
    from onboarding.engine import claiming
    from onboarding.engine.periodic import sweep
    from onboarding.enums import StepState
    from onboarding.models import Step

    is_claimable, due_steps = claiming._is_claimable, sweep._due_steps

    def claimable(run: Any, step: Any, now: Any) -> bool:
        return True if step.state == StepState.RUNNING else is_claimable(run, step, now)

    def due(now: Any) -> list[int]:
        return [*due_steps(now), *Step.objects.filter(state=StepState.RUNNING).values_list("pk", flat=True)]

    claiming._is_claimable = claimable  # type: ignore[assignment]
    sweep._due_steps = due  # type: ignore[assignment]


def without_reservation() -> None:
    """Every run of a customer holds the reservation at once."""
    from onboarding.models import Reservation
    from onboarding.working_set import LeanRows, Rows

    def take(_: Rows, connection: Any, kind: str, match_key: str, step: Any, now: Any) -> tuple[Reservation, None]:
        return Reservation(connection=connection, kind=kind, match_key=match_key, holder=step, created_at=now), None

    Rows.claim_reservation = LeanRows.claim_reservation = take  # type: ignore[method-assign]


def without_search() -> None:
    """A create whose outcome is indeterminate is simply sent again."""
    from onboarding.engine.objects import ensure

    ensure.find = lambda *_, **__: None  # type: ignore[assignment]
    ensure.resolve_indeterminate = lambda *_: None  # type: ignore[assignment]


SAFEGUARDS: dict[str, Callable[[], None]] = {
    "intent": without_intent,
    "lease": without_lease,
    "reservation": without_reservation,
    "find-before-recreate": without_search,
    "find-before-replay": without_search,
}


def take_out(name: str) -> None:
    SAFEGUARDS[name]()
