"""Starts the Chromium of browser tests and of ``make screenshots``."""

import shutil
from pathlib import Path

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def executable(bundled: str) -> str | None:
    """Playwright's own Chromium where it is installed, else the system's."""
    if Path(bundled).exists():
        return bundled
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def launch(playwright: Playwright) -> Browser | None:
    """None where no Chromium is installed."""
    path = executable(playwright.chromium.executable_path)
    return playwright.chromium.launch(executable_path=path, args=ARGS) if path else None
