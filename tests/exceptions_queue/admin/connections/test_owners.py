"""Ids of people at vendors are checked when they are entered; correcting a wrong one lets the open runs go on."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from exceptions_queue.models import UNRESOLVED, Ticket
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding.enums import Category, StepState
from onboarding.models import ImplementationOwner, OnboardingTransaction
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import As, Pay, text

pytestmark = pytest.mark.one_database("postgres")
WRONG, RIGHT = "u_999", "u_456"


def save(client: Client, external_id: str, owner: ImplementationOwner | None = None) -> str:
    name = "onboarding_implementationowner"
    url = reverse(f"admin:{name}_change", args=[owner.pk]) if owner else reverse(f"admin:{name}_add")
    form = {"external_id": external_id, "name": "Kim Sato", "email": "", "territories": "", "segments": ""}
    return text(client.post(url, {**form, "capacity": "5", "active": "on"}, follow=True))


def test_an_owner_whom_the_vendor_does_not_know_is_refused_at_once(as_: As, connections: dict[str, Connection]) -> None:
    shown = save(as_("engineer"), WRONG)
    assert f"asana knows no active user {WRONG}." in shown
    assert not ImplementationOwner.objects.exists()
    assert "added successfully" in save(as_("engineer"), RIGHT)


def test_somebody_who_has_left_the_vendor_can_still_be_switched_off(
    as_: As, connections: dict[str, Connection]
) -> None:
    owner = ImplementationOwner.objects.create(external_id=WRONG, name="Kim Sato")
    form = {"external_id": WRONG, "name": "Kim Sato", "email": "", "territories": "", "segments": "", "capacity": "5"}
    url = reverse("admin:onboarding_implementationowner_change", args=[owner.pk])
    assert "changed successfully" in text(as_("engineer").post(url, form, follow=True))
    assert not ImplementationOwner.objects.get().active


def test_an_owner_who_cannot_be_checked_now_is_saved_and_said_to_be_unchecked(
    as_: As, connections: dict[str, Connection], sandbox: SandboxControl
) -> None:
    sandbox.add_fault(vendor="asana", kind="error_before")
    shown = save(as_("engineer"), RIGHT)
    assert "Saved without a check." in shown
    assert ImplementationOwner.objects.get().external_id == RIGHT


def test_correcting_an_owner_resumes_every_open_run(
    as_: As, pay: Pay, drain: Drain, connections: dict[str, Connection], whole_playbook: None, smtp: Connection
) -> None:
    owner = ImplementationOwner.objects.create(external_id=WRONG, name="Kim Sato", capacity=9)
    runs = [pay(name, ownership__implementation_owner_id="") for name in ("beta", "gamma")]
    drain()
    tickets = Ticket.objects.filter(status__in=UNRESOLVED)
    assert {(each.category, each.step.key, each.queue) for each in tickets} == {
        (Category.VALIDATION_ERROR, "kickoff.task", "revenue-operations")
    }, "the queue whose people may correct the table"
    assert "2 open runs have the corrected owner" in save(as_("engineer"), RIGHT, owner)
    drain()
    assert not Ticket.objects.filter(status__in=UNRESOLVED).exists()
    for run in runs:
        assert OnboardingTransaction.objects.get(pk=run.pk).implementation_owner_id == RIGHT
        assert run.steps.get(key="kickoff.task").state == StepState.WAITING


def test_the_doctor_names_people_whom_their_system_does_not_know(connections: dict[str, Connection]) -> None:
    owner = ImplementationOwner.objects.create(external_id=RIGHT, name="Kim Sato")
    out = StringIO()
    call_command("doctor", stdout=out, no_color=True)
    assert f"ok     Implementation owner Kim Sato: {RIGHT} is Kim Sato at asana." in out.getvalue()
    ImplementationOwner.objects.filter(pk=owner.pk).update(external_id=WRONG)
    with pytest.raises(CommandError, match="1 people need attention"):
        call_command("doctor", stdout=out, no_color=True)
    assert f"wrong  Implementation owner Kim Sato: asana knows no active user {WRONG}." in out.getvalue()


def test_an_owner_whom_the_crm_does_not_know_is_refused_at_once(
    as_: As, people: dict[str, User], connections: dict[str, Connection]
) -> None:
    url = reverse("admin:exceptions_queue_crmowner_add")
    lead = as_("lead")
    shown = text(lead.post(url, {"crm_owner_id": "u_000", "user": people["sales"].pk}, follow=True))
    assert "hubspot knows no active user u_000." in shown
    assert "added successfully" in text(
        lead.post(url, {"crm_owner_id": "u_789", "user": people["sales"].pk}, follow=True)
    )
