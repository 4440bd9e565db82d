"""One Chromium for all tests. Without one they are skipped, visibly; CI brings one and fails instead."""

import asyncio
import os
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import connections
from playwright.sync_api import Browser, sync_playwright

from tests.support.chromium import launch


class SharedBrowser:
    """A browser that several tests use, one after the other.

    Playwright's synchronous interface leaves its event loop running in this thread. Tests without a browser must not find it:
    Django refuses its database where a loop runs, and gives the loop connections of its own.
    """

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self._loop = asyncio.get_running_loop()
        self.leave()

    def enter(self) -> Browser:
        asyncio._set_running_loop(self._loop)
        return self.browser

    def leave(self) -> None:
        asyncio._set_running_loop(None)


@pytest.fixture(scope="session")
def shared_browser() -> Iterator[SharedBrowser]:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        if browser is None:
            if os.environ.get("CI") == "true":
                pytest.fail("CI must bring a Chromium.")
            pytest.skip("no Chromium on this machine")
        shared = SharedBrowser(browser)
        yield shared
        shared.enter().close()


@pytest.fixture
def chromium(
    people: dict[str, User], shared_browser: SharedBrowser, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Browser]:
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # the test asks the database while the loop runs
    browser = shared_browser.enter()
    yield browser
    for context in browser.contexts:
        context.close()
    connections.close_all()  # the loop's: others than this thread has without one
    shared_browser.leave()
