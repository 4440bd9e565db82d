"""A mail that did not arrive, or is not wanted: a person of its run corrects the address, or writes to somebody else."""

from datetime import timedelta

from integrations import clock
from integrations.connectors.objects import Mail
from integrations.inbound.events import MailBounced
from integrations.models import InboundEvent
from onboarding import audit
from onboarding.engine.locks import locked_run
from onboarding.enums import WITHDRAWN
from onboarding.intake.handlers.base import actor_of, handles, hold
from onboarding.models import Intent, ObjectMapping
from onboarding.signals import mail_bounced
from onboarding.steps.registry import HANDLERS

LONGEST_WAIT = timedelta(hours=1)
WAIT = timedelta(minutes=1)
RECIPIENT = "to"


@handles(MailBounced)
def mail_bounced_back(stored: InboundEvent, event: MailBounced) -> None:
    run_pk = _run_of(stored, event)
    if run_pk is None:
        _wait_or_ignore(stored, event)
        return
    with locked_run(run_pk) as run:
        mapping = _sent(stored, event)
        if mapping is None:
            stored.ignore(outcome="A later mail has taken the place of the one that it is about.", at=clock.now())
            return
        data = {"step": mapping.step.key, "event": stored.external_id, "outcome": event.outcome.name.lower()}
        audit.record(run, "onboarding.mail.bounced", actor=actor_of(stored), data=data)
        if run.status not in WITHDRAWN:
            path = HANDLERS[mapping.step.uses].paths.get(RECIPIENT, "")
            reason = f"{event.outcome}: {event.reason}" if event.reason else str(event.outcome)
            problems = [{"path": path, "name": RECIPIENT, "reason": reason}] if path else []
            mail_bounced.send(ObjectMapping, mapping=mapping, message=f"The mail {reason}", problems=problems)
    stored.process(outcome=f"mail of {run}: it {event.outcome}", at=clock.now())


def _sent(stored: InboundEvent, event: MailBounced) -> ObjectMapping | None:
    about = ObjectMapping.objects.filter(connection=stored.connection, kind=Mail.KIND, external_id=event.message_id)
    return about.select_related("step", "transaction", "connection").first() if event.message_id else None


def _run_of(stored: InboundEvent, event: MailBounced) -> int | None:
    mapping = _sent(stored, event)
    return mapping.transaction_id if mapping else None


def _wait_or_ignore(stored: InboundEvent, event: MailBounced) -> None:
    """It may have overtaken the answer to its own send; a mail of whose outcome nobody knows is sent, as it shows."""
    now = clock.now()
    sending = Intent.objects.indeterminate().filter(reference=event.reference) if event.reference else None
    if sending is not None and sending.exists() and now - stored.received_at < LONGEST_WAIT:
        hold(stored, now + WAIT, "The mail that it is about is being sent: looked at again.")
        return
    stored.ignore(outcome="It is about no mail that this connection sent for a run.", at=now)
