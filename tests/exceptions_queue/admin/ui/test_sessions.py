"""A session that expired in a form leads back to it after the login; whatever is refused is told on the product's own page."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from exceptions_queue.admin.ui.middleware import FORM_PAGES
from exceptions_queue.models import Ticket
from onboarding import services
from tests.exceptions_queue.admin.conftest import CONNECTIONS, QUEUE, RUNS, As, act, page, text

pytestmark = pytest.mark.one_database("postgres")
MARK = "#fv-restored"


def names_of(patterns: Any, prefix: str = "") -> list[str]:
    """Every name below the console's address."""
    found: list[str] = []
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            space = f"{pattern.namespace}:" if pattern.namespace else ""
            found += names_of(pattern.url_patterns, prefix + space)
        elif isinstance(pattern, URLPattern) and pattern.name:
            found.append(prefix + pattern.name)
    return found


def test_every_address_of_the_console_that_takes_only_posts_knows_its_page(
    ambiguous: Ticket, as_: As, settings: Any
) -> None:
    settings.SANDBOX_URL = "http://127.0.0.1:1"
    admin, run = as_("admin"), ambiguous.transaction
    assert run
    change = services.request_change(run.pk, {"customer.country": "AT"}, actor="kim")
    given: dict[str, Any] = {
        "pk": run.pk, "object_id": run.pk, "change": change.pk, "step": ambiguous.step_id, "name": "retry",
    }  # fmt: skip
    console = [each for each in get_resolver().url_patterns if str(each.pattern).startswith("admin/")]
    closed = set()
    for name in set(names_of(console)) - {"admin:logout", "admin:jsi18n"}:
        for keys in {(), ("pk",), ("name",), ("pk", "name"), ("pk", "change"), ("object_id",)}:
            try:
                url = reverse(name, kwargs={key: given[key] for key in keys})
            except Exception:  # noqa: BLE001, S112  (of other arguments)
                continue
            if admin.get(url).status_code == 405:
                closed.add(name)
    assert closed == set(FORM_PAGES)


@pytest.mark.parametrize("name", ["note", "fix", "skip", "assign", "snooze"])
def test_a_form_of_a_ticket_leads_back_to_the_ticket_after_the_login(
    missing: Ticket, people: dict[str, User], name: str
) -> None:
    browser = Client()
    answer = browser.post(act(missing, name), {"text": "Asked them by phone", "reason": "x"})
    assert answer.status_code == 302
    login = browser.get(answer["Location"])
    assert login.context["next"] == page(missing) + MARK
    back = browser.post(
        "/admin/login/", {"username": "sales", "password": "pw", "next": login.context["next"]}, follow=True
    )
    assert (back.status_code, back.redirect_chain[-1][0]) == (200, page(missing) + MARK)
    assert not missing.notes.exists()


@pytest.mark.parametrize("path", [f"{RUNS}start/", f"{CONNECTIONS}add/", "/admin/auth/user/add/", QUEUE])
def test_a_form_that_is_sent_to_its_own_page_leads_back_there(people: dict[str, User], path: str) -> None:
    answer = Client().post(path, {"slug": "typed"})
    assert answer["Location"] == f"/admin/login/?next={path}%23fv-restored"


def test_a_forgery_check_that_failed_leads_back_to_the_form(missing: Ticket, people: dict[str, User]) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(people["sales"])
    answer = browser.post(act(missing, "note"), {"text": "Asked them by phone"})
    assert (answer.status_code, "This form was out of date." in text(answer)) == (403, True)
    assert f'href="{page(missing)}{MARK}"' in answer.content.decode()
    assert "This form was out of date." in text(browser.post("/admin/login/", {"username": "sales"}))


def test_an_address_for_forms_says_where_the_form_is(missing: Ticket, as_: As) -> None:
    answer = as_("sales").get(act(missing, "note"))
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert "This address only takes what a form sends." in text(answer)
    assert f'href="{page(missing)}"' in answer.content.decode()


def test_every_refusal_is_a_page_of_the_product(missing: Ticket, as_: As) -> None:
    sales = as_("sales")
    sales.raise_request_exception = False
    many = {f"field-{number}": "x" for number in range(1100)}
    for answer, status, words in (
        (sales.get("/admin/nothing/here/"), 404, "There is nothing here."),
        (sales.get(CONNECTIONS), 403, "You may not see or do this."),
        (sales.post(act(missing, "note"), many), 400, "This request could not be understood."),
        (sales.post(page(missing)), 405, "This address only takes"),
    ):
        assert (answer.status_code, words in text(answer)) == (status, True), words
        assert "Firstvalue" in text(answer)
