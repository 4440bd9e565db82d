"""The sandbox page: what the vendors hold, switches that break them for real, and a customer who pays."""

import re
import socket
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.test import Client
from playwright.sync_api import Browser, expect
from pytest_django.live_server_helper import LiveServer

from exceptions_queue.models import Ticket
from integrations import clock
from integrations.connections import services
from integrations.connections.services import set_connection
from integrations.database import process_cache
from integrations.models import Connection, InboundEvent
from integrations.sandbox.control import SandboxControl
from onboarding.enums import Status
from onboarding.models import AuditEntry, ObjectMapping, OnboardingTransaction
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import CONNECTIONS, QUEUE, As, Pay, text
from tests.support.stripe_events import HOLD

pytestmark = pytest.mark.one_database("postgres")
SANDBOX = "/admin/sandbox/"
POSTS = {
    "switch": {"vendor": "hubspot", "switch": "error-after"},
    "remove": {"rule": "1"},
    "fix": {},
    "pay": {"name": "Kestrel Optics"},
}
CUSTOMER = {"name": "Kestrel Optics", "domain": "kestrel-optics.com", "contact": "Ada Berg", "owner": "u_1"}


@pytest.fixture(autouse=True)
def here(settings: Any, sandbox: SandboxControl) -> None:
    settings.SANDBOX_URL = sandbox.base_url


@pytest.fixture
def stripe(transactional_db: None) -> Connection:
    return set_connection(
        "stripe-test", system="billing", provider="stripe", environment="sandbox",
        secrets={"webhook_secret": ["whsec_of_the_tests"]}, actor="tests",
    )  # fmt: skip


@pytest.fixture
def front_door(live_server: LiveServer, settings: Any) -> str:
    settings.PUBLIC_URL = live_server.url
    return str(live_server.url)


def pull(client: Client, vendor: str, switch: str) -> str:
    return text(client.post(f"{SANDBOX}switch/", {"vendor": vendor, "switch": switch}, follow=True))


def news(client: Client, query: str = "") -> str:
    return str(client.get(f"{SANDBOX}live/{query}").json()["html"])


def test_without_a_sandbox_there_is_no_page_and_no_link(as_: As, settings: Any) -> None:
    assert SANDBOX in as_("engineer").get(QUEUE).content.decode()
    settings.SANDBOX_URL = ""
    admin = as_("admin")
    assert SANDBOX not in admin.get(QUEUE).content.decode()
    assert admin.get(SANDBOX).status_code == 404
    assert admin.get(f"{SANDBOX}live/").status_code == 404
    assert [admin.post(f"{SANDBOX}{name}/", given).status_code for name, given in POSTS.items()] == [404] * 4


@pytest.mark.parametrize("name", ["sales", "support", "finance"])
def test_others_see_and_change_nothing(as_: As, name: str, sandbox: SandboxControl) -> None:
    person = as_(name)
    assert SANDBOX not in person.get(QUEUE).content.decode()
    assert person.get(SANDBOX).status_code == 403
    assert person.get(f"{SANDBOX}live/").status_code == 403
    assert [person.post(f"{SANDBOX}{each}/", given).status_code for each, given in POSTS.items()] == [403] * 4
    assert sandbox.faults() == []


@pytest.mark.parametrize("name", ["engineer", "lead", "admin"])
def test_only_permitted_users_change_the_sandbox(as_: As, name: str, sandbox: SandboxControl) -> None:
    person = as_(name)
    assert "HubSpot does the next write and then answers 500." in pull(person, "hubspot", "error-after")
    (rule,) = sandbox.faults()
    assert "HubSpot answers 500 after doing the work" in text(person.get(SANDBOX))
    assert "The rule is removed." in text(person.post(f"{SANDBOX}remove/", {"rule": rule["id"]}, follow=True))
    assert sandbox.faults() == []
    assert AuditEntry.objects.filter(
        name="integrations.sandbox.changed", actor=name, data={"vendor": "hubspot", "switch": "error-after"}
    ).exists()


def test_every_change_is_a_post_with_a_csrf_token(people: dict[str, Any], sandbox: SandboxControl) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(people["engineer"])
    assert [strict.get(f"{SANDBOX}{name}/").status_code for name in POSTS] == [405] * 4
    assert [strict.post(f"{SANDBOX}{name}/", given).status_code for name, given in POSTS.items()] == [403] * 4
    assert sandbox.faults() == []


def test_refused_token_fails_calls_until_a_new_one_is_entered(
    as_: As, sandbox: SandboxControl, hubspot: Connection
) -> None:
    engineer = as_("engineer")
    pull(engineer, "hubspot", "refuse-token")
    assert services.probe(hubspot).status == 401
    shown = engineer.get(f"{SANDBOX}?vendor=hubspot").content.decode()
    assert f"{CONNECTIONS}{hubspot.pk}/change/" in shown
    token = re.search(r"hubspot-[0-9a-f]{6}(?=</code>)", shown)
    assert token is not None
    answer = engineer.post(f"{CONNECTIONS}{hubspot.pk}/credentials/", {"token": token[0]}, follow=True)
    assert "The test passed" in text(answer)


def test_a_stopped_connection_is_shown_as_broken(as_: As, refused: Ticket) -> None:
    assert "HubSpot refuses our token, so its runs wait until it is entered" in text(as_("engineer").get(SANDBOX))
    lead = as_("lead").get(SANDBOX)
    assert "until an engineer enters it on the connection hubspot" in text(lead)
    assert CONNECTIONS not in lead.content.decode()


def test_restoring_takes_every_token_that_was_ever_good(as_: As, sandbox: SandboxControl, zendesk: Connection) -> None:
    engineer = as_("engineer")
    pull(engineer, "zendesk", "refuse-token")
    pull(engineer, "zendesk", "refuse-token")
    assert not services.probe(zendesk).ok
    pull(engineer, "zendesk", "restore-token")
    assert services.probe(zendesk).ok


@pytest.mark.parametrize(
    ("switch", "met"),
    [("error-before", "500"), ("slow-down", "429"), ("nonsense", "not JSON")],
)
def test_switch_affects_the_next_call(as_: As, asana: Connection, switch: str, met: str) -> None:
    pull(as_("engineer"), "asana", switch)
    result = services.probe(asana)
    assert not result.ok
    assert met in f"{result.status} {result.message}"


@pytest.mark.parametrize("switch", ["error-after", "reset"])
def test_a_lost_answer_makes_one_object_and_not_two(
    as_: As, sandbox: SandboxControl, connections: dict[str, Connection], pay: Pay, drain: Drain, switch: str
) -> None:
    engineer = as_("engineer")
    pull(engineer, "asana", switch)
    pay("beta")
    drain()
    assert OnboardingTransaction.objects.get().status == Status.COMPLETE
    (rule,) = sandbox.faults()
    assert (rule["hits"], rule["count"]) == (1, 0)
    assert sandbox.duplicates() == 0
    assert "hit 1 time" in text(engineer.get(SANDBOX))


@pytest.mark.parametrize(("vendor", "statuses"), [("zendesk", [409, 503]), ("asana", [503]), ("hubspot", [423, 477])])
def test_each_vendors_transient_refusals_can_be_triggered(
    as_: As, sandbox: SandboxControl, connections: dict[str, Connection], vendor: str, statuses: list[int]
) -> None:
    engineer = as_("engineer")
    pull(engineer, vendor, "refuse-for-now")
    met = [services.probe(connections[vendor]) for _ in statuses]
    assert [result.status for result in met] == statuses
    assert all(result.retry_after and result.retry_after >= 2 for result in met)
    clock.shift(timedelta(seconds=max(result.retry_after or 0 for result in met) + 1))
    assert services.probe(connections[vendor]).ok
    page = text(engineer.get(SANDBOX))
    assert all(f"answers {status} before doing anything" in page for status in statuses)


def test_all_faults_are_cleared_at_once(as_: As, sandbox: SandboxControl, connections: dict[str, Connection]) -> None:
    engineer = as_("engineer")
    lag = sandbox.configure("hubspot", search_lag=None)["search_lag"]
    pull(engineer, "hubspot", "search-lag")
    pull(engineer, "hubspot", "error-before")
    pull(engineer, "asana", "refuse-token")
    assert sandbox.settings()["hubspot"]["search_lag"] == 10
    assert "works normally again" in text(engineer.post(f"{SANDBOX}fix/", follow=True))
    assert sandbox.faults() == []
    assert sandbox.settings()["hubspot"]["search_lag"] == lag != 10
    assert all(services.probe(made).ok for made in connections.values())


def test_what_the_vendors_hold_leads_to_the_run(
    as_: As, connections: dict[str, Connection], pay: Pay, drain: Drain
) -> None:
    engineer = as_("engineer")
    assert "Nothing here yet: let a customer pay." in text(engineer.get(SANDBOX))
    run = pay("beta")
    pay("gamma")
    drain()
    shown = engineer.get(SANDBOX)
    for mapping in ObjectMapping.objects.all():
        assert f'-{mapping.external_id}"' in shown.content.decode(), mapping
    assert f"/admin/onboarding/onboardingtransaction/{run.pk}/change/" in shown.content.decode()
    assert "POST /crm/v3/objects/companies" in text(shown)
    found = engineer.get(f"{SANDBOX}?q=BETA").content.decode()
    assert "Run of Beta Works" in found
    assert "Run of Gamma Works" not in found
    assert "No vendor has anything of “nobody”." in text(engineer.get(f"{SANDBOX}?q=nobody"))


def test_whatever_kinds_and_html_the_vendors_hold_are_shown_as_text(as_: As, sandbox: SandboxControl) -> None:
    sandbox.seed(
        "asana", "tasks", [{"name": "Call <b>Beta</b>", "notes": "<script>alert(1)</script>", "completed": False}]
    )
    shown = news(as_("engineer"))
    assert "Tasks" in text(as_("engineer").get(SANDBOX))
    assert "Call Beta" in shown
    assert "<script>" not in shown


def test_duplicates_are_highlighted(as_: As, sandbox: SandboxControl, hubspot: Connection) -> None:
    sandbox.seed("asana", "projects", [{"name": "Onboarding: Beta"}])
    shown = news(as_("engineer"))
    assert "duplicate" not in shown
    made_twice(sandbox)
    shown = news(as_("engineer"))
    assert "1 duplicate" in shown
    assert shown.count("fv-object--doubled") == 2


def made_twice(sandbox: SandboxControl) -> None:
    """Two companies on one domain, as a careless program makes them."""
    for _ in range(2):
        answer = requests.post(
            f"{sandbox.base_url}/hubspot/crm/v3/objects/companies",
            json={"properties": {"name": "Twice", "domain": "twice-works.com"}, "associations": []},
            headers={"Authorization": "Bearer sandbox-hubspot-token"},
            timeout=10,
        )
        answer.raise_for_status()


def test_rendering_is_deterministic(as_: As, sandbox: SandboxControl, hubspot: Connection) -> None:
    engineer = as_("engineer")
    pull(engineer, "hubspot", "slow-down")
    services.probe(hubspot)
    assert news(engineer) == news(engineer)
    assert re.search(r"\d more", news(engineer)), news(engineer)


def test_a_customer_pays_through_the_front_door(
    as_: As, front_door: str, stripe: Connection, connections: dict[str, Connection], drain: Drain
) -> None:
    engineer = as_("engineer")
    answer = engineer.post(f"{SANDBOX}pay/", {**CUSTOMER, "twice": "on"}, follow=True)
    assert "Its run starts any moment." in text(answer)
    assert InboundEvent.objects.count() == 2
    drain()
    run = OnboardingTransaction.objects.get()
    assert (run.status, run.customer_name, run.domain) == (Status.COMPLETE, "Kestrel Optics", "kestrel-optics.com")
    followed = news(engineer, f"?{answer.request['QUERY_STRING']}")
    assert "Kestrel Optics paid: complete, " in text_of(followed)
    assert f"/admin/onboarding/onboardingtransaction/{run.pk}/change/" in followed


def test_a_customer_without_a_domain_needs_sales(
    as_: As, front_door: str, stripe: Connection, connections: dict[str, Connection], drain: Drain
) -> None:
    lead = as_("lead")
    answer = lead.post(f"{SANDBOX}pay/", {**CUSTOMER, "domain": ""})
    drain()
    clock.shift(HOLD)  # until then a sibling event may still bring it
    drain()
    ticket = Ticket.objects.get()
    assert (ticket.category, ticket.queue) == ("missing-data", "sales-ops")
    assert f"/admin/exceptions_queue/ticket/{ticket.pk}/change/" in news(
        lead, answer["Location"].partition("/sandbox/")[2]
    )


def test_a_payment_that_cannot_be_delivered_says_why(as_: As, stripe: Connection, settings: Any) -> None:
    engineer = as_("engineer")
    settings.PUBLIC_URL = f"http://127.0.0.1:{unused_port()}"
    answer = engineer.post(f"{SANDBOX}pay/", CUSTOMER)
    assert answer.status_code == 422
    assert "did not answer" in text(answer)
    assert "kestrel-optics.com" in answer.content.decode()
    assert engineer.post(f"{SANDBOX}pay/", {**CUSTOMER, "name": ""}).status_code == 422
    stripe.secret_rows.all().delete()
    process_cache.clear_all_caches()  # no person removes a secret without its connection's version moving
    assert "no webhook signing secret" in text(engineer.post(f"{SANDBOX}pay/", CUSTOMER))
    Connection.objects.update(environment="production")
    assert "connection takes test payments yet." in text(engineer.get(SANDBOX))


def test_unreachable_sandbox_is_reported_without_an_error(as_: As, settings: Any) -> None:
    settings.SANDBOX_URL = f"http://127.0.0.1:{unused_port()}"
    engineer = as_("engineer")
    shown = engineer.get(SANDBOX)
    assert shown.status_code == 200
    assert "does not answer. If it was stopped, start it again" in text(shown)
    assert "does not answer" in news(engineer)
    assert "does not answer" in pull(engineer, "hubspot", "error-after")
    assert "does not answer" in text(engineer.post(f"{SANDBOX}fix/", follow=True))
    assert not AuditEntry.objects.exists()


def test_wrong_sandbox_address_is_reported(as_: As, settings: Any, front_door: str) -> None:
    settings.SANDBOX_URL = f"{front_door}/nowhere"
    assert "did not take it: 404" in text(as_("engineer").get(SANDBOX))


def test_invalid_input_is_refused_with_a_message(as_: As, sandbox: SandboxControl) -> None:
    engineer = as_("engineer")
    assert "The sandbox did not take it" in pull(engineer, "no-such-vendor", "error-after")
    assert engineer.post(f"{SANDBOX}switch/", {"vendor": "hubspot", "switch": "explode"}).status_code == 404
    assert engineer.post(f"{SANDBOX}remove/", {"rule": "all"}).status_code == 404
    assert engineer.get(f"{SANDBOX}?vendor=nobody&q=%00&paid=%00").status_code == 200
    assert sandbox.faults() == []


@pytest.mark.browser
def test_sandbox_page_updates_live_and_keeps_expanded_sections(
    chromium: Browser,
    live_server: LiveServer,
    as_: As,
    sandbox: SandboxControl,
    settings: Any,
) -> None:
    sandbox.seed("asana", "tasks", [{"name": "Call Beta", "notes": "the notes of the task"}])
    cookie = settings.SESSION_COOKIE_NAME, as_("engineer").cookies[settings.SESSION_COOKIE_NAME].value
    tab = chromium.new_context(base_url=live_server.url).new_page()
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.context.add_cookies([{"name": cookie[0], "value": cookie[1], "url": live_server.url}])
    tab.goto(SANDBOX)
    tab.get_by_text("Call Beta", exact=True).click()
    sandbox.add_fault("asana", "malformed")
    expect(tab.get_by_text("Asana answers HTML")).to_be_visible(timeout=15_000)
    expect(tab.get_by_text('"notes": "the notes of the task"')).to_be_visible()
    assert tab.evaluate("document.activeElement.tagName") == "SUMMARY"
    tab.get_by_role("button", name="Remove the rule").click()
    expect(tab.get_by_text("The rule is removed.")).to_be_visible()
    tab.context.close()
    assert sandbox.faults() == []
    assert complaints == []


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
