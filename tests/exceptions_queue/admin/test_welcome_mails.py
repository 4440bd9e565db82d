"""The console's pages about the mails after the welcome: the run's page, the list, the preview."""

import html
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from exceptions_queue.welcome import schedule, sending
from onboarding import services
from onboarding.models import OnboardingTransaction
from tests.exceptions_queue.admin.conftest import RUNS, As, text
from tests.exceptions_queue.welcome.conftest import FIRST_STEPS, Welcome, fresh_sequences, go_to, welcome

__all__ = ["fresh_sequences", "welcome"]
LIST = "/admin/onboarding/scheduledmail/"
PREVIEW = f"{LIST}preview/"
HOSTILE = '"><script>alert(document.domain)</script></iframe>'


def page(run: OnboardingTransaction, client: Client) -> str:
    return text(client.get(f"{RUNS}{run.pk}/change/"))


def frame(response: Any) -> tuple[str, str]:
    """The attributes of the mail's frame, and the document in it."""
    (found,) = re.findall(r'<iframe ([^>]*?) srcdoc="([^"]*)"></iframe>', response.content.decode())
    return found[0], html.unescape(found[1])


def test_the_runs_page_says_when_each_is_sent_and_in_what_state(welcome: Welcome, as_: As) -> None:
    run = welcome()
    shown = page(run, as_("sales"))
    assert "First steps Tue 2027-03-09 09:00 schedule Scheduled" in shown
    assert "Check in Mon 2027-03-15 09:00 schedule Scheduled" in shown
    go_to(FIRST_STEPS)
    sending.deliver()
    assert "First steps en Tue 2027-03-09 09:0" in page(run, as_("sales"))


def test_it_says_why_they_are_stopped_or_on_hold(welcome: Welcome, as_: As) -> None:
    run = welcome()
    services.hold(run.pk, actor="kim", reason="Wait")
    assert "On hold It is put off until the run is resumed." in page(run, as_("sales"))
    services.resume(run.pk, actor="kim")
    schedule.stop_by_person(run.pk, actor="kim", reason="They know it all")
    assert "Stopped Stopped by kim: They know it all" in page(run, as_("sales"))


def test_a_person_stops_and_resumes_them_there(welcome: Welcome, as_: As) -> None:
    run, client = welcome(), as_("support")
    url = f"{RUNS}{run.pk}/act/stop-welcome/"
    assert url in client.get(f"{RUNS}{run.pk}/change/").content.decode()
    assert client.post(url, {"reason": ""}).status_code == 422
    assert client.post(url, {"reason": "Not wanted"}).status_code == 302
    assert not run.scheduled_mails.pending().exists()
    resume = f"{RUNS}{run.pk}/act/resume-welcome/"
    assert url not in client.get(f"{RUNS}{run.pk}/change/").content.decode()
    assert client.post(resume, {"reason": "Wanted after all"}).status_code == 302
    assert run.scheduled_mails.pending().count() == 2


def test_the_list_shows_them_and_leads_to_the_preview(welcome: Welcome, as_: As) -> None:
    welcome()
    shown = as_("finance").get(LIST)
    assert "Acme Logistics" in text(shown)
    assert PREVIEW in shown.content.decode()


def test_the_preview_shows_subject_text_and_html_with_the_runs_data(welcome: Welcome, as_: As) -> None:
    run = welcome()
    response = as_("sales").get(PREVIEW, {"run": run.onboarding_transaction_id, "mail": "first-steps"})
    shown = text(response)
    assert (
        "To Jordan Lee &lt;jordan@acme-logistics.com&gt; Subject Acme Logistics: your first steps Language en" in shown
    )
    assert "3 First steps shown below Tue 2027-03-09 09:00 schedule Scheduled" in shown
    assert "0 Welcome Thu 2027-03-04 12:00 check_circle Sent" in shown
    attributes, document = frame(response)
    assert 'sandbox=""' in attributes
    assert "<strong>first automated report</strong>" in document


def test_the_preview_in_another_language_and_sequence(welcome: Welcome, as_: As) -> None:
    run = welcome()
    asked = {"run": run.onboarding_transaction_id, "mail": "preparation", "sequence": "enterprise", "language": "de"}
    shown = text(as_("lead").get(PREVIEW, asked))
    assert "Subject Acme Logistics: zur Vorbereitung des Kickoffs Language de" in shown
    assert "Another sequence serves this customer" in shown
    assert "2 Preparation shown below Mon 2027-03-08 09:00 Not scheduled" in shown


def test_the_preview_before_the_welcome_and_of_the_welcome(welcome: Welcome, as_: As, pay: Any) -> None:
    run = welcome()
    shown = text(as_("sales").get(PREVIEW, {"run": run.onboarding_transaction_id, "mail": "welcome"}))
    assert "Subject Welcome, Acme Logistics: your onboarding has begun" in shown
    other = pay("beta")
    shown = text(as_("sales").get(PREVIEW, {"run": other.onboarding_transaction_id}))
    assert "The welcome has not gone out yet." in shown
    assert "Subject Beta Works: your first steps" in shown


def test_hostile_values_are_shown_as_text(welcome: Welcome, as_: As) -> None:
    run = welcome(customer__legal_name=HOSTILE, first_value_target__milestone=HOSTILE)
    response = as_("sales").get(PREVIEW, {"run": run.onboarding_transaction_id, "mail": "first-steps"})
    assert HOSTILE not in response.content.decode()
    _, document = frame(response)
    assert "<script" not in document
    assert "&lt;script&gt;" in document
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-src" not in policy


def test_personal_data_is_hidden_from_those_who_may_not_see_it(welcome: Welcome, as_: As) -> None:
    run = welcome()
    response = as_("finance").get(PREVIEW, {"run": run.onboarding_transaction_id, "mail": "first-steps"})
    shown = response.content.decode()
    assert "Jordan" not in shown
    assert "jordan@" not in shown
    assert "Personal data is hidden from you." in shown
    assert "jordan" not in as_("finance").get(LIST).content.decode().lower()


def test_the_preview_needs_the_permission(welcome: Welcome) -> None:
    run = welcome()
    client = Client()
    client.force_login(User.objects.create_user("temp", is_staff=True))
    assert client.get(PREVIEW, {"run": run.onboarding_transaction_id}).status_code == 403
    assert client.get(LIST).status_code == 403
    assert Client().get(PREVIEW).status_code == 302


def test_an_unknown_run_is_said_so(welcome: Welcome, as_: As) -> None:
    welcome()
    response = as_("sales").get(PREVIEW, {"run": "<b>nope</b>"})
    assert response.status_code == 404
    assert "There is no run with the transaction id &lt;b&gt;nope&lt;/b&gt;" in response.content.decode()


def test_without_a_run_it_says_so(as_: As, db: None) -> None:
    assert "There is no run yet" in text(as_("sales").get(PREVIEW))


def test_a_template_that_fails_is_said_on_the_page(welcome: Welcome, as_: As, monkeypatch: pytest.MonkeyPatch) -> None:
    run = welcome()

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("of a filter")

    monkeypatch.setattr(sending.texts, "write", broken)
    asked = {"run": run.onboarding_transaction_id, "mail": "first-steps"}
    shown = text(as_("sales").get(PREVIEW, asked))
    assert "It cannot be written: ZeroDivisionError: of a filter" in shown
