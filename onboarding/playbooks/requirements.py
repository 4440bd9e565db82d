"""What the gate demands of a run: what every run needs, and what its playbook ``requires`` beyond that."""

from collections.abc import Collection
from typing import Any

from onboarding.models import OnboardingTransaction
from onboarding.payload import gate
from onboarding.payload.gate import Problem, still_confirmed
from onboarding.playbooks.playbook import serving


def problems_of(run: OnboardingTransaction, content: dict[str, Any] | None = None) -> list[Problem]:
    """The problems of the run's data, or of ``content`` in its place; what people have confirmed is none."""
    content = run.payload if content is None else content
    return problems(content, still_confirmed(run.snapshot, content), run=run)


def problems(
    content: dict[str, Any], confirmed: Collection[str] = frozenset(), *, run: OnboardingTransaction | None = None
) -> list[Problem]:
    """As ``gate.problems``, with what is required by the run's playbook, or by the one that would serve this payload."""
    return gate.problems(content, confirmed, also=_required(content, run))


def _required(content: dict[str, Any], run: OnboardingTransaction | None) -> Collection[str]:
    if run is not None and run.playbook is not None:
        required: Collection[str] = run.playbook.definition.get("requires", ())
        return required
    playbook = serving(content)
    return playbook.requires if playbook else ()
