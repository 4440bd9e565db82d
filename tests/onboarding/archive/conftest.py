"""Finished runs of long ago, and the command."""

import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from integrations import clock
from integrations.models import ApiCall, Connection
from onboarding.audit import anchors
from onboarding.enums import Status
from onboarding.models import Attempt, AuditEntry, OnboardingTransaction
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, accept, customer  # noqa: F401  (a fixture)

LONG = timedelta(days=130)
Finished = Callable[..., OnboardingTransaction]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.ARCHIVE_DIR = tmp_path / "archive"
    return tmp_path / "archive"


@pytest.fixture
def finished(connections: dict[str, Connection], accept: Accept, drain: Drain) -> Finished:  # noqa: F811
    """``finished("beta")``: that customer's run, complete and anchored; nobody has moved the clock since."""

    def finish(name: str = "acme", **overrides: Any) -> OnboardingTransaction:
        made = accept(**(customer(name) | overrides))
        drain()
        run = OnboardingTransaction.objects.get(pk=made.pk)
        assert run.status == Status.COMPLETE
        clock.shift(timedelta(seconds=301))
        assert anchors.append_if_due()
        return run

    return finish


@pytest.fixture
def old(finished: Finished) -> OnboardingTransaction:
    run = finished()
    clock.shift(LONG)
    return run


def command(*options: str) -> str:
    """What it says on both outputs; where it refuses, it raises with all of it."""
    name, *options_of = options
    out = io.StringIO()
    try:
        call_command(name, *options_of, stdout=out, stderr=out)
    except CommandError as error:
        raise CommandError(f"{out.getvalue()}{error}") from None
    return out.getvalue()


def archive(*options: str) -> str:
    return command("archive", *options)


def verify() -> str:
    return command("audit", "verify")


def rows() -> tuple[int, int, int]:
    """Audit entries, attempts and calls of runs that stand in the database."""
    calls = ApiCall.objects.filter(subject__startswith="step:").count()
    return AuditEntry.objects.exclude(transaction=None).count(), Attempt.objects.count(), calls
