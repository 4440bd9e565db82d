"""The console in a real Chromium."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from exceptions_queue.models import Ticket
from integrations.models import Connection
from onboarding.enums import Status
from onboarding.models import OnboardingTransaction
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import QUEUE, RUNS, page

pytestmark = pytest.mark.browser


@pytest.fixture
def vendors(hubspot: Connection, asana: Connection, zendesk: Connection) -> list[Connection]:
    return [hubspot, asana, zendesk]


@pytest.fixture
def sales(chromium: Browser, live_server: LiveServer) -> Iterator[Page]:
    """Sales ops, logged in through the form; whatever the browser complains of fails the test."""
    yield from logged_in("sales", chromium, live_server)


@pytest.fixture
def engineer(chromium: Browser, live_server: LiveServer) -> Iterator[Page]:
    yield from logged_in("engineer", chromium, live_server)


def logged_in(name: str, chromium: Browser, live_server: LiveServer) -> Iterator[Page]:
    context = chromium.new_context(base_url=live_server.url, viewport={"width": 1440, "height": 900})
    tab = context.new_page()
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto("/")
    tab.get_by_label("Username").fill(name)
    tab.get_by_label("Password").fill("pw")
    tab.get_by_role("button", name="Log in").click()
    expect(tab).to_have_url(f"{live_server.url}/admin/")
    yield tab
    context.close()
    # A refused form is a page with a status of its own, which Chromium tells as well.
    assert [complaint for complaint in complaints if "422" not in complaint and "409" not in complaint] == []


def test_sales_fills_in_what_is_missing_and_watches_the_run_complete(
    missing: Ticket, vendors: list[Connection], sales: Page, drain: Drain
) -> None:
    sales.get_by_role("link", name="Beta Works paid, but").click()
    expect(sales.get_by_role("heading", name="Beta Works paid, but the domain is missing or unusable")).to_be_visible()
    field = sales.get_by_label("Domain", exact=True)
    field.fill("hotmail.com")
    sales.get_by_role("button", name="Save and retry").click()
    expect(sales.get_by_text("“hotmail.com” is a mail provider")).to_be_visible()
    expect(field).to_have_value("hotmail.com")
    field.fill("beta-works.com")
    field.press("Enter")
    expect(sales.get_by_text("The data is complete and the onboarding continues")).to_be_visible()
    drain()
    # The page follows the run by itself: nobody reloads it.
    expect(sales.get_by_text("The run is complete.")).to_be_visible(timeout=15_000)
    assert OnboardingTransaction.objects.get().status == Status.COMPLETE


def test_a_choice_is_made_with_the_keyboard(ambiguous: Ticket, sales: Page, drain: Drain) -> None:
    sales.goto(page(ambiguous))
    use = sales.get_by_role("button", name="Use this one: Beta Works GmbH")
    use.focus()
    use.press("Enter")
    expect(sales.get_by_text("Your choice is saved for this customer")).to_be_visible()
    drain()
    expect(sales.get_by_text("The run is complete.")).to_be_visible(timeout=15_000)


def test_engineer_enters_a_new_token_and_parked_runs_resume(refused: Ticket, engineer: Page, drain: Drain) -> None:
    engineer.get_by_role("link", name="HubSpot refuses our credentials; 1 run waits").click()
    engineer.get_by_role("link", name="Open the connection", exact=True).click()
    engineer.get_by_label("Token").fill("the-new-token-of-hubspot")
    engineer.get_by_role("button", name="Test and save").click()
    expect(engineer.get_by_text("The test passed")).to_be_visible()
    drain()
    engineer.goto(page(refused))
    expect(engineer.get_by_text("Resolved").first).to_be_visible()
    assert OnboardingTransaction.objects.get().status == Status.COMPLETE


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_is_wider_than_the_screen(missing: Ticket, sales: Page, width: int, theme: str) -> None:
    sales.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    sales.set_viewport_size({"width": width, "height": 844})
    for path in ("/admin/", QUEUE, page(missing), RUNS, f"{RUNS}{missing.transaction_id}/change/"):
        sales.goto(path)
        expect(sales.get_by_text("Beta Works").first).to_be_attached()
        assert sales.evaluate("document.documentElement.scrollWidth") <= width, path


def test_a_run_is_started_by_hand(sales: Page) -> None:
    sales.goto(RUNS)
    sales.get_by_role("link", name="Start a run", exact=True).click()
    sales.get_by_label("Legal name").fill("Beta Works")
    sales.get_by_label("Domain", exact=True).fill("gmail.com")
    sales.get_by_role("button", name="Start the run").click()
    expect(sales.get_by_text("“gmail.com” is a mail provider")).to_be_visible()
    expect(sales.get_by_label("Legal name")).to_have_value("Beta Works")
    sales.get_by_label("Domain", exact=True).fill("beta-works.com")
    sales.get_by_role("button", name="Start the run").dblclick()
    expect(sales.get_by_role("heading", name="Beta Works", exact=True)).to_be_visible()
    expect(sales.get_by_text("Sales operations was asked with a ticket.")).to_be_visible()
    assert OnboardingTransaction.objects.get().onboarding_transaction_id.startswith("manual_")


@pytest.mark.parametrize("width", [390, 1440])
def test_diagram_node_opens_its_step_and_a_run_is_held(ambiguous: Ticket, sales: Page, width: int) -> None:
    sales.set_viewport_size({"width": width, "height": 844})
    sales.goto(f"{RUNS}{ambiguous.transaction_id}/change/")
    part = sales.locator("[id='step-crm.contact']")
    expect(part.get_by_text("Comes after")).to_be_hidden()
    box = sales.get_by_role("link", name="Pending Find or create the CRM contact")
    box.focus()
    box.press("Enter")
    expect(part.get_by_text("Comes after")).to_be_visible()
    assert sales.evaluate("document.documentElement.scrollWidth") <= width
    sales.get_by_role("link", name="Hold").click()
    sales.get_by_label("Reason").fill("They asked us to wait")
    sales.get_by_role("button", name="Hold").click()
    expect(sales.get_by_text("On hold by sales")).to_be_visible()
    sales.get_by_role("button", name="Resume").click()
    expect(sales.get_by_text("The run continues.")).to_be_visible()
