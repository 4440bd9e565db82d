"""The page of a webhook endpoint, in a real Chromium."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django.live_server_helper import LiveServer

from integrations import clock
from integrations.models import WebhookDelivery
from integrations.outbound import delivery, services
from integrations.outbound.events import EventType
from tests.exceptions_queue.admin.conftest import Pay
from tests.exceptions_queue.admin.ui.test_browser import logged_in
from tests.integrations.outbound.receiver import Receiver, receiving

pytestmark = pytest.mark.browser


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    with receiving() as server:
        settings.SANDBOX_ORIGINS = [*settings.SANDBOX_ORIGINS, server.origin]
        yield server


@pytest.fixture
def engineer(chromium: Browser, live_server: LiveServer) -> Iterator[Page]:
    yield from logged_in("engineer", chromium, live_server)


def test_an_engineer_reads_the_log_and_sends_again_what_failed(receiver: Receiver, pay: Pay, engineer: Page) -> None:
    services.make(receiver.url, list(EventType), description="Data team", actor="kim")
    receiver.answers = [(204, {}), (410, {})]
    pay("beta", commercial__term=None)
    delivery.deliver()
    engineer.get_by_role("link", name="Webhook endpoints").click()
    engineer.get_by_role("link", name=receiver.url).click()
    expect(engineer.get_by_text("Paused by the endpoint (410 Gone)")).to_be_visible()
    expect(engineer.get_by_role("cell", name="HTTP 410")).to_be_visible()
    engineer.get_by_role("button", name="Resume").click()
    expect(engineer.get_by_text("It is resumed")).to_be_visible()
    engineer.get_by_role("button", name="Send failed deliveries again").click()
    expect(engineer.get_by_text("1 failed delivery is being sent again.")).to_be_visible()
    clock.shift(timedelta(seconds=1))
    delivery.deliver()
    engineer.reload()
    expect(engineer.get_by_role("cell", name="HTTP 410")).to_have_count(0)
    assert set(WebhookDelivery.objects.values_list("state", flat=True)) == {"delivered"}


def test_an_engineer_makes_an_endpoint_and_copies_its_secret(receiver: Receiver, engineer: Page) -> None:
    engineer.get_by_role("link", name="Webhook endpoints").click()
    engineer.get_by_role("link", name="Make an endpoint").click()
    engineer.get_by_label("Address").fill("http://hooks.example.com/")
    engineer.get_by_role("button", name="Make the endpoint").click()
    expect(engineer.get_by_text("Nothing was made")).to_be_visible()
    engineer.get_by_label("Address").fill(receiver.url)
    engineer.get_by_label("run.accepted").uncheck()
    engineer.get_by_role("button", name="Make the endpoint").click()
    expect(engineer.get_by_text("whsec_")).to_be_visible()
    engineer.get_by_role("link", name="I have copied it").click()
    expect(engineer.get_by_text("whsec_")).to_have_count(0)
    engineer.get_by_text("Its secret, and removing it").click()
    engineer.get_by_role("button", name="Remove this endpoint").click()
    expect(engineer.get_by_text("It is removed")).to_be_visible()
    expect(engineer.get_by_role("link", name=receiver.url)).to_have_count(0)
