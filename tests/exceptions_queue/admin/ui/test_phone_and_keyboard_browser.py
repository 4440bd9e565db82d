"""On a phone, and by keyboard: in a real Chromium."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from exceptions_queue.models import Ticket
from onboarding.models import AuditEntry
from tests.exceptions_queue.admin.conftest import CONNECTIONS, QUEUE, RUNS, As, Pay, open_ticket, page
from tests.exceptions_queue.admin.ui.test_browser import sales

__all__ = ["sales"]
pytestmark = pytest.mark.browser


@pytest.fixture
def phone(chromium: Browser, live_server: LiveServer, as_: As) -> Iterator[Page]:
    """An administrator, who sees every page, on a screen of 390 px."""
    client: Client = as_("admin")
    name = settings.SESSION_COOKIE_NAME
    context = chromium.new_context(base_url=live_server.url, viewport={"width": 390, "height": 844})
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_no_page_scrolls_sideways(refused: Ticket, pay: Pay, phone: Page, theme: str) -> None:
    asked = open_ticket(pay("a-name-that-does-not-want-to-end-anywhere-soon", commercial__term=None))
    phone.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    run = f"{RUNS}{asked.transaction_id}/change/"
    connection = f"{CONNECTIONS}{refused.connection_id}/change/"
    entry = f"/admin/onboarding/auditentry/{AuditEntry.objects.order_by('pk').values_list('pk', flat=True)[0]}/change/"
    paths = ["/admin/", QUEUE, f"{QUEUE}?q=nothing-of-this-name", RUNS, CONNECTIONS, page(asked), page(refused), run]
    evidence = [
        f"/admin/{name}/" for name in ("integrations/apicall", "onboarding/auditentry", "exceptions_queue/alert")
    ]
    for path in (*paths, connection, *evidence, entry):
        assert phone.goto(path).status == 200, path  # type: ignore[union-attr]
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_queue_is_usable_by_keyboard(missing: Ticket, pay: Pay, sales: Page) -> None:
    urgent = open_ticket(pay("urgent", minutes_ago=20, commercial__term=None))
    sales.goto(QUEUE)
    sales.keyboard.press("?")
    expect(sales.get_by_role("dialog", name="The queue by keyboard")).to_be_visible()
    sales.keyboard.press("Escape")
    first, second = sales.get_by_role("link", name="Urgent Works"), sales.get_by_role("link", name="Beta Works")
    for key, there in (("j", first), ("j", second), ("j", second), ("k", first), ("j", second)):
        sales.keyboard.press(key)
        expect(there).to_be_focused()
    sales.keyboard.press("Enter")
    expect(sales).to_have_url(f"{sales.url.split('/admin')[0]}{page(missing)}")
    sales.goto(QUEUE)
    sales.keyboard.press("n")
    expect(sales.get_by_role("heading", name="Urgent Works paid, but the term is missing")).to_be_visible()
    assert sales.url.endswith(page(urgent))


def test_shortcut_keys_are_ignored_in_the_search_box(missing: Ticket, sales: Page) -> None:
    sales.goto(QUEUE)
    box = sales.get_by_placeholder("Customer, contact, email, domain, payment or vendor id, #ticket")
    box.press_sequentially("jkn?")
    expect(box).to_have_value("jkn?")
    expect(sales.get_by_role("dialog")).to_have_count(0)
