"""What each source told of a run: a redelivery is recognised by it, however often people have changed the data since."""

from typing import Any

from integrations import clock
from onboarding.models import AcceptedContent, OnboardingTransaction
from onboarding.payload.schema import digest


def was_told(accepted: AcceptedContent | None, new_digest: str) -> bool:
    """Whether the source has told exactly this before, last or earlier."""
    return accepted is not None and (new_digest == accepted.digest or new_digest in accepted.earlier)


def accept_content(run: OnboardingTransaction, source: str, content: dict[str, Any]) -> None:
    """From now on this is what the source told last. The caller holds the run locked."""
    accepted = AcceptedContent.objects.filter(transaction=run, source=source).first()
    if accepted is None:
        accepted = AcceptedContent(transaction=run, source=source)
    elif accepted.digest not in accepted.earlier:
        accepted.earlier = [*accepted.earlier, accepted.digest]
    accepted.content, accepted.digest, accepted.accepted_at = content, digest(content), clock.now()
    accepted.save()
