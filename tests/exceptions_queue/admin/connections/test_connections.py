"""Connections: testing, credentials that go in and never come out, and what waits going on."""

import html
import re
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket
from integrations import clock
from integrations.enums import Breaker
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding.engine import claiming
from onboarding.engine import execution as engine
from onboarding.engine.recording import record
from onboarding.enums import Status
from onboarding.models import AuditEntry, OnboardingTransaction, Step
from tests.conftest import Drain
from tests.exceptions_queue.admin.conftest import CONNECTIONS, As, Pay, page, text

NEW = "the-new-token-of-hubspot"


def url(connection: Connection, name: str = "change") -> str:
    return f"{CONNECTIONS}{connection.pk}/{name}/"


def test_new_credentials_are_tested_and_parked_runs_resume(
    refused: Ticket, connections: dict[str, Connection], as_: As, drain: Drain
) -> None:
    engineer = as_("engineer")
    run = OnboardingTransaction.objects.get()
    shown = engineer.get(page(refused))
    assert "HubSpot refuses our credentials; 1 run waits" in text(shown)
    run_page = f"/admin/onboarding/onboardingtransaction/{run.pk}/change/"
    assert run_page in shown.content.decode()
    assert page(refused) in engineer.get(run_page).content.decode()
    answer = engineer.post(url(connections["hubspot"], "credentials"), {"token": NEW}, follow=True)
    assert "The test passed" in text(answer)
    assert "1 run goes on" in text(answer)
    assert NEW not in answer.content.decode()
    drain()
    assert OnboardingTransaction.objects.get().status == Status.COMPLETE
    refused = Ticket.objects.get(pk=refused.pk)
    assert refused.status == "resolved"
    assert AuditEntry.objects.filter(
        name="integrations.connection.set", actor="engineer", data__secrets=["token"]
    ).exists()


def test_credentials_that_fail_their_test_are_reported_and_never_shown(
    refused: Ticket, connections: dict[str, Connection], as_: As
) -> None:
    answer = as_("engineer").post(
        url(connections["hubspot"], "credentials"), {"token": "guessed-wrong-token"}, follow=True
    )
    assert "The test failed" in text(answer)
    assert "enter a new token" in text(answer)
    assert "guessed-wrong-token" not in answer.content.decode()
    hubspot = Connection.objects.get(slug="hubspot")
    assert hubspot.breaker == Breaker.OPEN


def test_a_mistyped_credential_leaves_the_working_one_in_use(
    hubspot: Connection, as_: As, sandbox: SandboxControl
) -> None:
    engineer = as_("engineer")
    answer = engineer.post(url(hubspot, "credentials"), {"token": "sandbox-hubspot-tokne"})
    assert (answer.status_code, "the current credentials stay in use" in text(answer)) == (422, True)
    hubspot = Connection.objects.get(pk=hubspot.pk)
    assert (Connection.objects.get(pk=hubspot.pk).secrets("token"), hubspot.credentials_version) == (
        ["sandbox-hubspot-token"],
        1,
    )
    assert "The test passed" in text(engineer.post(url(hubspot, "test"), follow=True))
    sandbox.set_tokens("hubspot", ["sandbox-hubspot-token", NEW])
    assert "The test passed" in text(engineer.post(url(hubspot, "credentials"), {"token": NEW}, follow=True))
    assert Connection.objects.get(pk=hubspot.pk).secrets("token") == [NEW]


def test_previous_credential_stays_when_the_vendor_does_not_answer(
    hubspot: Connection, as_: As, sandbox: SandboxControl
) -> None:
    sandbox.add_fault("hubspot", "error_before")
    answer = as_("engineer").post(url(hubspot, "credentials"), {"token": NEW})
    assert "The test failed" in text(answer)
    assert Connection.objects.get(pk=hubspot.pk).secrets("token") == ["sandbox-hubspot-token"]


def test_the_first_credential_of_a_connection_is_kept_only_if_it_passes(
    hubspot: Connection, as_: As, sandbox: SandboxControl
) -> None:
    hubspot.secret_rows.all().delete()
    answer = as_("engineer").post(url(hubspot, "credentials"), {"token": "mistyped"})
    assert "Nothing was saved." in text(answer)
    assert not hubspot.secret_rows.exists()
    as_("engineer").post(url(hubspot, "credentials"), {"token": "sandbox-hubspot-token"})
    assert Connection.objects.get(pk=hubspot.pk).secrets("token") == ["sandbox-hubspot-token"]


def test_a_value_that_is_refused_is_not_shown_again(hubspot: Connection, as_: As) -> None:
    answer = as_("engineer").post(url(hubspot, "credentials"), {"token": "half a secret"})
    assert answer.status_code == 422
    assert "holds spaces" in text(answer)
    assert "half a secret" not in answer.content.decode()
    assert as_("engineer").post(url(hubspot, "credentials"), {}).status_code == 422


@pytest.mark.parametrize("name", ["sales", "support", "finance", "lead"])
def test_other_roles_can_neither_test_nor_enter_credentials(hubspot: Connection, as_: As, name: str) -> None:
    person = as_(name)
    assert person.post(url(hubspot, "test")).status_code == 403
    assert person.post(url(hubspot, "credentials"), {"token": "mine"}).status_code == 403
    assert person.post(url(hubspot, "settings"), {"base_url": "https://evil.example"}).status_code == 403
    assert person.get(url(hubspot)).status_code == 403
    assert Connection.objects.get(pk=hubspot.pk).secrets("token") == ["sandbox-hubspot-token"]


@pytest.mark.parametrize("name", ["test", "credentials", "settings"])
def test_a_get_changes_nothing(hubspot: Connection, as_: As, name: str) -> None:
    assert as_("admin").get(url(hubspot, name)).status_code == 405


def test_a_working_connection_passes_its_test(hubspot: Connection, as_: As) -> None:
    assert "The test passed" in text(as_("engineer").post(url(hubspot, "test"), follow=True))


def test_another_address_is_checked_and_voids_the_credentials(hubspot: Connection, as_: As) -> None:
    engineer = as_("engineer")
    wrong = engineer.post(url(hubspot, "settings"), {"base_url": "https://evil.example", "environment": "production"})
    assert wrong.status_code == 422
    assert Connection.objects.get(pk=hubspot.pk).secrets("token")
    moved = {"base_url": "https://api.hubapi.com", "environment": "production", "option-portal_id": "77"}
    answer = engineer.post(url(hubspot, "settings"), moved, follow=True)
    assert "stored credentials were removed" in text(answer)
    hubspot = Connection.objects.get(pk=hubspot.pk)
    assert hubspot.options["portal_id"] == "77"
    assert not Connection.objects.get(pk=hubspot.pk).secrets("token")


def test_a_connection_is_made_and_then_needs_credentials(as_: As) -> None:
    engineer = as_("engineer")
    fields = {"slug": "crm-emea", "system": "crm", "provider": "hubspot", "base_url": "", "environment": "production"}
    answer = engineer.post(f"{CONNECTIONS}add/", fields, follow=True)
    assert "Not ready: token must be entered." in text(answer)
    assert "A connection of this name exists." in text(engineer.post(f"{CONNECTIONS}add/", fields))
    assert "is for crm" in text(engineer.post(f"{CONNECTIONS}add/", {**fields, "slug": "other", "system": "delivery"}))
    assert as_("sales").get(f"{CONNECTIONS}add/").status_code == 403


def test_no_page_shows_a_secret(refused: Ticket, connections: dict[str, Connection], as_: As) -> None:
    admin = as_("admin")
    secrets = [secret for made in connections.values() for secret in made.secrets("token")]
    ciphertexts = [row.ciphertext for made in connections.values() for row in made.secret_rows.all()]
    pages = [page(refused), CONNECTIONS, "/admin/integrations/apicall/", "/admin/onboarding/auditentry/"]
    pages += [url(made) for made in connections.values()]
    pages += [f"/admin/integrations/apicall/{call.pk}/change/" for call in connections["hubspot"].calls.all()]
    assert len(pages) > 7
    for each in pages:
        shown = admin.get(each)
        assert shown.status_code == 200, each
        assert not [secret for secret in (*secrets, *ciphertexts) if secret in shown.content.decode()], each


def test_an_option_is_shown_by_its_type_with_its_default_and_checked_by_it(hubspot: Connection, as_: As) -> None:
    engineer = as_("engineer")
    shown = engineer.get(url(hubspot)).content.decode()
    assert re.search(r'<input type="number" name="option-search_lag" value="20"[^>]* min="0"', shown)
    assert re.search(r'<input type="checkbox" name="option-deal_properties"[^>]* checked', shown)
    assert "In seconds. Default: 20." in shown
    form = engineer.get(url(hubspot)).context["settings_form"]
    given = {
        f"option-{name}": form[f"option-{name}"].initial for name in form.option_names if name != "deal_properties"
    }
    given |= {"base_url": hubspot.base_url, "environment": hubspot.environment, "enabled": "on"}
    wrong = engineer.post(url(hubspot, "settings"), {**given, "option-search_lag": "soon"})
    assert wrong.status_code == 422
    assert "option search_lag: 'soon' is not allowed: it must be a number of seconds" in html.unescape(text(wrong))
    before = hubspot.options
    engineer.post(url(hubspot, "settings"), {**given, "option-search_lag": "3"})
    assert Connection.objects.get(pk=hubspot.pk).options == {**before, "search_lag": "3", "deal_properties": "off"}


def test_mail_has_neither_credentials_nor_an_address(smtp: Connection, as_: As) -> None:
    shown = as_("engineer").get(url(smtp))
    assert "Base URL" not in text(shown)
    assert "Test and save" not in text(shown)
    answer = as_("engineer").post(
        url(smtp, "settings"),
        {"environment": "sandbox", "enabled": "on", "option-reply_to": "help@firstvalue.example"},
        follow=True,
    )
    assert Connection.objects.get(pk=smtp.pk).options["reply_to"] == "help@firstvalue.example", text(answer)


# --- A vendor that does not answer ------------------------------------------------------------------------------------


@pytest.fixture
def outage(pay: Pay, connections: dict[str, Connection], sandbox: SandboxControl, drain: Drain) -> Ticket:
    """Three runs parked behind HubSpot, which fails at everything."""
    sandbox.add_fault("hubspot", "error_before")
    for name in ("one", "two", "three"):
        pay(name)
    drain()
    return Ticket.objects.get(connection=connections["hubspot"])


def test_outage_is_shown_with_its_next_probe(outage: Ticket, connections: dict[str, Connection], as_: As) -> None:
    engineer = as_("engineer")
    shown = text(engineer.get(page(outage)))
    assert "HubSpot does not work; 3 runs wait" in shown
    assert "Firstvalue retries automatically" in shown
    assert "Enter new credentials" not in shown
    here = text(engineer.get(url(connections["hubspot"])))
    assert "Calls have stopped; 3 runs wait. It is retried automatically" in here
    assert "Does not work next try" in text(engineer.get(CONNECTIONS))
    assert "3 steps wait · next try" in text(engineer.get("/admin/"))
    out = StringIO()
    call_command("connection", "list", stdout=out)
    assert "open breaker (server errors, next try in" in out.getvalue()


def test_failed_probe_is_shown_on_the_ticket(outage: Ticket, as_: As) -> None:
    clock.shift(timedelta(seconds=11))
    scheduling.one_pass(publish=False)
    assert "failed; the next is" in text(as_("engineer").get(page(outage)))


def test_a_release_shows_how_many_are_left(outage: Ticket, sandbox: SandboxControl, as_: As) -> None:
    sandbox.clear_faults()
    engineer = as_("engineer")
    assert outage.connection
    answer = text(engineer.post(url(outage.connection, "test"), follow=True))
    assert "3 of 3 runs left, at most 1 at once now" in answer
    assert "Parked runs resume: 3 of 3 runs left." in text(engineer.get(page(outage)))
    hubspot = Connection.objects.get(slug="hubspot")
    first = Step.objects.filter(connection=hubspot, due_at__isnull=False).order_by("due_at").first()
    assert first
    claim = claiming.claim(first.pk)
    assert claim
    record(claim, engine.perform(claim), inline=False)
    assert "2 of 3 runs left, at most 2 at once now" in text(engineer.get(url(hubspot)))
