"""Findings of an audit, kept so that people look into them."""

from django.db import transaction as db

from integrations import clock
from onboarding.audit.entries import digest_of
from onboarding.engine.locks import locked_run_if_any, retried
from onboarding.models import AuditFinding, OnboardingTransaction
from onboarding.signals import audit_finding_kept


@retried
def keep_finding(text: str) -> bool:
    """Keep what a verification says and tell people. False where it was kept before.

    A finding begins with the id of the run that it is about, where it is about one.
    """
    digest = digest_of(text)
    with db.atomic():
        if AuditFinding.objects.filter(digest=digest).exists():
            return False
        named = OnboardingTransaction.objects.called(text.partition(":")[0]).values_list("pk", flat=True).first()
        with locked_run_if_any(named) as run:
            finding = AuditFinding.objects.create(
                transaction=run, text=text[:1000], digest=digest, found_at=clock.now()
            )
            audit_finding_kept.send(AuditFinding, finding=finding)
    return True
