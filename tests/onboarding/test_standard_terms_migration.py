"""Rows from before fields and intents had their standard names keep their meaning, forwards and backwards."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.utils import timezone

from onboarding.models import AuditEntry, Intent, OnboardingTransaction, Step, StepPoll
from tests.onboarding.conftest import Accept
from tests.support.migrations import executor

pytestmark = pytest.mark.django_db(transaction=True)

APPS = ("integrations", "onboarding", "exceptions_queue")
Target = list[tuple[str, str]]


def files_of(app: str) -> list[str]:
    found = (Path(apps.get_app_config(app).path) / "migrations").glob("[0-9]*.py")
    return sorted(file.stem for file in found if "_squashed_" not in file.stem)


def before() -> Target:
    """The state right before each app's ``standard_terms``."""
    names = {app: files_of(app) for app in APPS}
    at = {app: next(i for i, name in enumerate(names[app]) if name.endswith("_standard_terms")) for app in APPS}
    return [(app, names[app][at[app] - 1]) for app in APPS]


def migrate(target: Target) -> Any:
    executor().migrate(target)
    return executor().loader.project_state(target).apps


@pytest.fixture
def latest() -> Iterator[Target]:
    target = [(app, files_of(app)[-1]) for app in APPS]
    yield target
    migrate(target)


def test_stored_rows_keep_their_meaning_in_both_directions(latest: Target, accept: Accept) -> None:
    run, moment = accept(), timezone.now()
    step = Step.objects.filter(transaction=run)[0]
    frozen = {"params": {}, "request_hash": "h", "token": 1, "send_by": moment, "created_at": moment}
    for item, state in (("", "indeterminate"), ("a", "accepted"), ("b", "no-effect"), ("c", "done")):
        Intent.objects.create(transaction=run, step=step, item=item, reference=f"r{item}", state=state, **frozen)
    Intent.objects.filter(item="").update(indeterminate_since=moment)
    StepPoll.objects.create(step=step, enqueued_until=moment)
    Step.objects.filter(pk=step.pk).update(enqueued_until=moment)
    entries = AuditEntry.objects.count()

    old = migrate(before())

    rows = old.get_model("onboarding", "Intent").objects.order_by("item")
    assert [row.state for row in rows] == ["open", "accepted", "no-effect", "done"]
    assert rows[0].unknown_since == moment
    assert old.get_model("onboarding", "Step").objects.get(pk=step.pk).hinted_until == moment
    old.get_model("integrations", "Connection").objects.create(
        slug="old", system="crm", provider="hubspot", pace=3, ramping=True, pace_changed_at=moment
    )
    trace = {"amount_minor": 1, "currency": "EUR", "occurred_at": moment, "told": {"pi_1": "digest"}}
    connection = old.get_model("integrations", "Connection").objects.get(slug="old")
    old.get_model("onboarding", "PaymentTrace").objects.create(connection_id=connection.pk, **trace)
    clock = old.get_model("exceptions_queue", "SlaClock").objects.filter(transaction_id=run.pk).first()
    alert = {"clock": clock, "rung": "at-risk", "recipient": "kim@example.com", "created_at": moment}
    old.get_model("exceptions_queue", "Alert").objects.create(**alert)

    migrate(latest)

    assert [row.state for row in Intent.objects.order_by("item")] == ["indeterminate", "accepted", "no-effect", "done"]
    assert Intent.objects.get(item="").indeterminate_since == moment
    assert StepPoll.objects.get(step=step).enqueued_until == moment
    (kept,) = apps.get_model("integrations", "Connection").objects.filter(slug="old")
    assert (kept.concurrency_limit, kept.slow_start, kept.concurrency_changed_at) == (3, True, moment)
    assert apps.get_model("onboarding", "PaymentTrace").objects.get().object_digests == {"pi_1": "digest"}
    assert apps.get_model("exceptions_queue", "Alert").objects.get().level == "at-risk"
    assert AuditEntry.objects.count() == entries
    with pytest.raises(Exception, match="append-only"):
        AuditEntry.objects.filter(transaction=run).update(at=moment + timedelta(days=1))
    assert OnboardingTransaction.objects.get().pk == run.pk
