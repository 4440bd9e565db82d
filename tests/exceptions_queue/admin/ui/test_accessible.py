"""What a page needs to be used by everybody, on any screen: landmarks, names, contrast, and nothing cut off."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, Page
from pytest_django.live_server_helper import LiveServer

from exceptions_queue.models import Ticket
from integrations.models import Connection
from onboarding.models import OnboardingTransaction
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import CONNECTIONS, QUEUE, RUNS, As, Pay, page, text
from tests.exceptions_queue.admin.ui.test_browser import logged_in, sales

__all__ = ["sales"]
TEMPLATES = Path(__file__).resolve().parents[4] / "templates"
CONTRAST = """(element) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  let ground = element;
  while (channels(getComputedStyle(ground).backgroundColor)[3] < 255) ground = ground.parentElement;
  let opacity = 1;
  for (let each = element; each; each = each.parentElement) opacity *= getComputedStyle(each).opacity;
  const back = channels(getComputedStyle(ground).backgroundColor);
  const front = channels(getComputedStyle(element).color).map((c, i) => c * opacity + back[i] * (1 - opacity));
  const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""
"""WCAG 2.2, "contrast ratio": of the text's colour, with all opacities, to the first opaque ground behind it."""
ENOUGH = 4.5
"""WCAG 2.2, 1.4.3, for text of a normal size."""


def mains(answer: Any) -> int:
    return len(re.findall(r"<main\b", answer.content.decode()))


def test_every_page_has_one_main_landmark(ambiguous: Ticket, as_: As) -> None:
    admin = as_("admin")
    urls = ("/admin/", QUEUE, RUNS, page(ambiguous), f"{RUNS}{ambiguous.transaction_id}/change/", CONNECTIONS)
    assert {url: mains(admin.get(url)) for url in urls} == dict.fromkeys(urls, 1)
    assert mains(Client().get("/admin/login/")) == 1


@pytest.mark.parametrize("template", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: path.stem)
def test_what_scrolls_can_be_scrolled_by_keyboard(template: Path) -> None:
    for tag in re.findall(r'<\w+ [^>]*class="fv-(?:scroll|json)"[^>]*>', template.read_text()):
        assert 'tabindex="0"' in tag, tag
        assert "<pre" in tag or ('role="region"' in tag and "aria-label" in tag), tag


def test_each_page_says_where_it_stands(ambiguous: Ticket, as_: As) -> None:
    run = f"{RUNS}{ambiguous.transaction_id}"
    lead = as_("lead")
    for url, way in {
        QUEUE: "Queue",
        page(ambiguous): f"Queue chevron_right Ticket {ambiguous.pk}",
        RUNS: "Runs",
        f"{run}/change/": "Runs chevron_right Beta Works",
        f"{run}/act/rollback/": "Runs chevron_right Beta Works chevron_right Roll back",
        f"{run}/data/": "Runs chevron_right Beta Works chevron_right Change the data",
        f"{RUNS}start/": "Runs chevron_right Start a run",
    }.items():
        html = lead.get(url).content.decode()
        heading = re.sub(r"<[^>]+>", " ", html.partition("<h1")[2].partition(">")[2].partition("</h1>")[0])
        assert " ".join(heading.split()) == way
    assert f'<a href="{run}/change/"' in lead.get(f"{run}/act/rollback/").content.decode()


@pytest.mark.usefixtures("whole_playbook")
def test_five_tasks_are_one_row(
    pay: Pay, connections: dict[str, Connection], smtp: Connection, as_: As, drain: Drain
) -> None:
    run = pay("beta")
    drain()
    lead = as_("lead")
    shown = text(lead.get(f"{RUNS}{run.pk}/change/")).partition("Objects at vendors")[2]
    assert shown.count("5 tasks") == 2  # the row, and what unfolds them
    preview = text(lead.get(f"{RUNS}{run.pk}/act/rollback/"))
    assert preview.count("Put the standard tasks into the project") == 1
    assert "5 tasks" in preview


@pytest.mark.browser
def test_diagram_links_have_descriptive_names(ambiguous: Ticket, sales: Page) -> None:
    sales.goto(f"{RUNS}{ambiguous.transaction_id}/change/")
    boxes = sales.locator(".fv-dag a")
    assert boxes.count() > 3
    for box in boxes.all():
        seen = " ".join(" ".join(box.locator("text:not([aria-hidden])").all_text_contents()).split())
        assert seen in " ".join(box.aria_snapshot().split())


@pytest.mark.browser
def test_nothing_is_clipped_on_any_screen(support_ticket: Ticket, chromium: Browser, live_server: LiveServer) -> None:
    hidden = "(element) => element.scrollWidth - element.clientWidth"
    for lead in logged_in("lead", chromium, live_server):
        for width in (390, 800, 1024, 1100, 1280, 1440):
            lead.set_viewport_size({"width": width, "height": 900})
            lead.goto(QUEUE)
            lead.locator("#result_list .field-customer").first.wait_for()
            scroller = lead.locator(".simplebar-content-wrapper:has(#result_list), [data-simplebar]:has(#result_list)")
            assert scroller.last.evaluate(hidden) <= 1, width
            lead.goto(f"{RUNS}{support_ticket.transaction_id}/act/rollback/")
            assert lead.locator(".fv-scroll").evaluate(hidden) <= 1, width


@pytest.mark.browser
@pytest.mark.parametrize("count", [5, 6, 7])
@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_tiles_fill_their_rows(
    pay: Pay,
    chromium: Browser,
    live_server: LiveServer,
    count: int,
    width: int,
) -> None:
    runs = [pay(name) for name in ("one", "two", "three")]
    if count > 5:
        OnboardingTransaction.objects.filter(pk=runs[0].pk).update(held_at="2026-11-22T10:00:00Z")
        runs[0].tickets.all().delete()
    if count > 6:
        OnboardingTransaction.objects.filter(pk=runs[1].pk).update(status="cancelled")
    for lead in logged_in("lead", chromium, live_server):
        lead.set_viewport_size({"width": width, "height": 900})
        lead.goto("/admin/")
        tiles = lead.locator(".fv-tile")
        assert tiles.count() == count
        boxes = [box for tile in tiles.all() if (box := tile.bounding_box())]
        rows: dict[float, list[float]] = {}
        for box in boxes:
            rows.setdefault(round(box["y"]), []).append(box["x"] + box["width"])
        assert len({round(max(ends)) for ends in rows.values()}) == 1
        assert min(map(len, rows.values())) > 1


@pytest.mark.browser
def test_the_dark_login_can_be_read(chromium: Browser, live_server: LiveServer) -> None:
    tab = chromium.new_context(base_url=live_server.url, color_scheme="dark").new_page()
    tab.goto("/admin/login/")
    assert tab.locator(".tracking-tight").first.evaluate(CONTRAST) >= ENOUGH


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_used_up_rule_stays_readable(chromium: Browser, live_server: LiveServer, scheme: Any) -> None:
    tab = chromium.new_context(base_url=live_server.url, color_scheme=scheme).new_page()
    tab.goto("/admin/login/")
    row = (
        '<ul class="fv-rules"><li class="fv-rules__spent"><span class="fv-sub" id="spent">hit 3 times</span></li></ul>'
    )
    tab.locator("main").evaluate("(main, row) => main.insertAdjacentHTML('beforeend', row)", row)
    assert tab.locator("#spent").evaluate(CONTRAST) >= ENOUGH
