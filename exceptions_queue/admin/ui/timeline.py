"""The audit trail as a story: each entry in plain words, and what a step did at a stretch under one heading."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet, TextChoices

from exceptions_queue.admin.tickets.texts import field_label
from exceptions_queue.admin.ui import badges
from exceptions_queue.admin.ui.display_names import Names
from exceptions_queue.admin.ui.safe_rows import CANNOT, each_shown
from exceptions_queue.models import Ticket
from exceptions_queue.tickets.naming import lowered
from integrations import clock
from integrations.enums import System
from integrations.http.redaction import redact_text
from integrations.models import Connection
from onboarding import audit
from onboarding.admin.audited import VERBS
from onboarding.archive.history import entries_of
from onboarding.enums import Category, OriginKind, Topic, WaitsFor
from onboarding.models import ApiKey, AuditEntry, OnboardingTransaction, StepPoll
from onboarding.origins import Origin

LATEST = 300
SHORT = 30
RECENT = timedelta(hours=1)
AT_ONCE = timedelta(seconds=2)
CONSEQUENCES = ("onboarding.step.retry-requested", "onboarding.run.readmitted")
ACTS = (
    *CONSEQUENCES,
    *(f"onboarding.run.{act}" for act in ("held", "resumed", "cancelled", "replayed", "rolling-back", "kept")),
    *(f"onboarding.step.{act}" for act in ("skipped", "rollback-forced", "resend-requested")),
    *(f"onboarding.change.{act}" for act in ("requested", "applied", "rejected")),
    *(f"exceptions.ticket.{act}" for act in ("assigned", "noted", "snoozed", "woken")),
    *("onboarding.welcome.stopped", "onboarding.welcome.resumed"),
    *("onboarding.payload.fixed", "onboarding.match.chosen", "onboarding.object.unlinked"),
    *("integrations.connection.set", "integrations.connection.tested", "integrations.breaker.probe-requested"),
    "integrations.events.retried",
)
"""What people do on purpose; what follows from it is written under their name, too."""
SET_UP = {
    "onboarding.price": "price",
    "onboarding.implementation-owner": "implementation owner",
    "exceptions.crm-owner": "CRM owner",
    "exceptions.queue": "queue",
    "exceptions.user": "user",
    "exceptions.group": "group",
}
"""What ``AuditedAdmin`` writes about."""
AUDIT_WORDS = {
    **{f"{name}.{verb}": f"The {thing} was {verb}" for name, thing in SET_UP.items() for verb in VERBS},
    "onboarding.run.accepted": "The payment was received",
    "onboarding.run.awaiting-data": "Data is missing; a ticket was opened",
    "onboarding.run.provisioning": "The data is complete; provisioning started",
    "onboarding.run.ready-for-kickoff": "Everything is provisioned",
    "onboarding.run.complete": "The run is complete",
    "onboarding.run.readmitted": "The gate was checked again",
    "onboarding.run.held": "The run was put on hold",
    "onboarding.run.resumed": "The run was resumed",
    "onboarding.run.rolling-back": "The rollback began",
    "onboarding.run.rolled-back": "The rollback ended",
    "onboarding.run.kept": "A person kept the run as it is",
    "onboarding.step.compensated": "The step was rolled back",
    "onboarding.step.rollback-forced": "The rollback was forced though it was changed since",
    "onboarding.object.taken-back": "An object was removed",
    "onboarding.object.kept": "An object stays: it cannot be undone, or others use it",
    "onboarding.run.cancelled": "The run was cancelled",
    "onboarding.run.merged": "The payment is part of another run's invoice",
    "onboarding.run.joined": "The run was joined into another run of its order",
    "onboarding.run.took-over": "Another run of the order was joined into this one",
    "onboarding.run.replayed": "The run was replayed",
    "onboarding.event.received": "Another system reported an event",
    "onboarding.hand-over.reported": "The workflow tool reported how it ended",
    "onboarding.hand-over.begun-anew": "It is handed over to the workflow tool again",
    "onboarding.kickoff.cancelled": "The customer called off the kickoff",
    "onboarding.owner.assigned": "An implementation owner was assigned",
    "onboarding.payload.versioned": "A version of the data was written",
    "onboarding.payload.fixed": "Data was filled in",
    "onboarding.mail.bounced": "A mail did not arrive, or is not wanted",
    "onboarding.welcome.sent": "A welcome mail was sent",
    "onboarding.welcome.stopped": "The welcome mails were stopped",
    "onboarding.welcome.resumed": "The welcome mails were resumed",
    "onboarding.welcome.failed": "A welcome mail was not sent",
    "onboarding.welcome.indeterminate": "A welcome mail may or may not have gone out",
    "onboarding.step.planned": "The step was planned",
    "onboarding.step.reopened": "The step is done after all, as the data asks for it",
    "onboarding.step.observed": "The step was only observed: nothing was written",
    "onboarding.approval.asked": "Somebody was asked to approve the step",
    "onboarding.approval.approved": "The step was approved",
    "onboarding.approval.rejected": "The step was rejected",
    "onboarding.approval.withdrawn": "Nobody need approve the step any more",
    "onboarding.step.claimed": "A worker claimed the step",
    "onboarding.step.succeeded": "The step passed",
    "onboarding.step.skipped": "The step was skipped",
    "onboarding.step.waiting": "The step waits",
    "onboarding.step.retrying": "The step failed and is retried automatically",
    "onboarding.step.parked": "The step waits for the connection",
    "onboarding.step.blocked": "The step is blocked",
    "onboarding.step.retry-requested": "A retry was asked for",
    "onboarding.step.resend-requested": "A resend was requested",
    "onboarding.step.late-result": "A late result was kept as evidence",
    "onboarding.step.lease-expired": "The worker was lost; another takes over",
    "onboarding.match.chosen": "A match was chosen",
    "onboarding.object.created": "An object was created",
    "onboarding.object.linked": "An object was found and linked",
    "onboarding.object.unlinked": "A wrong match was unlinked",
    "onboarding.object.updated": "An object was brought up to date",
    "onboarding.object.replaced": "An object was replaced by another; it stays at the vendor",
    "onboarding.change.requested": "A change of the data was asked for",
    "onboarding.change.applied": "A change of the data was applied",
    "onboarding.change.rejected": "A change request was rejected",
    "onboarding.change.superseded": "A change request was superseded by a newer one",
    "onboarding.change.dismissed": "A change request was dismissed",
    "onboarding.archive.written": "Finished runs were archived",
    "onboarding.archive.calls-removed": "Archived calls were deleted: they were kept long enough",
    "onboarding.api-key.created": "An API key was made",
    "onboarding.api-key.revoked": "An API key was revoked",
    "integrations.connection.tested": "The connection was tested",
    "integrations.connection.set": "The connection was set up or changed",
    "integrations.breaker.opened": "Calls to the vendor were stopped",
    "integrations.breaker.closed": "Calls to the vendor were resumed",
    "integrations.breaker.probe-requested": "A probe was requested",
    "integrations.sandbox.changed": "A sandbox switch was used",
    "integrations.sandbox.paid": "A sample customer paid in the sandbox",
    "integrations.events.retried": "Failed events were processed again",
    "exceptions.ticket.opened": "A ticket was opened",
    "exceptions.ticket.retrying": "The ticket's step is tried again",
    "exceptions.ticket.renewed": "The ticket's problem came back or changed",
    "exceptions.ticket.resolved": "The ticket was resolved",
    "exceptions.ticket.assigned": "The ticket was assigned",
    "exceptions.ticket.snoozed": "The ticket was snoozed",
    "exceptions.ticket.woken": "The snooze was ended",
    "exceptions.ticket.noted": "A note was written on the ticket",
    "exceptions.sla.started": "The clock started",
    "exceptions.sla.at-risk": "The SLA was at risk",
    "exceptions.sla.breached": "The SLA was breached",
    "exceptions.sla.met": "The clock ended",
    "exceptions.sla.cancelled": "The clock was cancelled",
}
HEADINGS = {
    "onboarding.payload": "Data",
    "onboarding.change": "Change request",
    "exceptions.ticket": "Ticket",
    "exceptions.sla": "SLA clock",
}
HIDDEN_FACTS = frozenset({"token", "hash", "step", "steps", "how", "request", "note", "object", "key"})
"""For machines, or said already by the heading and the words."""
PHRASES = {"source": "from {}", "from": "from {}", "reason": "“{}”", "state": "{}"}
LISTED = {"by_hand": "to be changed manually:"}
EMPTY: tuple[Any, ...] = (None, "", [], {}, False)


@dataclass
class Line:
    """One thing that happened, ``times`` times, the last time at ``at``."""

    words: str
    detail: str
    at: datetime
    times: int = 1


@dataclass
class TimelineSection:
    """What one actor did at a stretch to one thing."""

    heading: str
    who: str
    by_person: bool
    step: str
    """The step's key, for a link to its section."""
    began: datetime
    lines: list[Line] = field(default_factory=list)

    @property
    def ended(self) -> datetime:
        return max(line.at for line in self.lines)

    def add(self, words: str, detail: str, at: datetime) -> None:
        """The same again counts up instead of filling the page: a step may fail dozens of times in one way."""
        for line in self.lines:
            if (line.words, line.detail) == (words, detail):
                line.times, line.at = line.times + 1, at
                return
        self.lines.append(Line(words, detail, at))


def entries(some: Iterable[AuditEntry], *, may_see: bool = True) -> list[dict[str, Any]]:
    """One by one, as a ticket's page lists them."""
    names = Names()
    lines = each_shown(some, lambda entry: (entry, _line(entry, names, may_see=may_see)), lambda entry: (entry, CANNOT))
    return [
        {"entry": entry, "who": who(entry.actor, names), "words": words(entry.name), "detail": told}
        for entry, told in lines
    ]


def history_of(shown: Any, audited_as: str = "") -> list[dict[str, Any]]:
    """The latest entries about one object of the set-up: a connection, an API key, or what ``AuditedAdmin`` writes about."""
    match shown:
        case Connection():
            found = audit.about(connection=shown.slug)
        case ApiKey():
            found = audit.about(key=shown.pk)
        case _:
            found = audit.about(object=shown.pk).filter(name__startswith=f"{audited_as}.")
    return entries(found[:SHORT])


def latest_by_others(about: OnboardingTransaction | Ticket, reader: Any) -> str:
    """What another person did to the run or ticket last, as a sentence; empty where nobody did anything in the last hour."""
    entry = latest_entry_by_others(about, reader)
    return sentence(entry) if entry else ""


def latest_entry_by_others(about: OnboardingTransaction | Ticket, reader: Any) -> AuditEntry | None:
    if isinstance(about, Ticket):
        found = about.transaction.audit.all() if about.transaction else of_connection_ticket(about)
    else:
        found = about.audit.all()
    found = found.filter(at__gte=clock.now() - RECENT).exclude(actor__in=(audit.SYSTEM, reader.get_username()))
    acts = [each for each in found.filter(name__in=ACTS).order_by("-pk")[:SHORT] if _is_person(each.actor)]
    if not acts:
        return None
    together = [each for each in acts if each.actor == acts[0].actor and acts[0].at - each.at < AT_ONCE]
    return next((each for each in together if each.name not in CONSEQUENCES), acts[0])


def of_connection_ticket(ticket: Ticket) -> QuerySet[AuditEntry]:
    concerned = Q(data__ticket=ticket.pk)
    if ticket.connection:
        concerned |= Q(data__connection=ticket.connection.slug)
    return audit.about().filter(concerned)


def sentence(entry: AuditEntry) -> str:
    """Who did what and when: ``lead, 12 s ago: the run was put on hold.``"""
    return f"{who(entry.actor)}, {badges.when(entry.at)}: {lowered(words(entry.name))}."


def timeline_sections(
    run: OnboardingTransaction, titles: dict[str, str], names: Names | None = None, *, may_see: bool
) -> tuple[list[TimelineSection], bool]:
    """The latest entries as chapters, oldest first, and whether earlier ones are left out. ``titles``: by step key.

    Steps run beside each other, so their entries alternate: until something else happens to the run, each keeps its own chapter.
    """
    names = names or Names()
    found = entries_of(run, LATEST + 1)
    told: list[TimelineSection] = []
    open_chapters: dict[tuple[str, str], TimelineSection] = {}
    for entry in reversed(found[:LATEST]):
        key = str(entry.data.get("step") or "")
        mark = (key or _heading(entry, titles), entry.actor)
        if not (key and entry.actor == audit.SYSTEM) and mark not in open_chapters:
            open_chapters.clear()
        if mark not in open_chapters:
            chapter = TimelineSection(
                _heading(entry, titles), who(entry.actor, names), _is_person(entry.actor), key, entry.at
            )
            open_chapters[mark] = chapter
            told.append(chapter)
        (told_detail,) = each_shown([entry], lambda each: detail(each, names, may_see=may_see), lambda _: CANNOT)
        open_chapters[mark].add(words(entry.name), told_detail, entry.at)
    _add_polls(run, told)
    return told, len(found) > LATEST


def _add_polls(run: OnboardingTransaction, told: list[TimelineSection]) -> None:
    """Looks that found nothing new are no entries: each step's own are one line in its last chapter."""
    for poll in StepPoll.objects.filter(step__transaction=run, count__gt=0).select_related("step"):
        if (chapter := next((each for each in reversed(told) if each.step == poll.step.key), None)) and poll.last_at:
            chapter.lines.append(Line("The awaited event was polled", "", poll.last_at, poll.count))


def words(name: str) -> str:
    return AUDIT_WORDS.get(name, name)


def who(actor: str, names: Names | None = None) -> str:
    """An actor as people read it: ``system`` is Firstvalue itself, ``key:billing`` an API key."""
    names = names or Names()
    kind, _, name = actor.partition(":")
    match kind:
        case audit.SYSTEM if not name:
            return "Firstvalue"
        case "key" if name:
            return f"API key {name}"
        case "event" if name:
            return f"{name}’s event"
        case "person" if name:
            return names.person(name)
    return names.person(actor)


_EVENTS = {
    OriginKind.BILLING_EVENT: "a billing event",
    OriginKind.ESIGN_EVENT: "an e-signature event",
    OriginKind.CRM_EVENT: "a CRM event",
}


def came_from(origin: Origin | None, names: Names | None = None) -> str:
    """An origin as people read it, as after "from". The sender's own text stands in quotes: it says what it likes."""
    if origin is None:
        return "an unknown source"
    said, name = f"“{origin.label}”" if origin.label else "", origin.name
    match origin.kind:
        case OriginKind.PERSON:
            return f"{who(name, names)} ({origin.label})" if origin.label else who(name, names)
        case OriginKind.BILLING_EVENT | OriginKind.ESIGN_EVENT | OriginKind.CRM_EVENT:
            return f"{_EVENTS[origin.kind]} ({name})" if name else _EVENTS[origin.kind]
        case OriginKind.REST:
            return " ".join(part for part in (said, f"(API key {name})" if name else "") if part) or "the API"
        case OriginKind.IMPORT:
            return f"{said} (imported)".strip()
        case OriginKind.LOOKUP:
            return origin.label or (System(name).label if name in System.values else "a look-up")
        case OriginKind.DERIVED:
            return f"{lowered(field_label(name))} (derived)"
        case OriginKind.RULE:
            return f"the rule for {name}" if name else "a rule"
        case OriginKind.DEFAULT:
            return "the default"
        case OriginKind.CHANGE:
            return "a change request"


def _is_person(actor: str) -> bool:
    return actor != audit.SYSTEM and ":" not in actor


CHOICES: dict[str, type[TextChoices]] = {"category": Category, "topic": Topic}


def _heading(entry: AuditEntry, titles: dict[str, str]) -> str:
    if key := entry.data.get("step"):
        return titles.get(str(key), str(key))
    return HEADINGS.get(entry.name.rpartition(".")[0], "The run")


def detail(entry: AuditEntry, names: Names, *, may_see: bool = True) -> str:
    """The entry's facts in words. Choices and ids are no personal data, but an address may hide in what people wrote."""
    facts = {key: value for key, value in entry.data.items() if key not in HIDDEN_FACTS and value not in EMPTY}
    if owner := str(facts.get("owner", "")):  # of a run's implementation, or of a ticket
        facts["owner"] = names.implementer(owner) if "capacity" in facts else names.person(owner)
    text = ", ".join(
        _fact(key, value, facts, names) for key, value in facts.items() if not _is_shown_with_another(key, facts)
    )
    return text if may_see else redact_text(text)


def _line(entry: AuditEntry, names: Names, *, may_see: bool) -> str:
    step, facts = str(entry.data.get("step") or ""), detail(entry, names, may_see=may_see)
    return ", ".join(part for part in (step, facts) if part)


def _is_shown_with_another(key: str, facts: dict[str, Any]) -> bool:
    """A kind with its id, a playbook's version with its name, and where data came from with who wrote it."""
    return (key, True) in (("kind", "id" in facts), ("version", "playbook" in facts), ("origin", "version" in facts))


def _fact(key: str, value: Any, facts: dict[str, Any], names: Names) -> str:
    match key, value:
        case "paths", [*_]:
            return ", ".join(field_label(str(path)) for path in value)
        case "fields", [*_]:
            return ", ".join(map(str, value))
        case "origin", dict():
            origin = Origin.stored(value)
            return f"{'by' if origin and origin.kind == OriginKind.PERSON else 'from'} {came_from(origin, names)}"
        case "id", _:
            return f"{facts.get('kind', 'id')} {value}"
        case "playbook", _:
            return f"playbook {value} {facts.get('version', '')}".strip()
        case "status", int():
            return f"HTTP {value}"
        case "category" | "topic", str() if value in CHOICES[key].values:
            return str(CHOICES[key](value).label).lower()
        case "for", str() if value in WaitsFor.values:
            return f"for {lowered(str(WaitsFor(value).label))}"
        case "due", str():
            return f"due {value[:16].replace('T', ' ')} UTC"
        case _, True:
            return key
        case _, [*_]:
            return f"{LISTED.get(key, key)} {', '.join(map(str, value))}"
    return PHRASES.get(key, f"{key} {{}}").format(str(value).replace("_", " ") if key == "state" else value)
