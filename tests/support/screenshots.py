"""``make screenshots``: takes the pictures of README.md and docs/ anew, from the demo in a real Chromium.

The demo runs in a folder of its own, on PORT (8000). If it fails, no picture is touched and the exit status is 1.
"""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from config.demo_cast import PASSWORD
from tests.support.chromium import launch

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
READY = "Still serving"
WIDTH = 1440
PATIENCE = 120_000
"""Milliseconds for one page, on a busy machine."""


@dataclass(frozen=True)
class Picture:
    """``shows``: a path, or the demo's customer whose ticket or run it is. ``height``: CSS pixels."""

    file: str
    shows: str
    height: int
    login: str = "lead"


PICTURES = (
    Picture("home.png", "/admin/", 780),
    Picture("queue.png", "/admin/exceptions_queue/ticket/", 760),
    Picture("ticket.png", "Cobalt Freight", 1240, login="sales"),
    Picture("run.png", "Acme Logistics", 772),
)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="fv-screenshots-") as folder, sync_playwright() as playwright:
        browser = launch(playwright)
        if browser is None:
            print("No Chromium is installed: .venv/bin/playwright install chromium", file=sys.stderr)
            return 1
        with subprocess.Popen(
            [sys.executable, "-m", "config.demo"],
            cwd=ROOT,
            env={**os.environ, "DATA_DIR": folder, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        ) as demo:
            try:
                printed = until_ready(demo)
                if links := links_of(printed):
                    for picture, made in [(picture, take(picture, browser, links)) for picture in PICTURES]:
                        (DOCS / picture.file).write_bytes(made)
                        print(f"docs/{picture.file}")
            finally:
                demo.terminate()
                demo.communicate()  # it says that it stopped
        return 0 if links else 1


def until_ready(demo: "subprocess.Popen[str]") -> str:
    """What the demo prints until it serves. It is shown too."""
    printed = []
    for line in demo.stdout or ():
        print(line, end="", flush=True)
        printed.append(line)
        if READY in line:
            break
    return "".join(printed)


def links_of(printed: str) -> dict[str, str]:
    """Customer -> its ticket or run; "" -> the console. Empty where the demo did not get to its end or a row is not as expected."""
    console = re.search(r"console: (http://[^/]+)", printed)
    table = [re.split(r"  +", line) for line in printed.splitlines() if re.search(r"^\S.*  http\S+$", line)]
    rows = [(customer, expected, actual, link) for customer, _, expected, actual, _, link in table]
    if console is None or READY not in printed or any(expected != actual.split()[0] for _, expected, actual, _ in rows):
        return {}
    return {"": console[1]} | {customer: link for customer, _, _, link in rows}


def take(picture: Picture, browser: Browser, links: dict[str, str]) -> bytes:
    context = browser.new_context(viewport={"width": WIDTH, "height": picture.height}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    tab = context.new_page()
    tab.goto(f"{links['']}/admin/login/")
    tab.get_by_label("Username").fill(picture.login)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Log in").click()
    tab.wait_for_url(f"{links['']}/admin/")
    tab.goto(links.get(picture.shows) or f"{links['']}{picture.shows}")
    tab.evaluate("document.fonts.ready")
    made = tab.screenshot(animations="disabled")
    context.close()
    return made


if __name__ == "__main__":
    sys.exit(main())
