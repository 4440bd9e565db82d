"""Handing a step over to a workflow tool, at most once, and what the tool's reports mean for the step.

No tool can be asked what it was handed over. So a message whose answer was lost is not sent again by itself: a report shows that it
came, or a person decides, as after any indeterminate create at a vendor of kind ``neither``. A report may come at any time: before
the tool's answer is recorded, after the deadline, or after the run was rolled back.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from integrations.connectors.base import Connector
from onboarding import audit
from onboarding.engine.claiming import Claim
from onboarding.engine.facts import forget_mappings, mappings_of, match_key_of
from onboarding.engine.objects.ensure import ensure
from onboarding.engine.outcomes import Ensured, Failed, HandedOver, IndeterminateOutcome, Outcome
from onboarding.enums import IntentState
from onboarding.models import HandOverReport, Intent, MatchChoice, ObjectMapping, OnboardingTransaction, Step
from onboarding.steps.hand_over import minutes_of
from onboarding.steps.handler import StepHandler
from onboarding.steps.registry import HANDLERS

OVERDUE = "It was handed over, and no report has come until {due:%Y-%m-%d %H:%M} UTC."
MADE = "made:"
"""Begins the item of what the tool says it has made."""


def hand_over(claim: Claim, handler: StepHandler, connector: Callable[[], Connector]) -> Outcome:
    """Hand it over, unless it was. Raises ``ProviderError`` or ``DeadlinePassed``."""
    if claim.known_id:
        url = claim.mapping.url if claim.mapping else ""
        return HandedOver(Ensured(claim.known_id, url, claim.known_from))
    report = standing_report(claim.step)
    if report is not None:
        # It has overtaken the tool's answer, or that was lost.
        reference = claim.intent.reference if claim.intent else ""
        name = report.execution_id or reference
        return HandedOver(Ensured(name, report.execution_url, "report", created_by_us=True))
    outcome = ensure(claim, handler, connector())
    return HandedOver(outcome, sent=outcome.how == "created") if isinstance(outcome, Ensured) else outcome


def is_reported_meanwhile(claim: Claim, outcome: Outcome) -> bool:
    """Whether a report has come although the tool's answer never came: it is looked at before anybody is asked."""
    if not claim.handler.reports_back or claim.plan is not None:
        return False
    return isinstance(outcome, Failed | IndeterminateOutcome) and standing_report(claim.step) is not None


def standing_report(step: Step) -> HandOverReport | None:
    """Of the step's present hand-over: a success counts more than a failure, whichever came first."""
    return HandOverReport.objects.filter(step=step, round=step.round).order_by("-succeeded").first()


def due_at(run: OnboardingTransaction, step: Step) -> datetime:
    """When its report is due."""
    sent = next((each.created_at for each in mappings_of(run, step) if each.item == ""), run.created_at)
    return sent + timedelta(minutes=minutes_of(step.options))


def failure(report: HandOverReport) -> str:
    """In words for people."""
    said = f": {report.message}" if report.message else ", and does not say why."
    return f"The flow has failed{said}"


def noted_report(run: OnboardingTransaction, step: Step, now: datetime) -> HandOverReport | None:
    """``standing_report``; what it tells is kept with the step's objects. The caller holds the run locked."""
    report = standing_report(step)
    if report is not None:
        _note(run, step, report, now)
    return report


def _note(run: OnboardingTransaction, step: Step, report: HandOverReport, now: datetime) -> None:
    """The execution's address on the step's object, and what the tool has made beside it."""
    there = {each.item: each for each in mappings_of(run, step)}
    own = there.get("")
    if own is None:
        return
    if report.execution_url and own.url != report.execution_url:
        own.url = report.execution_url
        own.save()
    for number, made in enumerate(report.objects_made):
        item = f"{MADE}{report.round}.{number}"
        if item in there:
            continue
        ObjectMapping.objects.create(
            transaction=run,
            step=step,
            item=item,
            connection_id=own.connection_id,
            kind=made["kind"],
            external_id=made["external_id"],
            url=made["url"],
            created_by_us=True,
            how="report",
            created_at=now,
        )
        about = {"step": step.key, "kind": made["kind"], "id": made["external_id"], "how": "report"}
        audit.record(run, "onboarding.object.created", data=about)
    forget_mappings(run)


def begin_anew_if_decided(run: OnboardingTransaction, step: Step) -> bool:
    """Before the step is tried again by a person's word: a hand-over that has failed, or that a person has done anew, is over.

    Else it is only waited for. The caller holds the run locked and saves the step.
    """
    handler = HANDLERS[step.uses]
    own = step.mappings.filter(item="").first() if handler.reports_back and not run.is_rolling_back else None
    if own is None:
        return False
    report = standing_report(step)
    asked = MatchChoice.objects.filter(
        connection=step.connection, kind=handler.kind, external_id="", chosen_at__gt=own.created_at
    )
    asked = asked.filter(match_key=match_key_of(run, step))
    if not (report and not report.succeeded) and not asked.exists():
        return False
    asked.delete()
    own.item = f"{ObjectMapping.FORMER}{own.pk}"
    own.save()
    Intent.objects.filter(step=step).update(state=IntentState.NO_EFFECT, indeterminate_since=None)
    step.round += 1
    audit.record(run, "onboarding.hand-over.begun-anew", data={"step": step.key, "round": step.round})
    return True
