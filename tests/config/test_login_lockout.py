"""Failed logins: who is locked out, who is not, and where a refused login leads."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from config.client_address import client_address
from tests.conftest import PASSWORD

LOGIN = "/admin/login/"
ATTACKER, OFFICE = "203.0.113.9", "198.51.100.7"


@pytest.fixture(autouse=True)
def one_proxy(settings: Any, people: dict[str, User]) -> None:
    settings.PROXY_COUNT = 1


def log_in(name: str, password: str, forwarded_for: str, **more: str) -> Any:
    content = {"username": name, "password": password, **more}
    return Client(headers={"X-Forwarded-For": forwarded_for}).post(LOGIN, content)


def lock_out(name: str, address: str = ATTACKER) -> Any:
    """The last of many failed logins."""
    answers = [log_in(name, "wrong", f"{number}.2.3.4, {address}") for number in range(1, 10)]
    return answers[-1]


def test_lockout_does_not_affect_others_behind_the_same_proxy() -> None:
    assert lock_out("lead").status_code == 429

    assert log_in("lead", PASSWORD, ATTACKER).status_code == 429
    assert log_in("lead", PASSWORD, OFFICE).status_code == 302


def test_forged_address_neither_escapes_nor_causes_a_lockout(settings: Any) -> None:
    settings.PROXY_COUNT = 0  # whoever calls may write what they like
    lock_out("lead", OFFICE)

    assert log_in("lead", PASSWORD, "192.0.2.1").status_code == 429
    assert log_in("sales", PASSWORD, OFFICE).status_code == 302


@pytest.mark.parametrize(
    ("count", "header", "expected"),
    [
        (0, "192.0.2.1", "127.0.0.1"),
        (1, None, "127.0.0.1"),
        (1, "192.0.2.1", "192.0.2.1"),
        (1, "6.6.6.6, 192.0.2.1", "192.0.2.1"),
        (2, "6.6.6.6, 192.0.2.1, 10.0.0.1", "192.0.2.1"),
        (2, "192.0.2.1", "127.0.0.1"),
        (1, "192.0.2.1:443", "192.0.2.1"),
        (1, "[2001:db8::1]:443", "2001:db8::1"),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "unknown", "127.0.0.1"),
        (1, "", "127.0.0.1"),
    ],
)
def test_the_address_is_what_our_proxies_say(settings: Any, count: int, header: str | None, expected: str) -> None:
    settings.PROXY_COUNT = count
    headers = {} if header is None else {"X-Forwarded-For": header}

    assert client_address(RequestFactory().get("/", headers=headers)) == expected


def test_a_refused_login_leads_to_a_page_that_exists() -> None:
    page = lock_out("lead")
    [back] = re.findall(r'<a href="([^"]+)"', page.content.decode())

    assert "cannot log in from your address for 15 minutes" in page.content.decode()
    assert Client().get(back).status_code == 200


def test_a_login_that_names_no_page_leads_to_the_console() -> None:
    for more in ({}, {"next": ""}, {"next": "https://evil.example/"}):
        answer = log_in("lead", PASSWORD, OFFICE, **more)

        assert (answer.status_code, answer["Location"]) == (302, "/admin/")
