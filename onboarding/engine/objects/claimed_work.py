"""What the engine lends a handler for one claimed step: its vendor, and the ways to do it that every handler shares."""

import time
from collections.abc import Mapping
from functools import cached_property, partial

from django.db import DatabaseError

from integrations import clock
from integrations.connectors import registry
from integrations.connectors.base import Connector
from integrations.errors import DeadlinePassed, Kind, ProviderError
from integrations.models import Connection
from onboarding.engine import compensation
from onboarding.engine.claiming import Claim
from onboarding.engine.objects.ensure import ensure
from onboarding.engine.objects.ensure_batch import ensure_batch
from onboarding.engine.objects.hand_over import hand_over
from onboarding.engine.outcomes import Checked, LookedUp, Outcome, Waiting, Written
from onboarding.enums import WaitsFor
from onboarding.steps.handler import Facts, StepHandler


class ClaimedWork:
    """``handler.Work`` for the holder of a claim."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim

    @property
    def facts(self) -> Facts:
        return self.claim.facts

    @cached_property
    def connector(self) -> Connector:
        connection = usable(self.claim.connection, self.claim.handler)
        try:
            return registry.connector(
                connection,
                subject=f"step:{self.claim.step.pk}",
                deadline=self.claim.deadline,
                before_write=partial(_check_time, self.claim),
            )
        except DatabaseError as error:
            raise ProviderError(
                Kind.SERVER, f"The credentials could not be read ({type(error).__name__}).", ours=True
            ) from error

    def ensure(self, handler: StepHandler) -> Outcome:
        connector, parts = self.connector, handler.parts(self.facts)
        if parts is not None:
            return ensure_batch(self.claim, handler, connector, parts)
        return ensure(self.claim, handler, connector)

    def hand_over(self, handler: StepHandler) -> Outcome:
        return hand_over(self.claim, handler, lambda: self.connector)

    def compensate(self, handler: StepHandler) -> Outcome:
        plan = self.claim.plan
        assert plan is not None  # noqa: S101  (a compensation is claimed with one)
        return compensation.compensate(plan, handler, self.connector)

    def written(self, digest: str) -> Outcome:
        return Written(digest)

    @property
    def is_connected(self) -> bool:
        return self.claim.connection is not None and self.claim.connection.enabled

    def awaited(self) -> Outcome:
        return Waiting(WaitsFor.EVENT, clock.now())

    def checked(self, finding: str, *, asked: bool = False) -> Outcome:
        return Checked(self.claim.handler.digest(self.facts), finding, asked=asked)

    def looked_up(self, found: Mapping[str, tuple[str, str]], message: str = "") -> Outcome:
        return LookedUp(dict(found), message)


def usable(connection: Connection | None, handler: StepHandler) -> Connection:
    """The connection, where one is set up and switched on. Raises ``ProviderError(NOT_CONFIGURED)``, in words for people."""
    if connection is None:
        which = f" with the provider “{handler.provider}”" if handler.provider else ""
        raise ProviderError(Kind.NOT_CONFIGURED, f"No connection{which} is set up for the system “{handler.system}”.")
    if not connection.enabled:
        raise ProviderError(Kind.NOT_CONFIGURED, f"The connection {connection.slug} is disabled.")
    return connection


def _check_time(claim: Claim) -> None:
    """Before each write: past the claim's deadline somebody else may hold the step."""
    # No method: the connector, which calls it, and the work, which keeps the connector, would keep each other alive.
    if time.monotonic() > claim.deadline:
        raise DeadlinePassed
