"""The other pages: runs, evidence, set-up, and a sidebar that shows each person just theirs."""

import re
from typing import Any

import pytest

from exceptions_queue.models import CrmOwner, Ticket
from integrations import crypto
from integrations.enums import EventState
from integrations.models import Connection, InboundEvent
from onboarding.intake import service
from onboarding.models import ApiKey, ChangeRequest
from onboarding.payload.schema import OnboardingPayload
from tests.conftest import Drain, Payload
from tests.exceptions_queue.admin.conftest import QUEUE, RUNS, As, Pay, page, text

pytestmark = pytest.mark.one_database("postgres")


@pytest.fixture
def changed(pay: Pay, payload: Payload, connections: dict[str, Connection], drain: Drain) -> ChangeRequest:
    """A complete run under whose id other content arrived."""
    run = pay("beta")
    drain()
    content = OnboardingPayload.model_validate(
        payload(**run.payload | {"commercial__plan_sku": "enterprise"})
    ).content()
    service.accept(content, actor="tests")
    return ChangeRequest.objects.get()


def test_run_page_shows_the_whole_history(changed: ChangeRequest, as_: As) -> None:
    shown = as_("sales").get(f"{RUNS}{changed.transaction_id}/change/")
    words = text(shown)
    for expected in (
        "Create the delivery project",
        "created by this run",
        "pi_beta",
        "ann@beta-works.com",
        "enterprise",
        "Data, version 1",
    ):
        assert expected in words


def test_pages_of_evidence_and_set_up_open(refused: Ticket, as_: As, people: dict[str, Any]) -> None:
    CrmOwner.objects.create(crm_owner_id="u_1", user=people["sales"])
    admin = as_("admin")
    for name in (
        "integrations/inboundevent", "integrations/apicall", "onboarding/auditentry", "exceptions_queue/alert",
        "exceptions_queue/queue", "exceptions_queue/crmowner", "onboarding/planprice", "onboarding/apikey", "auth/user",
        "auth/group", "exceptions_queue/crmowner/add", "onboarding/planprice/add", "auth/user/add", "auth/group/add",
    ):  # fmt: skip
        assert admin.get(f"/admin/{name}/").status_code == 200, name


SIDEBAR = {
    "Runs": "onboarding/onboardingtransaction",
    "Connections": "integrations/connection",
    "CRM owners": "exceptions_queue/crmowner",
    "Prices": "onboarding/planprice",
    "API keys": "onboarding/apikey",
    "API calls": "integrations/apicall",
    "Audit": "onboarding/auditentry",
}


def test_the_sidebar_shows_each_person_just_theirs(as_: As) -> None:
    def links(name: str) -> set[str]:
        shown = as_(name).get(QUEUE).content.decode()
        return {link for link, page in SIDEBAR.items() if f'href="/admin/{page}/"' in shown}

    assert links("sales") == links("support") == links("finance") == {"Runs"}
    assert links("engineer") == {"Runs", "Connections", "CRM owners", "Prices", "API calls", "Audit"}
    assert links("lead") == {"Runs", "CRM owners", "Audit"}
    assert len(links("admin")) == 7


def test_an_api_key_is_revoked_once(as_: As) -> None:
    key = ApiKey.objects.create(name="billing", prefix="fv_1", digest="d" * 64, scope="intake")
    url = f"/admin/onboarding/apikey/{key.pk}/revoke/"
    assert as_("admin").get(url).status_code == 405
    assert as_("engineer").post(url).status_code == 403
    assert "is revoked" in text(as_("admin").post(url, follow=True))
    assert "Not done" in text(as_("admin").post(url, follow=True))
    key.refresh_from_db()
    assert key.revoked_at
    assert as_("admin").get("/admin/onboarding/apikey/add/").status_code == 403


def test_an_event_is_shown_redacted_and_processed_again(hubspot: Connection, as_: As) -> None:
    event = InboundEvent(
        connection=hubspot,
        external_id="evt_1",
        type="deal.created",
        body=crypto.encrypt('{"id": "evt_1", "email": "jordan@acme-logistics.com", "token": "top-secret-value"}'),
        received_at="2026-11-22T10:00:00Z",
    )
    event.fail(outcome="not understood", retry_at=None)
    event.save()
    url = f"/admin/integrations/inboundevent/{event.pk}/"
    shown = as_("engineer").get(f"{url}change/")
    assert "evt_1" in text(shown)
    assert "jordan@" not in shown.content.decode()
    assert "top-secret-value" not in shown.content.decode()
    assert as_("engineer").get(f"{url}again/").status_code == 405
    assert as_("sales").post(f"{url}again/").status_code == 403
    assert "being processed again" in text(as_("engineer").post(f"{url}again/", follow=True))
    event = InboundEvent.objects.get(pk=event.pk)
    assert event.state == EventState.FAILED
    assert event.due_at is not None


def test_refused_or_missing_pages_use_our_layout(as_: As) -> None:
    refused = as_("sales").get("/admin/integrations/connection/")
    assert (refused.status_code, "You may not see or do this." in text(refused)) == (403, True)
    gone = as_("sales").get(f"{QUEUE}999/change/")
    assert (gone.status_code, "There is nothing here." in text(gone)) == (404, True)


def test_the_answer_to_the_call_that_failed_is_open_on_its_ticket(as_: As, refused: Ticket) -> None:
    shown = as_("engineer").get(page(refused)).content.decode()
    assert re.findall(r'<details class="fv-call"[^>]*? (open)>', shown) == ["open"]
