"""Open pages show by themselves what a colleague does, and a session that expires loses no text; in a real Chromium."""

import re

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, expect

from exceptions_queue.models import Ticket, TicketNote
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import actions
from integrations.models import Connection
from onboarding import services
from onboarding.enums import Scope
from tests.exceptions_queue.admin.conftest import CONNECTIONS, QUEUE, RUNS, Pay, page
from tests.exceptions_queue.admin.ui.test_browser import engineer, sales

__all__ = ["engineer", "sales"]

pytestmark = pytest.mark.browser
SOON = 15_000


def test_page_shows_a_colleagues_fix_without_reload(missing: Ticket, sales: Page) -> None:
    sales.goto(page(missing))
    expect(sales.get_by_role("heading", name="Fill in what is missing")).to_be_visible()
    services.fix(missing.transaction_id or 0, {"customer.domain": "beta-works.com"}, actor="kim")
    expect(sales.get_by_role("heading", name="Fill in what is missing")).to_be_hidden(timeout=SOON)
    expect(sales.get_by_role("link", name="Open the next ticket")).to_be_visible()
    expect(sales.get_by_text(re.compile("kim, .* ago: data was filled in")).first).to_be_visible()


def test_live_update_keeps_typed_text_and_names_who_acted_first(missing: Ticket, sales: Page) -> None:
    sales.goto(page(missing))
    field = sales.get_by_label("Domain", exact=True)
    field.fill("beta-works.de")
    services.fix(missing.transaction_id or 0, {"customer.domain": "beta-works.com"}, actor="kim")
    expect(sales.get_by_text(re.compile("kim, .* ago: data was filled in")).first).to_be_visible(timeout=SOON)
    expect(field).to_have_value("beta-works.de")
    expect(field).to_be_focused()


def test_live_update_keeps_focus_and_expanded_sections(missing: Ticket, sales: Page) -> None:
    sales.goto(page(missing))
    fold = sales.locator("summary").filter(has_text="Timeline")
    fold.click()
    actions.perform(missing.pk, "note", Actor("kim", Scope.OPERATE), text="Called them")
    expect(sales.get_by_text("Called them")).to_be_visible(timeout=SOON)
    expect(fold).to_be_focused()
    expect(sales.get_by_text("A note was written on the ticket").first).to_be_visible()


def test_run_queue_and_home_page_update_live(missing: Ticket, pay: Pay, sales: Page) -> None:
    sales.goto(f"{RUNS}{missing.transaction_id}/change/")
    services.hold(missing.transaction_id or 0, actor="kim", reason="They asked us to wait")
    expect(sales.get_by_text("On hold by kim")).to_be_visible(timeout=SOON)
    sales.goto("/admin/")
    pay("gamma", customer__domain="gmail.com")
    expect(sales.get_by_text("2 tickets wait for you")).to_be_visible(timeout=SOON)
    sales.goto(QUEUE)
    pay("delta", customer__domain="gmail.com")
    expect(sales.get_by_role("link", name="Delta Works")).to_be_visible(timeout=SOON)


def test_ticked_tickets_stay_ticked_when_the_queue_changes(missing: Ticket, pay: Pay, sales: Page) -> None:
    sales.goto(QUEUE)
    box = sales.locator("input.action-select").first
    box.check()
    pay("gamma", customer__domain="gmail.com")
    expect(sales.get_by_text("The list has changed since you opened it.")).to_be_visible(timeout=SOON)
    expect(box).to_be_checked()


def test_open_confirmation_is_not_replaced_and_names_who_acted(missing: Ticket, sales: Page) -> None:
    sales.goto(f"{RUNS}{missing.transaction_id}/act/hold/")
    sales.get_by_label("Reason").fill("They asked us to wait")
    services.hold(missing.transaction_id or 0, actor="kim", reason="Wait")
    expect(sales.get_by_text(re.compile("kim, .* ago: the run was put on hold"))).to_be_visible(timeout=SOON)
    sales.get_by_role("button", name="Hold").click()
    expect(sales.get_by_text("kim put the run on hold already")).to_be_visible()
    expect(sales.get_by_label("Reason")).to_have_value("They asked us to wait")


def test_stopped_connection_is_shown_without_reload(hubspot: Connection, engineer: Page) -> None:
    engineer.goto(f"{CONNECTIONS}{hubspot.pk}/change/")
    expect(engineer.get_by_text("Calls go through")).to_be_visible()
    token = engineer.get_by_label("Token")
    token.fill("half-typed")
    Connection.objects.filter(pk=hubspot.pk).update(enabled=False)
    expect(engineer.get_by_text("Disabled").first).to_be_visible(timeout=SOON)
    expect(token).to_have_value("half-typed")


# --- Sessions


def log_in(tab: Page, name: str) -> None:
    tab.get_by_label("Username").fill(name)
    tab.get_by_label("Password").fill("pw")
    tab.get_by_role("button", name="Log in").click()


def test_typed_text_survives_session_expiry(missing: Ticket, sales: Page) -> None:
    sales.goto(page(missing))
    sales.get_by_label("Write a note").fill("Asked them by phone; they call back.")
    Session.objects.all().delete()
    sales.get_by_role("button", name="Save the note").click()
    log_in(sales, "sales")
    expect(sales.get_by_label("Write a note")).to_have_value("Asked them by phone; they call back.")
    expect(sales.get_by_text("You had to log in again, and nothing was done.")).to_be_visible()
    assert not TicketNote.objects.exists()
    sales.get_by_role("button", name="Save the note").click()
    expect(sales.get_by_text("The note is saved.")).to_be_visible()
    expect(sales.get_by_label("Write a note")).to_have_value("")
    assert TicketNote.objects.get().text == "Asked them by phone; they call back."


def test_typed_reason_survives_session_expiry(missing: Ticket, sales: Page) -> None:
    sales.goto(f"{RUNS}{missing.transaction_id}/act/hold/")
    sales.get_by_label("Reason").fill("They asked us to wait")
    Session.objects.all().delete()
    sales.get_by_role("button", name="Hold").click()
    log_in(sales, "sales")
    expect(sales.get_by_label("Reason")).to_have_value("They asked us to wait")


def test_nobody_else_gets_what_was_typed_and_no_secret_is_kept(
    missing: Ticket, hubspot: Connection, engineer: Page
) -> None:
    engineer.goto(f"{CONNECTIONS}{hubspot.pk}/change/")
    engineer.get_by_label("Token").fill("a-secret-of-ours")
    Session.objects.all().delete()
    engineer.get_by_role("button", name="Test and save").click()
    assert "a-secret-of-ours" not in str(engineer.evaluate("sessionStorage.getItem('fv-draft')"))
    log_in(engineer, "engineer")
    expect(engineer.get_by_label("Token")).to_have_value("")
    engineer.goto(page(missing))
    engineer.get_by_role("main").or_(engineer.locator("body")).first.wait_for()
    engineer.goto(f"{RUNS}{missing.transaction_id}/act/hold/")
    engineer.get_by_label("Reason").fill("Only for me")
    Session.objects.all().delete()
    engineer.get_by_role("button", name="Hold").click()
    log_in(engineer, "lead")
    expect(engineer.get_by_label("Reason")).to_have_value("")
