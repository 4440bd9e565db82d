"""What each source told of a run: a redelivery is recognised by it, however often people have changed the data since."""

from typing import Any

from integrations import clock
from onboarding import working_set
from onboarding.models import AcceptedContent, OnboardingTransaction
from onboarding.origins import Origin
from onboarding.payload.schema import digest


def is_redelivery(accepted: AcceptedContent | None, new_digest: str) -> bool:
    """Whether the source has told exactly this before, last or earlier."""
    return accepted is not None and (new_digest == accepted.digest or new_digest in accepted.earlier)


def accepted_from(run: OnboardingTransaction, origin: Origin) -> AcceptedContent | None:
    """What sources of this kind and label told last: a key may be rotated, and its content stays the same."""
    return AcceptedContent.objects.filter(transaction=run, origin=origin.kind, source=origin.label).first()


def accept_content(run: OnboardingTransaction, origin: Origin, content: dict[str, Any]) -> None:
    """From now on this is what the source told last. The caller holds the run locked."""
    told = {"content": content, "digest": digest(content), "accepted_at": clock.now()}
    accepted = accepted_from(run, origin) if run.made is None else None
    if accepted is None:
        first = AcceptedContent(transaction=run, origin=origin.kind, source=origin.label, **told)
        working_set.of(run).insert(first)
        return
    if accepted.digest not in accepted.earlier:
        accepted.earlier = [*accepted.earlier, accepted.digest]
    for name, value in told.items():
        setattr(accepted, name, value)
    accepted.save()
