"""Vendor calls: bounded in time and size, recorded redacted; each failure tells whether it may have had an effect."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pydantic
import pytest
from django.db import transaction

from integrations import clock
from integrations.errors import DeadlinePassed, Kind, ProviderError, TemporaryRefusal
from integrations.http.client import MAX_ANSWER_BYTES, VendorHttp, retry_after, segment
from integrations.http.sockets import is_public
from integrations.models import ApiCall, Connection

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("sqlite")]
PATH = "/crm/v3/objects/companies"
COMPANY = {"properties": {"name": "Acme", "domain": "acme.com"}, "associations": []}
Made = Callable[..., VendorHttp]


class Anything(pydantic.BaseModel):
    id: str


@pytest.fixture
def http(hubspot) -> Made:
    def make(connection: Connection = hubspot, seconds: float = 20, **options) -> VendorHttp:
        headers = {"Authorization": "Bearer sandbox-hubspot-token"}
        return VendorHttp(connection, headers=headers, subject="step:1", deadline=time.monotonic() + seconds, **options)

    return make


def failure(call: Callable[[], object]) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        call()
    return raised.value


@contextmanager
def answering(answer: bytes, hold: threading.Event | None = None, heard: list[bytes] | None = None) -> Iterator[str]:
    """A server that gives one answer, whatever it is asked, and keeps what it was asked in ``heard``."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                asked = peer.recv(65_536)
                if heard is not None:
                    heard.append(asked)
                try:
                    peer.sendall(answer)
                    if hold:
                        while not hold.wait(0.05):
                            peer.sendall(b"X-Drip: 1\r\n")
                except OSError:
                    pass  # the caller hung up

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            if hold:
                hold.set()
            thread.join()


def test_an_answer_is_validated_and_the_call_recorded_without_secrets(http):
    answer = http().request("POST", PATH, json=COMPANY, expect=Anything)
    call = ApiCall.objects.get()
    assert answer.status == 201
    assert answer.data.id
    assert (call.method, call.path, call.status, call.subject) == ("POST", PATH, 201, "step:1")
    assert call.request == {"json": COMPANY}
    assert "sandbox-hubspot-token" not in str([call.request, call.response, call.error])


def test_a_lost_record_does_not_fail_the_call(http, monkeypatch):
    monkeypatch.setattr(ApiCall.objects, "bulk_create", lambda _: 1 / 0)
    assert http().request("POST", PATH, json=COMPANY, expect=Anything).data.id


def test_no_vendor_is_called_inside_a_database_transaction(http, sandbox):
    with transaction.atomic(), pytest.raises(RuntimeError, match="inside a database transaction"):
        http().request("GET", PATH + "/1")
    assert sandbox.requests("hubspot") == []


def test_nothing_is_sent_once_the_time_to_write_is_over(http, sandbox):
    def too_late() -> None:
        raise DeadlinePassed

    with pytest.raises(DeadlinePassed):
        http(seconds=-1).request("POST", PATH, json=COMPANY)
    with pytest.raises(DeadlinePassed):
        http(before_write=too_late).request("POST", PATH, json=COMPANY)
    assert sandbox.requests("hubspot") == []
    query = {"filterGroups": [], "properties": [], "sorts": [], "limit": 1, "after": "0"}
    assert http(before_write=too_late).request("POST", PATH + "/search", json=query, reads=True).status == 200


def test_a_vendor_that_cannot_be_reached_had_no_effect(http, hubspot):
    with socket.create_server(("127.0.0.1", 0)) as server:
        hubspot.base_url = f"http://127.0.0.1:{server.getsockname()[1]}"
    error = failure(lambda: http().request("POST", PATH, json=COMPANY))
    assert (error.kind, error.effect_possible) == (Kind.SERVER, False)
    assert ApiCall.objects.get().status is None


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after", "reset_before", "reset_after", "slow_drip"])
def test_a_write_without_an_answer_may_have_had_an_effect(http, sandbox, settings, fault):
    settings.CALL_SECONDS = 0.6
    sandbox.add_fault("hubspot", fault, delay=5.0)
    started = time.monotonic()
    error = failure(lambda: http().request("POST", PATH, json=COMPANY, expect=Anything))
    assert time.monotonic() - started < 2
    assert (error.kind, error.effect_possible) == (Kind.SERVER, True)
    assert not failure(lambda: http().request("GET", PATH + "/1", expect=Anything)).effect_possible


def test_slow_headers_are_cut_at_the_deadline(http, hubspot, settings):
    settings.CALL_SECONDS = 0.5
    with answering(b"HTTP/1.1 200 OK\r\n", threading.Event()) as hubspot.base_url:
        started = time.monotonic()
        error = failure(lambda: http().request("POST", PATH, json=COMPANY))
    assert time.monotonic() - started < 2
    assert error.effect_possible


def test_an_endless_answer_is_cut(http, hubspot):
    huge = b"x" * (MAX_ANSWER_BYTES + 100_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(huge)}\r\n\r\n".encode()
    with answering(head + huge) as hubspot.base_url:
        assert failure(lambda: http().request("GET", PATH)).kind is Kind.SERVER


@pytest.mark.parametrize(
    ("fault", "status", "kind", "effect"),
    [
        ("error_after", 500, Kind.SERVER, True),
        ("error_before", 503, Kind.SERVER, True),
        ("unauthorized", None, Kind.AUTH, False),
        ("forbidden", None, Kind.FORBIDDEN, False),
        ("error_before", 404, Kind.NOT_FOUND, False),
        ("error_before", 409, Kind.CONFLICT, False),
        ("error_before", 422, Kind.INVALID, False),
        ("malformed", None, Kind.MALFORMED, True),
        ("wrong_shape", None, Kind.MALFORMED, True),
    ],
)
def test_each_refusal_has_its_kind(http, sandbox, fault, status, kind, effect):
    sandbox.add_fault("hubspot", fault, status=status)
    error = failure(lambda: http().request("POST", PATH, json=COMPANY, expect=Anything))
    assert (error.kind, error.effect_possible) == (kind, effect)


def test_a_rate_limit_says_how_long_to_wait(http, sandbox):
    sandbox.add_fault("hubspot", "rate_limit", retry_after=7)
    error = failure(lambda: http().request("POST", PATH, json=COMPANY))
    assert (error.kind, error.retry_after, error.effect_possible) == (Kind.RATE_LIMIT, 7.0, False)


@pytest.mark.parametrize(
    ("status", "kind", "whole"),
    [
        (503, Kind.SERVER, True),
        (500, Kind.SERVER, False),
        (423, Kind.TEMPORARY, False),
        (409, Kind.TEMPORARY, False),
        (403, Kind.TEMPORARY, False),
        (404, Kind.TEMPORARY, False),
        (413, Kind.TEMPORARY, False),
        (401, Kind.AUTH, False),
    ],
)
def test_retry_after_is_honoured_for_any_status(http, sandbox, status, kind, whole):
    sandbox.add_fault("hubspot", "error_before", status=status, retry_after=7)
    error = failure(lambda: http().request("POST", PATH, json=COMPANY))
    assert (error.kind, error.retry_after, error.whole_account) == (kind, 7.0, whole)
    assert error.effect_possible == (status >= 500)


def test_documented_transient_refusal_has_its_own_wait(http, sandbox):
    made = http()
    made.temporary = (TemporaryRefusal(418, wait=60.0, whole_account=True), TemporaryRefusal(423, wait=2.0))
    seen = []
    for status, asked in ((418, None), (418, 90), (423, 1)):
        clock.shift(timedelta(seconds=100))
        sandbox.add_fault("hubspot", "error_before", status=status, retry_after=asked, count=1)
        error = failure(lambda: made.request("POST", PATH, json=COMPANY))
        seen.append((error.kind, error.http_status, error.retry_after, error.whole_account, error.effect_possible))
    assert seen == [
        (Kind.TEMPORARY, 418, 60.0, True, False),
        (Kind.TEMPORARY, 418, 90.0, True, False),
        (Kind.TEMPORARY, 423, 2.0, False, False),
    ]


def test_once_a_vendor_asks_for_a_pause_nothing_more_is_sent_in_it(http, hubspot, sandbox):
    under_way = http()
    sandbox.add_fault("hubspot", "rate_limit", retry_after=60, count=1)
    failure(lambda: http().request("POST", PATH, json=COMPANY))
    held = failure(lambda: under_way.request("POST", PATH, json=COMPANY))
    assert (held.kind, held.effect_possible) == (Kind.RATE_LIMIT, False)
    assert 55 < (held.retry_after or 0) <= 60
    assert len(sandbox.requests("hubspot")) == 1
    clock.shift(timedelta(seconds=61))
    assert under_way.request("POST", PATH, json=COMPANY, expect=Anything).status == 201


def test_a_read_that_is_to_be_repeated_in_a_moment_is_no_failure_and_a_write_is_the_engines(http, hubspot, sandbox):
    made = http().request("POST", PATH, json=COMPANY, expect=Anything).data
    sandbox.add_fault("hubspot", "rate_limit", method="GET", retry_after=0.05, count=2)
    assert http().request("GET", f"{PATH}/{made.id}", expect=Anything).status == 200
    assert list(ApiCall.objects.order_by("pk").values_list("status", flat=True)) == [201, 429, 429, 200]
    hubspot.refresh_from_db(fields=["lowered_at"])
    assert hubspot.lowered_at is not None, "the connection goes slower all the same"
    sandbox.add_fault("hubspot", "rate_limit", method="POST", retry_after=0.05, count=1)
    assert failure(lambda: http().request("POST", PATH, json=COMPANY)).kind is Kind.RATE_LIMIT


def test_a_pause_that_another_process_was_told_of_holds_a_step_that_has_begun(http, hubspot, sandbox, monkeypatch):
    monkeypatch.setattr("integrations.http.client.LOOK_AGAIN_SECONDS", 0)
    under_way = http()
    Connection.objects.update(paused_until=clock.now() + timedelta(seconds=60))
    assert failure(lambda: under_way.request("POST", PATH, json=COMPANY)).kind is Kind.RATE_LIMIT
    assert sandbox.requests("hubspot") == []


def test_transient_refusal_is_recognised_by_its_code():
    conflict = TemporaryRefusal(409, code="DatabaseConflict")
    assert conflict.covers(409, {"error": "DatabaseConflict", "description": "A write at the same moment"})
    assert not conflict.covers(409, {"error": "RecordInvalid"})
    assert not conflict.covers(409, "DatabaseConflict")
    assert not conflict.covers(422, {"error": "DatabaseConflict"})


def test_retry_after_is_read_as_seconds_or_as_a_date():
    date = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
    headers = {"Retry-After": format_datetime(date + timedelta(seconds=90), usegmt=True)}
    assert retry_after(headers | {"Date": format_datetime(date, usegmt=True)}) == 90
    soon = {"Retry-After": format_datetime(clock.now() + timedelta(seconds=60), usegmt=True)}
    assert 55 <= retry_after(soon) <= 60
    assert retry_after({"Retry-After": "2.5"}) == 2.5
    assert [retry_after({"Retry-After": odd}) for odd in ("", "soon", "nan")] == [None, None, None]


@pytest.mark.parametrize(("status", "kind"), [(302, Kind.NOT_CONFIGURED), (303, Kind.MALFORMED)])
def test_redirects_are_not_followed(http, hubspot, sandbox, status, kind):
    answer = f"HTTP/1.1 {status} X\r\nLocation: {sandbox.base_url}/hubspot/x\r\nContent-Length: 0\r\n\r\n"
    with answering(answer.encode()) as hubspot.base_url:
        error = failure(lambda: http().request("POST", PATH, json=COMPANY))
    assert (error.kind, error.effect_possible) == (kind, status == 303)
    assert sandbox.requests("hubspot") == []


def test_foreign_404_page_does_not_prove_absence(http, hubspot):
    page = b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>"
    with answering(page) as hubspot.base_url:
        assert failure(lambda: http().request("GET", PATH + "/1")).kind is Kind.MALFORMED


def test_a_production_connection_never_sends_to_a_private_address(http, hubspot, sandbox):
    hubspot.environment = "production"
    error = failure(lambda: http().request("POST", PATH, json=COMPANY))
    assert (error.kind, error.effect_possible) == (Kind.SERVER, False)
    assert sandbox.requests("hubspot") == []


def test_errors_and_log_lines_are_redacted(http, sandbox, caplog):
    caplog.set_level(logging.DEBUG, "integrations.http.recording")
    sandbox.seed("hubspot", "contacts", [{"email": "jordan@acme.com"}])
    contact = {"properties": {"email": "jordan@acme.com", "phone": "+49 1"}, "associations": []}
    failure(lambda: http().request("POST", "/crm/v3/objects/contacts", json=contact))
    http().request("GET", "/crm/v3/objects/contacts/jordan%40acme.com", params={"idProperty": "email"})
    stored = list(ApiCall.objects.values("path", "error", "request", "response"))
    assert "jordan@" not in str(stored) + caplog.text
    assert "+49 1" not in str(stored)
    assert "j***@acme.com" in caplog.text


def test_a_sandbox_connection_sends_nothing_elsewhere_on_this_machine(http, hubspot, settings, sandbox):
    settings.SANDBOX_ORIGINS = [sandbox.base_url]
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        hubspot.base_url = f"http://127.0.0.1:{server.getsockname()[1]}"
        error = failure(lambda: http().request("POST", PATH, json=COMPANY))
        peer, _ = server.accept()
        with peer:
            assert peer.recv(1) == b""
    assert (error.kind, error.effect_possible) == (Kind.SERVER, False)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]
)
def test_an_address_of_the_internet_is_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "100.64.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255"),
        *("::1", "::", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "ff0e::1"),
        *(
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "::a00:1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
        ),
        *(
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001:0:808:808::f5ff:fffe",
            "2001:0:a00:1::",
            "2600::5efe:a00:1",
            "2600::200:5efe:127.0.0.1",
        ),
    ],
)
def test_an_address_that_is_private_or_maps_to_a_private_one_is_not_public(address):
    assert not is_public(address)


# --- What is sent ---------------------------------------------------------------------------------------------------

WELL = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"id":"1"}'


def sent(http: Made, hubspot: Connection, method: str, path: str, **options) -> str:
    heard: list[bytes] = []
    with answering(WELL, heard=heard) as address:
        hubspot.base_url = address
        http(hubspot).request(method, path, expect=Anything, **options)
    return heard[0].decode().lower()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_a_request_without_a_body_declares_no_content_type(http, hubspot, method):
    assert "content-type" not in sent(http, hubspot, method, "/accounts")


def test_a_body_declares_json_and_a_vendor_may_want_it_declared_without_one(http, hubspot):
    assert "content-type: application/json" in sent(http, hubspot, "POST", "/accounts", json=COMPANY)
    declared = {"Content-Type": "application/json"}
    assert "content-type: application/json" in sent(http, hubspot, "DELETE", "/accounts/1", headers=declared)


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("Novo Nordisk A/S", "novo%20nordisk%20a%2fs"),
        ("100 % Öko?", "100%20%25%20%c3%96ko%3f"),
        ("a%2Fb", "a%252fb"),
        ("../admin", "..%2fadmin"),
    ],
)
def test_a_name_in_a_path_is_one_segment_on_the_wire(http, hubspot, name, escaped):
    asked = sent(http, hubspot, "GET", f"/accounts/{segment(name)}/notes")
    assert asked.startswith(f"get /accounts/{escaped}/notes http/1.1")
