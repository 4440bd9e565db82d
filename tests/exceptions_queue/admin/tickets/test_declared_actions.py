"""An action on tickets is declared once: button, endpoint, bulk action and permission matrix follow from it."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from django.urls import include, path
from rest_framework.test import APIClient

from config import urls
from exceptions_queue import permissions
from exceptions_queue.api.urls import action_patterns
from exceptions_queue.models import Ticket
from exceptions_queue.tickets import reference
from exceptions_queue.tickets.actions import ACTIONS, register
from exceptions_queue.tickets.declaration import Action, Bulk, Permission
from exceptions_queue.tickets.forms import Field, Form
from tests.exceptions_queue.admin.conftest import QUEUE, As, act, page, text

Done = list[tuple[int, str, str]]
TICKETS = "/api/v1/exceptions/"


@pytest.fixture
def done(missing: Ticket, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Done:
    """What the made-up action "call-back" did. Nothing but its declaration tells of it; the ticket is in finance's queue."""
    did: Done = []
    declared = Action(
        "call-back",
        "Call back",
        Permission("call_back_ticket", "Can call back", frozenset({"finance"})),
        lambda ticket, actor, data: did.append((ticket.pk, actor.name, data["day"])),
        form=Form("CallBack", (Field("day", label="On which day"),)),
        summary="Call the customer back",
        bulk=Bulk("called back"),
    )
    monkeypatch.setitem(ACTIONS, declared.name, declared)
    permissions.establish()
    made = ModuleType("urls_with_the_action")
    vars(made)["urlpatterns"] = [path("api/v1/", include(action_patterns())), *urls.urlpatterns]
    settings.ROOT_URLCONF = made
    Ticket.objects.filter(pk=missing.pk).update(queue="finance")
    return did


def bulk(ticket: Ticket) -> dict[str, Any]:
    return {"ticket": [ticket.pk], "day": "Wednesday"}


def test_a_declared_action_is_offered_and_done_at_every_door(
    done: Done, missing: Ticket, as_: As, api_key: Callable[[str], str]
) -> None:
    finance, url = as_("finance"), act(missing, "call-back")
    key = APIClient(headers={"Authorization": f"Bearer {api_key('operate')}"})

    shown = finance.get(page(missing)).content.decode()
    assert f'action="{url}"' in shown
    assert 'name="day"' in shown
    assert finance.post(url, {}).status_code == 422
    assert finance.post(url, {"day": "Monday"}).status_code == 302

    assert "call-back" in key.get(f"{TICKETS}{missing.pk}/").json()["available_actions"]
    assert key.post(f"{TICKETS}{missing.pk}/call-back/", {}, format="json").status_code == 400
    assert key.post(f"{TICKETS}{missing.pk}/call-back/", {"day": "Tuesday"}, format="json").status_code == 200

    assert 'value="call-back_selected"' in finance.get(QUEUE).content.decode()
    chosen = finance.post(QUEUE, {"action": "call-back_selected", "_selected_action": [missing.pk]})
    assert "Call back 1 ticket?" in text(chosen)
    assert finance.post(f"{QUEUE}bulk/call-back/", {"ticket": [missing.pk]}).status_code == 422
    assert "1 of 1 are called back" in text(finance.post(f"{QUEUE}bulk/call-back/", bulk(missing)))

    assert {group for group, granted in permissions.matrix().items() if "call_back_ticket" in granted} == {"finance"}
    assert "| `call-back` |  |  |  | yes |  |" in reference.page()
    assert done == [
        (missing.pk, "finance", "Monday"),
        (missing.pk, "key:test operate", "Tuesday"),
        (missing.pk, "finance", "Wednesday"),
    ]


@pytest.mark.parametrize("who", ["sales", "support", "engineer", "lead"])
def test_without_its_permission_it_is_refused_at_the_console(done: Done, missing: Ticket, as_: As, who: str) -> None:
    browser, url = as_(who), act(missing, "call-back")
    assert url not in browser.get(page(missing)).content.decode()
    assert "call-back_selected" not in browser.get(f"{QUEUE}?queue=all").content.decode()
    assert browser.post(url, {"day": "Monday"}).status_code == 403
    assert browser.post(f"{QUEUE}bulk/call-back/", bulk(missing)).status_code == 403
    assert done == []


@pytest.mark.parametrize("scope", ["intake", "read"])
def test_without_its_scope_a_key_is_refused(
    done: Done, missing: Ticket, api_key: Callable[[str], str], scope: str
) -> None:
    key = APIClient(headers={"Authorization": f"Bearer {api_key(scope)}"})
    answer = key.post(f"{TICKETS}{missing.pk}/call-back/", {"day": "Monday"}, format="json")
    assert (answer.status_code, done) == (403, [])


def test_what_is_not_meant_for_many_is_no_bulk_action(missing: Ticket, as_: As) -> None:
    assert as_("lead").post(f"{QUEUE}bulk/fix/", {"ticket": [missing.pk]}).status_code == 404


def test_a_second_declaration_of_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="retry"):
        register(ACTIONS["retry"])
