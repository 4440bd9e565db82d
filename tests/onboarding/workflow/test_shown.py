"""What people see of a hand-over: its execution at the tool, on the run's page and on the ticket."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from exceptions_queue.models import UNRESOLVED, Ticket
from integrations import clock
from onboarding import services
from onboarding.models import OnboardingTransaction
from tests.conftest import Drain
from tests.onboarding.conftest import step_of
from tests.support.workflow_tools import reported

EXECUTION = "https://n8n.example/workflow/w1/executions/231"
pytestmark = pytest.mark.usefixtures("workflow_playbook", "hubspot")


@pytest.fixture
def admin(people: dict[str, User]) -> Client:
    client = Client()
    client.force_login(people["admin"])
    return client


def run_page(admin: Client, run: OnboardingTransaction) -> str:
    return admin.get(reverse("admin:onboarding_onboardingtransaction_change", args=[run.pk])).content.decode()


def ticket_page(admin: Client) -> str:
    ticket = Ticket.objects.get(status__in=UNRESOLVED)
    return admin.get(reverse("ticket", args=[ticket.pk]), follow=True).content.decode()


def name_of(run: OnboardingTransaction) -> str:
    return f"{run.onboarding_transaction_id}/territory/0"


def test_the_execution_of_a_failed_flow_is_on_the_ticket_and_on_the_run(
    run: OnboardingTransaction, n8n: str, admin: Client
) -> None:
    told = {"message": "No territory for DE.", "execution": {"id": "231", "url": EXECUTION}}
    reported(n8n, name_of(run), "workflow.failed", **told)
    for page in (ticket_page(admin), run_page(admin, run)):
        assert f'href="{EXECUTION}"' in page
        assert "No territory for DE." in page
    assert "Open the execution in n8n" in ticket_page(admin)


def test_what_the_flow_made_is_on_the_run(run: OnboardingTransaction, n8n: str, admin: Client, drain: Drain) -> None:
    made = [{"kind": "territory", "id": "emea-4", "url": "https://crm.example/emea-4"}]
    reported(n8n, name_of(run), objects=made, execution={"id": "231", "url": EXECUTION})
    drain()
    page = run_page(admin, run)
    assert f'href="{EXECUTION}"' in page
    assert 'href="https://crm.example/emea-4"' in page
    assert "The workflow tool reported how it ended" in page


def test_a_retry_says_beforehand_that_it_waits(run: OnboardingTransaction) -> None:
    effect = services.retry_preview(step_of(run, "territory").pk)
    assert (effect.verdict, effect.title) == ("look-up", "Assign the sales territory")
    assert "its report is looked for" in effect.text


def test_the_ticket_of_an_unreported_one_says_what_to_do(
    run: OnboardingTransaction, n8n: str, admin: Client, drain: Drain
) -> None:
    clock.shift(timedelta(minutes=61))
    drain()
    page = ticket_page(admin)
    assert "Has n8n done its part for Acme Logistics?" in page
    assert "skip the step" in page
