"""The preview of the welcome mails, in a real Chromium."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from tests.exceptions_queue.admin.ui.test_browser import logged_in
from tests.exceptions_queue.welcome.conftest import Welcome, fresh_sequences, welcome

__all__ = ["fresh_sequences", "welcome"]
pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=\"parent.document.title='taken over'\"><script>alert(1)</script>"


@pytest.fixture
def sales(chromium: Browser, live_server: LiveServer) -> Iterator[Page]:
    yield from logged_in("sales", chromium, live_server)


def test_sales_previews_a_mail_and_stops_the_sequence(welcome: Welcome, sales: Page) -> None:
    run = welcome(first_value_target__milestone=HOSTILE)
    dialogs: list[str] = []
    sales.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    sales.get_by_role("link", name="Welcome mails").click()
    sales.get_by_role("link", name="Preview").click()
    sales.get_by_role("link", name="First steps").click()
    mail = sales.frame_locator("iframe[title='The mail as HTML']")
    expect(mail.locator("strong")).to_have_text(HOSTILE)
    assert "taken over" not in sales.title()
    sales.get_by_label("Language").select_option("de")
    sales.get_by_role("button", name="Show").click()
    expect(sales.get_by_text("Acme Logistics: die ersten Schritte")).to_be_visible()
    sales.get_by_role("link", name="Acme Logistics", exact=True).click()
    expect(sales.get_by_role("heading", name="Welcome mails")).to_be_visible()
    sales.get_by_role("link", name="Stop the welcome mails").click()
    sales.get_by_label("Reason").fill("They know it all")
    sales.get_by_role("button", name="Stop the welcome mails").click()
    expect(sales.get_by_text("The welcome mails are stopped.")).to_be_visible()
    expect(sales.get_by_role("cell", name="Stopped by")).to_have_count(2)
    assert not run.scheduled_mails.pending().exists()
    assert dialogs == []
