"""The general path: each row is read when it is needed and written at once, in a transaction that holds the run locked."""

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from django.db import DataError, IntegrityError
from django.db import transaction as db
from django.db.models import DateTimeField, Model, Value

from integrations.connections import concurrency
from integrations.connections.services import default_connections
from integrations.models import ApiCall, Connection
from onboarding.enums import OVER, StepState, WaitsFor
from onboarding.models import (
    Attempt,
    Intent,
    MatchChoice,
    ObjectMapping,
    OnboardingTransaction,
    RejectedMatch,
    Reservation,
    RunEvent,
    Step,
)


class TryAgain(Exception):
    """What was known changed before it could be written: undo, and run the whole transaction again."""


MAX_MESSAGES = 50
log = logging.getLogger(__name__)
ReservationClaim = tuple[Reservation, Step | None]
"""A reservation of a shared object, and its former holder, where that one is over."""


class Rows:
    """How the engine reads and writes a run's rows. Complete, and works on every database."""

    is_lean = False
    is_open = True
    """Whether a transaction uses it."""

    def __init__(self, run: OnboardingTransaction) -> None:
        self.run = run

    def insert(self, *rows: Model) -> None:
        """New rows, all of one model. They have their primary keys afterwards where something refers to them (steps)."""
        type(rows[0])._default_manager.bulk_create(rows)

    # --- Steps ------------------------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """All of the run's, in playbook order."""
        return list(self.run.steps.all())

    def step(self, pk: int) -> Step:
        """With its connection. Raises ``Step.DoesNotExist``."""
        return Step.objects.select_related("connection").get(pk=pk)

    def save(self, step: Step) -> None:
        step.save()

    def fresh_connection(self, step: Step) -> Connection | None:
        """The step's connection as it stands now."""
        return step.connection

    def breaker_of(self, step: Step) -> str:
        """Of the step's connection, as it stands now; empty without one."""
        return step.connection.breaker if step.connection else ""

    def default_connections(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Connection | None]:
        return default_connections(wanted)

    def take_slot(self, connection: Connection, holder: str, until: datetime) -> bool:
        """As ``concurrency.acquire``."""
        return concurrency.acquire(connection, holder, until)

    def begin_attempt(self, step: Step, at: datetime) -> None:
        Attempt.objects.create(step=step, token=step.token, started_at=at)

    def end_attempt(self, step: Step, token: int, **ended: Any) -> None:
        Attempt.objects.filter(step=step, token=token).update(**ended)

    def events(self, event_types: Collection[str]) -> list[RunEvent]:
        """The run's events of these types, as they came."""
        return list(self.run.events.filter(type__in=event_types).order_by("pk"))

    def save_calls(self, calls: Sequence[ApiCall]) -> None:
        """Best effort: a call that worked does not fail because its record did."""
        if not calls:
            return
        try:
            with db.atomic():
                ApiCall.objects.bulk_create(calls)
        except (DataError, IntegrityError):
            log.exception("The record of %d calls was lost", len(calls))

    # --- What was asked for, and what came of it ----------------------------------------------------------------------

    def intent(self, step: Step, item: str) -> Intent | None:
        return Intent.objects.filter(step=step, item=item).first()

    def save_intent(self, intent: Intent) -> None:
        intent.save()

    def save_mapping(self, mapping: ObjectMapping) -> None:
        mapping.save()

    def abandoned_create(self, step: Step, reference: str) -> Intent | None:
        """A create of the same shared object by another run's step that was abandoned with an indeterminate outcome."""
        indeterminate = Intent.objects.indeterminate().filter(reference=reference)
        abandoned = indeterminate.filter(
            step__uses=step.uses, step__connection=step.connection, step__state=StepState.SKIPPED
        )
        return abandoned.exclude(step=step).order_by("send_by").last()

    def decided(self, connection: Connection, kind: str, match_key: str) -> tuple[frozenset[str], MatchChoice | None]:
        """What people have said of this object: ids that are not it, and the one that is. With one query."""
        about: dict[str, Any] = {"connection": connection, "kind": kind, "match_key": match_key}
        never = Value(None, DateTimeField())
        rejected = RejectedMatch.objects.filter(**about).order_by().values_list(Value(0), "external_id", never)
        chosen = MatchChoice.objects.filter(**about).order_by().values_list("pk", "external_id", "chosen_at")
        rows = list(rejected.union(chosen, all=True))
        choices = [MatchChoice(pk=pk, external_id=name, chosen_at=at, **about) for pk, name, at in rows if pk]
        return frozenset(name for pk, name, _ in rows if not pk), next(iter(choices), None)

    def is_rejected(self, connection: Connection, kind: str, match_key: str, external_id: str) -> bool:
        """Whether a person said that this object is not the customer's.

        The reservation's row is locked for it: an unlink changes that row, so it comes wholly before this or wholly after.
        """
        about: dict[str, Any] = {"connection": connection, "kind": kind, "match_key": match_key}
        list(Reservation.objects.select_for_update(no_key=True).filter(**about).values_list("pk"))
        return RejectedMatch.objects.filter(**about, external_id=external_id).exists()

    # --- Turns with shared objects ------------------------------------------------------------------------------------

    def claim_reservation(
        self, connection: Connection, kind: str, match_key: str, step: Step, now: datetime
    ) -> ReservationClaim:
        """The reservation of a shared object: ours, or another run's, or complete with the object's id known.

        A reservation whose holder was skipped, cancelled or rolled back is taken over; that holder is returned too.
        """
        reservation, _ = Reservation.objects.select_related("holder").get_or_create(
            connection=connection, kind=kind, match_key=match_key, defaults={"holder": step, "created_at": now}
        )
        holder = reservation.holder
        if not reservation.external_id and (holder is None or holder.state in OVER):
            free = Reservation.objects.filter(pk=reservation.pk, holder=holder, external_id="")
            if free.update(holder=step):
                reservation.holder = step
                return reservation, holder
        return reservation, None

    def complete_reservation(
        self, step: Step, kind: str, match_key: str, *, external_id: str, url: str, was_other_data: bool
    ) -> list[int]:
        """The object of the step's reservation is known. Steps that wait for it, to be enqueued.

        ``was_other_data``: it was created as the payload called it then: the reservation of that key gets its id, and this one is
        released. Reservations of other keys, which the payload had before a person fixed it, are over.
        """
        held = Reservation.objects.filter(holder=step)
        mine = held.filter(kind=kind, match_key=match_key)
        if was_other_data:
            mine = held.filter(kind=kind, external_id="").exclude(match_key=match_key)
        mine.update(external_id=external_id, url=url)
        held.filter(external_id="").delete()
        waiting = Step.objects.filter(waits_on=step, waits_for=WaitsFor.RESERVATION)
        return list(waiting.values_list("pk", flat=True)[:MAX_MESSAGES])

    def release_reservations(self, step: Step) -> None:
        Reservation.objects.filter(holder=step, external_id="").delete()
