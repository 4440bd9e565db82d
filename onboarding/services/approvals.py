"""What people decide before a step is done: approve it, or reject it."""

from integrations import clock
from integrations.failpoints import failpoint
from onboarding.engine.locks import retried
from onboarding.engine.runs import prerequisites
from onboarding.services import availability, confirmation
from onboarding.services.base import given_reason, locked_step, require_no


@retried
def decide_approval(step_pk: int, *, approved: bool, actor: str, reason: str, seen: str | None = None) -> None:
    """Approve the step, which is then done, or reject it, which keeps it blocked. Nobody approves data that they gave.

    ``seen``: the approval's ``subject`` that was shown; raises ``Outdated`` where it is other data by now. Raises ``Refused`` where
    nobody is asked, and without a reason.
    """
    text = given_reason(reason)
    with locked_step(step_pk) as (run, step):
        require_no(availability.approve(step, actor=actor if approved else ""))
        approval = step.approvals.open().get()
        confirmation.check(approval.subject, prerequisites.subject_of(run, step))
        confirmation.check(seen, approval.subject)
        prerequisites.decide(run, step, approval, approved=approved, by=actor, at=clock.now(), reason=text)
        failpoint("person-acted")
