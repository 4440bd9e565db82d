"""What workflow tools have made for a run that is not to be: nothing here can undo it."""

from onboarding.enums import Category, Topic
from onboarding.models import OnboardingTransaction, Step
from onboarding.signals import run_blocked
from onboarding.steps.registry import HANDLERS

LEFT_OVER = "Handed over to a workflow tool, which alone can undo it:"


def ask_to_remove(run: OnboardingTransaction) -> None:
    """A ticket with all that they have made, or may have, for a person to remove. The caller holds the run locked."""
    if lines := left_over(run):
        run_blocked.send(
            OnboardingTransaction,
            run=run,
            category=Category.VALIDATION_ERROR,
            topic=Topic.SURPLUS,
            message=f"{LEFT_OVER} {'; '.join(lines)}.",
            problems=[],
        )


def left_over(run: OnboardingTransaction) -> list[str]:
    """What tools have made, or may have, for this run, as each is to be removed by hand; for people."""
    steps = [step for step in run.steps.order_by("position") if HANDLERS[step.uses].reports_back]
    return [line for step in steps for line in _left_by(step)]


def _left_by(step: Step) -> list[str]:
    found: dict[str, None] = {}
    for report in step.reports.order_by("pk"):
        for made in report.objects_made:
            found[f"{step.key}: {made['kind']} {_shown(made['external_id'], made['url'])}"] = None
        if not report.objects_made:
            found[
                f"{step.key}: execution {_shown(report.execution_id or 'without a number', report.execution_url)}"
            ] = None
    if not found and (step.mappings.exists() or step.intents.indeterminate().exists()):
        found[f"{step.key}: handed over, no report yet"] = None
    return list(found)


def _shown(name: str, url: str) -> str:
    return f"{name} ({url})" if url else name
