"""The preview: what a run's customer would be sent, and when, with the run's own data. Nothing is sent or changed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.http import QueryDict
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from exceptions_queue.admin.runs.payloads import HIDDEN
from exceptions_queue.admin.welcome import rows
from exceptions_queue.sla import business_calendar
from exceptions_queue.welcome import sending, sequences, texts
from exceptions_queue.welcome.sequences import MailSpec, WelcomeSequence
from integrations import clock
from integrations.connectors.objects import Mail
from onboarding.engine.facts import facts_of
from onboarding.models import OnboardingTransaction, ScheduledMail, Step
from onboarding.payload import catalogue
from onboarding.payload.schema import get, with_values
from onboarding.steps.kickoff import WelcomeMail
from onboarding.steps.registry import HANDLERS

WELCOME = "welcome"
"""Stands for the first mail, which a step of the run sends."""
NEWEST = 50


class Choice(forms.Form):
    """What is asked for; nothing of it is needed."""

    run = forms.CharField(label="Run", required=False, widget=UnfoldAdminTextInputWidget(attrs={"list": "runs"}))
    sequence = forms.ChoiceField(label="Sequence", required=False, widget=UnfoldAdminSelectWidget())
    mail = forms.CharField(required=False, widget=forms.HiddenInput)
    language = forms.ChoiceField(label="Language", required=False, widget=UnfoldAdminSelectWidget())

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data, auto_id="preview-%s", label_suffix="")
        known = [("", "The one that serves the customer"), *((name, name) for name in sorted(sequences.sequences()))]
        of_sequence, of_language = self.fields["sequence"], self.fields["language"]
        assert isinstance(of_sequence, forms.ChoiceField)  # noqa: S101  (as declared above)
        assert isinstance(of_language, forms.ChoiceField)  # noqa: S101
        of_sequence.choices = known
        of_language.choices = [("", "The customer's"), *((each, each) for each in texts.known_languages())]


@dataclass(frozen=True)
class Entry:
    """One mail of the sequence. ``day``: business days after the welcome."""

    key: str
    name: str
    day: int
    at: datetime | None
    state: Any
    url: str
    is_shown: bool


def content_for(run: OnboardingTransaction, *, may_see: bool) -> dict[str, Any]:
    """The run's payload; without the permission nothing in it names a person."""
    content = run.payload
    if may_see:
        return content
    hidden = [each.path for each in catalogue.FIELDS if each.personal and isinstance(get(content, each.path), str)]
    return with_values(content, {path: HIDDEN for path in hidden if get(content, path)})


def context(run: OnboardingTransaction, asked: dict[str, str], *, may_see: bool) -> dict[str, Any]:
    content = content_for(run, may_see=may_see)
    known = sequences.sequences()
    serving = sequences.choose(content)
    sequence = known.get(asked.get("sequence", "")) or serving
    key = asked.get("mail", "")
    step = sending.welcome_step(run)
    entries = _entries(run, sequence, step, asked, key)
    shown = key if any(each.key == key for each in entries) else next((each.key for each in entries), "")
    mail, language, problem = _mail(run, sequence, step, shown, content, asked.get("language", ""))
    return {
        "run": run,
        "sequence": sequence,
        "serves": sequence == serving,
        "entries": entries,
        "mail": mail,
        "language": language,
        "other_language": asked.get("language", "") if language and asked.get("language", "") != language else "",
        "problem": problem,
        "may_see": may_see,
        "planned_from": None if step else clock.now(),
    }


def _entries(
    run: OnboardingTransaction,
    sequence: WelcomeSequence | None,
    step: Step | None,
    asked: dict[str, str],
    key: str,
) -> list[Entry]:
    begins = step.finished_at if step and step.finished_at else clock.now()
    scheduled = {row.key: row for row in run.scheduled_mails.all() if sequence and row.sequence == sequence.name}
    mails = sequence.mails if sequence else ()
    keys = [*([WELCOME] if step else []), *(spec.key for spec in mails)]
    shown = key if key in keys else next(iter(keys), "")

    def url(mail: str) -> str:
        return rows.preview_url(run, sequence=asked.get("sequence", ""), language=asked.get("language", ""), mail=mail)

    first = [Entry(WELCOME, "Welcome", 0, begins, rows.sent(), url(WELCOME), shown == WELCOME)] if step else []
    return [*first, *(_entry(run, spec, scheduled.get(spec.key), begins, url(spec.key), shown) for spec in mails)]


def _entry(
    run: OnboardingTransaction, spec: MailSpec, row: ScheduledMail | None, begins: datetime, url: str, shown: str
) -> Entry:
    at = row.scheduled_for if row else business_calendar.configured().business_day_after(begins, spec.day)
    state = rows.state(row, run) if row else "Not scheduled"
    return Entry(spec.key, rows.named(spec.key), spec.day, at, state, url, shown == spec.key)


def _mail(
    run: OnboardingTransaction,
    sequence: WelcomeSequence | None,
    step: Step | None,
    key: str,
    content: dict[str, Any],
    language: str,
) -> tuple[Mail | None, str, str]:
    """The mail, its language, and why it could not be written."""
    spec = next((each for each in sequence.mails if each.key == key), None) if sequence else None
    try:
        if key == WELCOME and spec is None and step is not None:
            wanted = HANDLERS[WelcomeMail.name]
            assert isinstance(wanted, WelcomeMail)  # noqa: S101  (by its name)
            return wanted.wanted(facts_of(run, step, content=content)), "", ""
        if spec is None:
            return None, "", ""
        written = sending.written_for(run, spec.text, step, content=content, language=language)
    except Exception as error:  # noqa: BLE001  (whatever a template of the company's own raises)
        return None, "", f"It cannot be written: {type(error).__name__}: {error}"
    return written.to(content), written.language, ""
