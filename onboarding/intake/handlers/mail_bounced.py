"""A mail that did not arrive, or is not wanted: a person of its run corrects the address, or writes to somebody else."""

from datetime import timedelta

from integrations import clock
from integrations.connectors.objects import Mail
from integrations.inbound.events import MailBounced, MailOutcome
from integrations.models import InboundEvent
from onboarding import audit
from onboarding.engine.locks import locked_run
from onboarding.enums import WITHDRAWN
from onboarding.intake.handlers.base import actor_of, handles, hold
from onboarding.models import Intent, MailState, ObjectMapping, OnboardingTransaction, ScheduledMail
from onboarding.payload.schema import get
from onboarding.signals import mail_bounced, mail_unwanted
from onboarding.steps.registry import HANDLERS

LONGEST_WAIT = timedelta(hours=1)
WAIT = timedelta(minutes=1)
RECIPIENT = "to"
UNWANTED = (MailOutcome.COMPLAINED, MailOutcome.UNSUBSCRIBED)


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
        later = _later_mail(stored, event)
        if later and not later.message_id:
            later.message_id = event.message_id[:255]
            later.save(update_fields=["message_id"])
        if later and later.recipient != get(run.payload, "customer.primary_contact.email"):
            stored.ignore(outcome="The contact has another address by now.", at=clock.now())
            return
        data = {"step": mapping.step.key, "event": stored.external_id, "outcome": event.outcome.name.lower()}
        data |= {"mail": later.key} if later else {}
        audit.record(run, "onboarding.mail.bounced", actor=actor_of(stored), data=data)
        if event.outcome in UNWANTED:
            mail_unwanted.send(OnboardingTransaction, run=run)
        if run.status not in WITHDRAWN:
            path = HANDLERS[mapping.step.uses].paths.get(RECIPIENT, "")
            reason = f"{event.outcome}: {event.reason}" if event.reason else str(event.outcome)
            problems = [{"path": path, "name": RECIPIENT, "reason": reason}] if path else []
            which = f"The welcome mail “{later.key}”" if later else "The mail"
            mail_bounced.send(ObjectMapping, mapping=mapping, message=f"{which} {reason}", problems=problems)
    stored.process(outcome=f"mail of {run}: it {event.outcome}", at=clock.now())


def _sent(stored: InboundEvent, event: MailBounced) -> ObjectMapping | None:
    """What the ticket is about: the mail of a step; of one of the mails after the welcome, the welcome."""
    if not event.message_id:
        return None
    mails = ObjectMapping.objects.filter(kind=Mail.KIND).select_related("step", "transaction", "connection")
    about = mails.filter(connection=stored.connection, external_id=event.message_id).first()
    later = None if about else _later_mail(stored, event)
    return mails.filter(transaction=later.transaction_id).order_by("pk").first() if later else about


def _later_mail(stored: InboundEvent, event: MailBounced) -> ScheduledMail | None:
    """By the vendor's id; one whose send brought no answer, and so no id, by our reference."""
    if not event.message_id:
        return None
    mails = ScheduledMail.objects.filter(connection=stored.connection)
    found = mails.filter(message_id=event.message_id).first()
    if found or not event.reference:
        return found
    return mails.filter(reference=event.reference, state=MailState.INDETERMINATE, message_id="").first()


def _run_of(stored: InboundEvent, event: MailBounced) -> int | None:
    mapping = _sent(stored, event)
    return mapping.transaction_id if mapping else None


def _wait_or_ignore(stored: InboundEvent, event: MailBounced) -> None:
    """It may have overtaken the answer to its own send; a mail of whose outcome nobody knows is sent, as it shows."""
    now = clock.now()
    if now - stored.received_at < LONGEST_WAIT and event.reference and _is_being_sent(event.reference):
        hold(stored, now + WAIT, "The mail that it is about is being sent: looked at again.")
        return
    stored.ignore(outcome="It is about no mail that this connection sent for a run.", at=now)


def _is_being_sent(reference: str) -> bool:
    later = ScheduledMail.objects.filter(reference=reference, state=MailState.SENDING, due_at__isnull=False)
    return Intent.objects.indeterminate().filter(reference=reference).exists() or later.exists()
