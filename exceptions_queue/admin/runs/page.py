"""Everything that a run's page shows: its picture, a section for each step, its story, gathered with a fixed number
of queries.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q, prefetch_related_objects

from exceptions_queue import roles
from exceptions_queue.admin.runs import actions as run_actions
from exceptions_queue.admin.runs import changes, graph_layout
from exceptions_queue.admin.runs.actions import Button
from exceptions_queue.admin.runs.graph_layout import Drawing, Node
from exceptions_queue.admin.runs.payloads import HIDDEN, versions
from exceptions_queue.admin.tickets import page as ticket_page
from exceptions_queue.admin.tickets import texts
from exceptions_queue.admin.tickets.page import Row
from exceptions_queue.admin.ui import badges, timeline
from exceptions_queue.admin.ui.display_names import Names
from exceptions_queue.admin.ui.safe_rows import CANNOT, each_shown
from exceptions_queue.admin.welcome import rows as welcome_rows
from exceptions_queue.models import Ticket, covering
from exceptions_queue.roles import SEE_PERSONAL
from exceptions_queue.tickets import naming
from integrations import clock
from integrations.http.redaction import redact_text
from integrations.models import ApiCall
from onboarding.archive.history import archived_history, calls_of, named
from onboarding.engine.runs.prerequisites import needs_approval
from onboarding.enums import OVER, Status, StepState
from onboarding.models import Approval, Attempt, AuditEntry, Intent, ObjectMapping, OnboardingTransaction, Step
from onboarding.playbooks.selection import pinned_steps, why_not

CALLS = 50
ATTEMPTS = 200
LETTERS = 23
"""That fit on one line of a box in the picture."""


@dataclass(frozen=True)
class Box:
    """A step in the picture. ``lines`` are its title's; the ``y`` of each is the template's to add."""

    node: Node
    row: Row
    state: str
    lines: list[str]
    foot: str


@dataclass(frozen=True)
class Picture:
    drawing: Drawing
    boxes: list[Box]
    edges: list[tuple[str, bool]]
    """Each edge's path, and whether what it waits for is done."""


@dataclass(frozen=True)
class Section:
    """One step's own part of the page."""

    row: Row
    state: str
    took: str
    after: list[tuple[str, str]]
    """Key and title of each step that comes before."""
    said_by: str
    message: str
    attempts: list[tuple[Attempt, str]]
    polled: str
    intents: list[Intent]
    approvals: list[Approval]
    objects: list[dict[str, Any]]
    calls: list[ApiCall]
    buttons: list[Button]
    open: bool


def context(run: OnboardingTransaction, user: User) -> dict[str, Any]:
    may_see, names = user.has_perm(SEE_PERSONAL), Names()
    rows = ticket_page.progress(run)
    prefetch_related_objects([row.step for row in rows], roles.with_tickets())
    welcome_rows.fetch(run, [row.step for row in rows])
    titles = {row.step.key: row.name for row in rows}
    story, earlier = timeline.timeline_sections(run, titles, names, may_see=may_see)
    calls = _calls(run, [row.step for row in rows], user)
    attempts = _attempts(run, may_see=may_see)
    mappings = list(run.mappings.select_related("connection", "step").order_by("step__position", "pk"))
    objects = _objects(run, mappings, may_see=may_see)
    return {
        "run": run,
        "rows": rows,
        "picture": _picture(rows, attempts),
        "sections": _sections(run, user, rows, attempts, objects, calls, may_see=may_see),
        "mappings": _grouped(objects),
        "welcome_mails": welcome_rows.of_run(run, user, names, may_see=may_see),
        "calls": badges.calls(calls),
        "most_calls": CALLS,
        "story": story,
        "archived": archived_history(run).notes,
        "earlier": earlier,
        "banners": banners(run, names, may_see=may_see),
        "buttons": [*run_actions.for_run(run, user), *changes.buttons(run, user)],
        "facts": _facts(run, rows, names, may_see=may_see),
        "keys": [
            (key.kind, key.value if may_see else redact_text(key.value))
            for key in run.correlation_keys.order_by("kind")[:50]
        ],
        "versions": versions(run, names, may_see=may_see),
        "may_see": may_see,
        "tickets": _tickets(run),
        "changes": changes.latest(run, names, may_see=may_see),
        "may_decide": changes.may_decide(user, run),
    }


# --- The picture


def _picture(rows: list[Row], attempts: dict[int, list[Attempt]]) -> Picture | None:
    if not rows:
        return None
    drawing = graph_layout.draw((row.step.key, _after(row.step, rows)) for row in rows)
    done = {row.step.key for row in rows if row.step.is_done}
    boxes = [
        Box(
            node,
            row,
            state(row),
            graph_layout.wrap(row.name, LETTERS),
            foot(row.step, len(attempts.get(row.step.pk, []))),
        )
        for node, row in zip(drawing.nodes, rows, strict=True)
    ]
    return Picture(drawing, boxes, [(edge.path, edge.before in done) for edge in drawing.edges])


def _after(step: Step, rows: list[Row]) -> list[str]:
    """The playbook's, and for its first steps those that run before any playbook is chosen (a look-up in the CRM)."""
    before = [row.step.key for row in rows if row.step.position == 0]
    return list(step.after) or ([] if step.position == 0 else before)


def state(row: Row) -> str:
    if row.left:
        return row.left.label
    return "Parked" if row.parked else str(row.step.get_state_display())


def foot(step: Step, tries: int) -> str:
    """How long it took, or has been going on, and in how many attempts: ``2 min, 3 attempts``."""
    many = f"{tries} attempt{'s' if tries != 1 else ''}" if tries else ""
    return ", ".join(part for part in (took(step), many) if part)


def took(step: Step) -> str:
    if step.started_at is None:
        return ""
    length = (step.finished_at or clock.now()) - step.started_at
    return "under 1 s" if length < timedelta(seconds=1) else badges.span(length)


# --- The steps, one by one


def _sections(
    run: OnboardingTransaction,
    user: User,
    rows: list[Row],
    attempts: dict[int, list[Attempt]],
    objects: list[dict[str, Any]],
    calls: list[ApiCall],
    *,
    may_see: bool,
) -> list[Section]:
    titles = {row.step.key: row.name for row in rows}
    intents = list(run.intents.order_by("pk"))
    approvals = list(run.approvals.all()) if any(needs_approval(row.step) for row in rows) else []
    for intent in intents:
        if not may_see:
            intent.reference = redact_text(intent.reference)
    made = []
    for row in rows:
        step = row.step
        mine = [shown for shown in objects if shown["mapping"].step_id == step.pk]
        made.append(
            Section(
                row=row,
                state=state(row),
                took=took(step),
                after=[(key, titles[key]) for key in _after(step, rows) if key in titles],
                said_by=naming.vendor(step.connection) if step.http_status else "",
                message=step.message if may_see else redact_text(step.message),
                attempts=[(attempt, texts.outcome(attempt)) for attempt in attempts.get(step.pk, [])],
                polled=ticket_page.polled(step),
                intents=[intent for intent in intents if intent.step_id == step.pk],
                approvals=[approval for approval in approvals if approval.step_id == step.pk],
                objects=_grouped(mine),
                calls=[call for call in calls if call.subject == _subject(step)],
                buttons=run_actions.for_step(run, step, [shown["mapping"] for shown in mine], user),
                open=row.step.state not in (*OVER, StepState.PENDING),
            )
        )
    return made


def _attempts(run: OnboardingTransaction, *, may_see: bool) -> dict[int, list[Attempt]]:
    """The latest of them by step, oldest first."""
    found: dict[int, list[Attempt]] = {}
    latest = list(reversed(Attempt.objects.filter(step__transaction=run).order_by("-pk")[:ATTEMPTS]))
    for attempt in [*archived_history(run).attempts, *latest][-ATTEMPTS:]:
        if not may_see:
            attempt.message = redact_text(attempt.message)
        found.setdefault(attempt.step_id, []).append(attempt)
    return found


def _calls(run: OnboardingTransaction, steps: Iterable[Step], user: User) -> list[ApiCall]:
    """The run's latest calls; none for those who may not see calls."""
    if not user.has_perm("integrations.view_apicall"):
        return []
    return calls_of(run, {_subject(step) for step in steps}, CALLS)


def _subject(step: Step) -> str:
    return f"step:{step.pk}"


def _objects(run: OnboardingTransaction, mappings: list[ObjectMapping], *, may_see: bool) -> list[dict[str, Any]]:
    content = run.payload
    for mapping in mappings:
        mapping.step.transaction = run  # here already
    return each_shown(mappings, lambda each: _object(each, content, may_see=may_see), _unreadable)


def _unreadable(mapping: ObjectMapping) -> dict[str, Any]:
    return {"mapping": mapping, "item": CANNOT, "link": "", "vendor": naming.vendor(mapping.connection), "how": ""}


def _object(mapping: ObjectMapping, content: dict[str, Any], *, may_see: bool) -> dict[str, Any]:
    return {
        "mapping": mapping,
        "item": texts.item_name(mapping.step, mapping.item, content, may_see=may_see),
        "link": ticket_page.safe_link(mapping.url),
        "vendor": naming.vendor(mapping.connection),
        "how": "created by this run" if mapping.created_by_us else f"found by {mapping.how}",
    }


def _grouped(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Objects of one step in one row, such as its tasks: ``several`` has them where there are more than one."""
    found = []
    for _, group in groupby(objects, key=lambda shown: (shown["mapping"].step_id, shown["mapping"].kind)):
        several = list(group)
        hows = Counter(shown["how"] for shown in several)
        how = ", ".join(f"{count} {text}" if len(hows) > 1 else text for text, count in hows.items())
        what = f"{len(several)} {naming.plural(several[0]['mapping'].kind)}"
        found.append({**several[0], "several": several, "what": what, "how": how} if several[1:] else several[0])
    return found


# --- What stands around them


def banners(run: OnboardingTransaction, names: Names, *, may_see: bool) -> list[dict[str, Any]]:
    """That it stands still by a person's word: who, why, since when."""
    if run.status == Status.CANCELLED:
        entry = _latest(run, "onboarding.run.cancelled")
        by, what, look = entry.actor if entry else "", "Cancelled", ("cancel", badges.BAD)
        at_word = "at"
        why, at = run.cancel_reason, run.cancelled_at
    elif run.rollback_at:
        entry = _latest(run, "onboarding.run.rolling-back")
        by, what, look = entry.actor if entry else "", run.get_status_display(), ("undo", badges.BAD)
        at_word = "since" if run.is_rolling_back else "asked for at"
        why, at = run.rollback_reason, run.rollback_at
    elif run.held_at:
        by, what, look = run.held_by, "On hold", ("front_hand", badges.RISK)
        at_word = "since"
        why, at = run.hold_reason, run.held_at
    else:
        return []
    icon, tone = look
    text = f"{what} by {timeline.who(by, names)}" if by else what
    shown = why if may_see else redact_text(why)
    return [{"icon": icon, "tone": tone, "text": text, "why": shown, "at": at, "at_word": at_word}]


def _latest(run: OnboardingTransaction, name: str) -> AuditEntry | None:
    return next(reversed(named(run, name)), None)


def _tickets(run: OnboardingTransaction) -> list[dict[str, Any]]:
    """Its own, and those that hold it up from elsewhere: a connection's, or those of a run that holds a reservation
    it waits for.
    """
    elsewhere = list(covering(run).values_list("pk", flat=True))  # as a sub-query it would be asked for every ticket
    about = Ticket.objects.filter(Q(transaction=run) | Q(pk__in=elsewhere))
    found = about.select_related("owner", "step", "transaction", "connection", "mapping__step").order_by("-pk")[:50]
    return [
        {
            "ticket": ticket,
            "category": badges.category(ticket),
            "place": texts.place(ticket),
            "owner": badges.person(ticket.owner),
        }
        for ticket in found
    ]


def _facts(run: OnboardingTransaction, rows: list[Row], names: Names, *, may_see: bool) -> list[tuple[str, Any]]:
    return [
        ("Transaction", run.onboarding_transaction_id),
        ("Source", run.event_source),
        ("Customer", run.customer_name or "—"),
        ("Domain", run.domain or "—"),
        ("Contact", (run.contact_email or "—") if may_see else HIDDEN),
        ("Plan", run.plan_sku or "—"),
        ("Segment", run.segment or "—"),
        ("Owner", getattr(run, "owner_name", None) or run.crm_owner_id or "—"),
        ("Paid", badges.moment(run.occurred_at)),
        ("Set up", badges.moment(run.provisioned_at)),
        ("Complete", badges.moment(run.completed_at)),
        *((each.get_milestone_display(), badges.clock_sla(each, named=False).html) for each in run.clocks.all()),
        ("Implementation owner", names.implementer(run.implementation_owner_id) or "—"),
        ("Playbook", str(run.playbook) if run.playbook else "—"),
        *((("Why this playbook", reason),) if (reason := _why_this_playbook(run)) else ()),
        *((("Not in this run", left_out),) if (left_out := _left_out(run, rows)) else ()),
    ]


def _left_out(run: OnboardingTransaction, rows: list[Row]) -> str:
    """Steps of the playbook that are no part of this run, and why."""
    if run.playbook is None:
        return ""
    kept = {row.step.key for row in rows}
    return " ".join(
        f"{spec.key}: {naming.lowered(why_not(spec))}" for spec in pinned_steps(run.playbook) if spec.key not in kept
    )


def _why_this_playbook(run: OnboardingTransaction) -> str:
    """As it was chosen; empty before that."""
    entry = _latest(run, "onboarding.run.provisioning")
    return str(entry.data.get("reason", "")) if entry else ""
