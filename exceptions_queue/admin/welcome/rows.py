"""Scheduled mails as the run's page and the list show them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.models import User
from django.db.models import Prefetch, prefetch_related_objects
from django.urls import reverse
from django.utils.safestring import SafeString

from exceptions_queue.admin.ui import badges, timeline
from exceptions_queue.admin.ui.display_names import Names
from integrations.http.redaction import redact_text
from onboarding.models import MailState, OnboardingTransaction, ScheduledMail, Step, StopCause
from onboarding.steps.kickoff import WelcomeMail

VIEW = "onboarding.view_scheduledmail"
TONES = {
    MailState.PENDING: (badges.INFO, "schedule"),
    MailState.SENDING: (badges.INFO, "progress_activity"),
    MailState.SENT: (badges.OK, "check_circle"),
    MailState.INDETERMINATE: (badges.RISK, "help"),
    MailState.FAILED: (badges.BAD, "error"),
    MailState.STOPPED: (badges.MUTED, "block"),
}


@dataclass(frozen=True)
class Row:
    mail: ScheduledMail
    name: str
    state: SafeString
    why: str
    preview: str
    """Where its text is shown; empty for those who may not see that."""


def named(key: str) -> str:
    """``first-steps`` as people read it."""
    return key.replace("-", " ").capitalize()


def state(mail: ScheduledMail, run: OnboardingTransaction) -> SafeString:
    if mail.state == MailState.PENDING and run.held_at:
        return badges.badge("On hold", badges.RISK, "front_hand")
    tone, icon = TONES[MailState(mail.state)]
    return badges.badge(MailState(mail.state).label, tone, icon)


def sent() -> SafeString:
    """Of the welcome itself."""
    tone, icon = TONES[MailState.SENT]
    return badges.badge(MailState.SENT.label, tone, icon)


def why(mail: ScheduledMail, run: OnboardingTransaction, names: Names, *, may_see: bool) -> str:
    """Why it is as it is, in a sentence; empty where that goes without saying."""
    if mail.state == MailState.STOPPED:
        if mail.stop_cause != StopCause.PERSON:
            return StopCause(mail.stop_cause).label
        reason = mail.stop_reason if may_see else redact_text(mail.stop_reason)
        return f"Stopped by {timeline.who(mail.stopped_by, names)}: {reason}"
    if mail.state == MailState.INDETERMINATE:
        return f"It may or may not have gone out, and is not sent again. {mail.error}"
    if mail.state == MailState.PENDING and run.held_at:
        return "It is put off until the run is resumed."
    return mail.error


def fetch(run: OnboardingTransaction, steps: Iterable[Step]) -> None:
    """A run's mails, once for all parts of a page. Before its welcome was begun there are none, and nothing is asked."""
    welcomed = any(step.uses == WelcomeMail.name and step.started_at for step in steps)
    mails = ScheduledMail.objects.all() if welcomed else ScheduledMail.objects.none()
    prefetch_related_objects([run], Prefetch("scheduled_mails", queryset=mails))


def of_run(run: OnboardingTransaction, user: User, names: Names, *, may_see: bool) -> list[Row]:
    previews = user.has_perm(VIEW)
    return [
        Row(
            mail,
            named(mail.key),
            state(mail, run),
            why(mail, run, names, may_see=may_see),
            preview_url(run, mail=mail.key, sequence=mail.sequence) if previews else "",
        )
        for mail in sorted(run.scheduled_mails.all(), key=lambda each: (each.scheduled_for, each.pk))
    ]


def preview_url(run: OnboardingTransaction, **more: Any) -> str:
    asked = {"run": run.onboarding_transaction_id, **more}
    return f"{reverse('admin:onboarding_scheduledmail_preview')}?{urlencode(asked)}"
