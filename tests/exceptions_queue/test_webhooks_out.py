"""Webhooks out: written with what they tell of, signed, tried again, paused, replayed."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from exceptions_queue import scheduling
from exceptions_queue.models import Ticket
from integrations import clock
from integrations.connections import key_rotation
from integrations.inbound import standard_webhooks
from integrations.inbound.delivery import NotVerified
from integrations.models import DeliveryState, WebhookDelivery, WebhookEndpoint
from integrations.outbound import delivery, services
from integrations.outbound.events import EventType
from onboarding import services as runs
from onboarding.models import AuditEntry, OnboardingTransaction
from tests.conftest import Drain
from tests.integrations.outbound.receiver import Receiver, receiving
from tests.onboarding.conftest import Accept, customer
from tests.support.threads import together

ALL = list(EventType)
Call = Callable[..., Any]


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    with receiving() as server:
        settings.SANDBOX_ORIGINS = [*settings.SANDBOX_ORIGINS, server.origin]
        yield server


@pytest.fixture
def endpoint(transactional_db: None, receiver: Receiver) -> tuple[WebhookEndpoint, str]:
    return services.make(receiver.url, ALL, actor="kim")


@pytest.fixture
def call(api_key: Callable[[str], str]) -> Call:
    client, keys = Client(), {}

    def ask(method: str, path: str = "", body: Any = None, scope: str = "operate") -> Any:
        key = keys.setdefault(scope, api_key(scope)) if scope else ""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        data = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        return getattr(client, method)(f"/api/v1/endpoints/{path}", headers=headers, **data)

    return ask


def told(receiver: Receiver) -> list[str]:
    return [json.loads(body)["type"] for _, _, body in receiver.got]


@pytest.mark.usefixtures("connections")
def test_a_runs_whole_way_is_told_once_each_and_signed(
    endpoint: tuple[WebhookEndpoint, str], receiver: Receiver, accept: Accept, drain: Drain
) -> None:
    run = accept(commercial__term=None)
    drain()
    runs.fix(run.pk, {"commercial.term": "annual"}, actor="kim")
    drain()
    scheduling.one_pass(publish=False)
    assert sorted(told(receiver)) == sorted(
        ["run.accepted", "exception.opened", "exception.resolved", "run.provisioned", "run.completed"]
    )
    made, secret = endpoint
    for path, headers, body in receiver.got:
        assert path == "/hooks/firstvalue/"
        message_id = standard_webhooks.verify(body, headers, [secret], clock.now()).id
        assert WebhookDelivery.objects.get(endpoint=made, event_id=message_id).state == DeliveryState.DELIVERED
        data = json.loads(body)["data"]
        assert data["onboarding_transaction_id"] == run.onboarding_transaction_id
        assert "jordan" not in body.decode().lower()
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 5


@pytest.mark.usefixtures("connections")
def test_runs_that_nobody_stops_for_are_told_too(
    endpoint: tuple[WebhookEndpoint, str], receiver: Receiver, accept: Accept, drain: Drain
) -> None:
    accept()
    drain()
    delivery.deliver()
    assert told(receiver) == ["run.accepted", "run.provisioned", "run.completed"]
    assert [json.loads(body)["data"]["status"] for _, _, body in receiver.got][-1] == "complete"


@pytest.mark.usefixtures("connections")
def test_a_change_that_is_asked_for_is_told_with_its_paths(
    endpoint: tuple[WebhookEndpoint, str], receiver: Receiver, accept: Accept, drain: Drain
) -> None:
    run = accept()
    drain()
    runs.request_change(run.pk, {"customer.territory": "apac"}, actor="kim")
    scheduling.one_pass(publish=False)
    (change,) = [json.loads(body) for _, _, body in receiver.got if json.loads(body)["type"] == "change.requested"]
    assert change["data"]["paths"] == ["customer.territory"]


def test_what_is_undone_is_not_told(endpoint: tuple[WebhookEndpoint, str], accept: Accept) -> None:
    from django.db import transaction

    class Undone(Exception):
        pass

    def accept_and_fail() -> None:
        with transaction.atomic():
            accept(commercial__term=None)
            assert WebhookDelivery.objects.count() == 2
            raise Undone

    with pytest.raises(Undone):
        accept_and_fail()
    assert not WebhookDelivery.objects.exists()
    assert not OnboardingTransaction.objects.exists()


def test_only_what_an_endpoint_asked_for_is_told(transactional_db: None, receiver: Receiver, accept: Accept) -> None:
    services.make(receiver.url, ["exception.opened"], actor="kim")
    accept(commercial__term=None)
    scheduling.one_pass(publish=False)
    assert told(receiver) == ["exception.opened"]
    (data,) = [json.loads(body)["data"] for _, _, body in receiver.got]
    assert (data["category"], data["url"]) == ("missing-data", Ticket.objects.get().url)


def test_a_failing_endpoint_is_tried_later_and_later_with_the_same_id(
    transactional_db: None, receiver: Receiver, accept: Accept
) -> None:
    services.make(receiver.url, ["run.accepted"], actor="kim")
    receiver.answers = [(500, {}), (302, {"Location": "http://127.0.0.1:1/"}), (429, {"Retry-After": "7200"})]
    accept(**customer("one"))
    waits = []
    for _ in range(3):
        scheduling.one_pass(publish=False)
        row = WebhookDelivery.objects.get(type="run.accepted")
        assert row.state == DeliveryState.PENDING
        assert row.due_at is not None
        waits.append(round((row.due_at - clock.now()).total_seconds()))
        clock.shift(row.due_at - clock.now() + timedelta(seconds=1))
    assert [abs(wait - wanted) < 3 for wait, wanted in zip(waits, (5, 300, 7200), strict=True)] == [True] * 3
    scheduling.one_pass(publish=False)
    row.refresh_from_db()
    assert (row.state, [each["status"] for each in row.log]) == (DeliveryState.DELIVERED, [500, 302, 429, 204])
    mine = [headers["webhook-id"] for _, headers, _ in receiver.got if headers["webhook-id"] == row.event_id]
    assert len(mine) == 4


def test_after_the_last_try_it_is_failed_until_somebody_replays_it(
    endpoint: tuple[WebhookEndpoint, str], receiver: Receiver, accept: Accept, call: Call
) -> None:
    receiver.answers = [(500, {})] * (len(delivery.BACKOFF) + 1)
    accept(**customer("one"))
    for _ in range(len(delivery.BACKOFF) + 1):
        delivery.deliver()
        clock.shift(timedelta(days=1, seconds=1))
    assert WebhookDelivery.objects.get().state == DeliveryState.FAILED
    delivery.deliver()
    assert len(receiver.got) == len(delivery.BACKOFF) + 1
    assert call("post", f"{endpoint[0].pk}/replay/", {}).json() == {"replayed": 1}
    delivery.deliver()
    assert WebhookDelivery.objects.get().state == DeliveryState.DELIVERED
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1


def test_what_was_written_while_it_was_paused_is_sent_when_it_is_resumed(
    endpoint: tuple[WebhookEndpoint, str], receiver: Receiver, accept: Accept, call: Call
) -> None:
    path = f"{endpoint[0].pk}/"
    assert call("patch", path, {"paused": True}).json()["paused"] is True
    accept(**customer("one"))
    delivery.deliver()
    assert receiver.got == []
    assert call("patch", path, {"paused": False}).json()["paused"] is False
    delivery.deliver()
    assert told(receiver) == ["run.accepted"]


def test_gone_pauses_the_endpoint(endpoint: tuple[WebhookEndpoint, str], receiver: Receiver, accept: Accept) -> None:
    receiver.answers = [(410, {})]
    accept(**customer("one"))
    delivery.deliver()
    assert WebhookEndpoint.objects.get().paused_by == "the endpoint (410 Gone)"


def test_two_schedulers_send_it_once(endpoint: tuple[WebhookEndpoint, str], receiver: Receiver, accept: Accept) -> None:
    accept(**customer("one"))
    together([delivery.deliver] * 4)
    assert told(receiver) == ["run.accepted"]


def test_a_lost_sender_is_replaced(
    endpoint: tuple[WebhookEndpoint, str], receiver: Receiver, accept: Accept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    accept(**customer("one"))
    with monkeypatch.context() as failing:
        failing.setattr(delivery, "_send", dies)
        with pytest.raises(KeyboardInterrupt):
            delivery.deliver()
    delivery.deliver()
    assert receiver.got == []
    clock.shift(delivery.SENDING_TAKES + timedelta(seconds=1))
    delivery.deliver()
    assert told(receiver) == ["run.accepted"]


def test_a_changed_secret_signs_beside_the_former_one_for_a_day(
    endpoint: tuple[WebhookEndpoint, str], receiver: Receiver, accept: Accept, call: Call
) -> None:
    made, former = endpoint
    secret = call("patch", f"{made.pk}/", {"rotate_secret": True}).json()["secret"]
    accept(**customer("one"))
    delivery.deliver()
    _, headers, body = receiver.got[-1]
    for each in (former, secret):
        standard_webhooks.verify(body, headers, [each], clock.now())
    clock.shift(timedelta(days=1, minutes=1))
    accept(**customer("two"))
    delivery.deliver()
    _, headers, body = receiver.got[-1]
    standard_webhooks.verify(body, headers, [secret], clock.now())
    with pytest.raises(NotVerified):
        standard_webhooks.verify(body, headers, [former], clock.now())


def test_secrets_are_encrypted_and_follow_a_change_of_keys(
    endpoint: tuple[WebhookEndpoint, str], settings: Any, receiver: Receiver, accept: Accept
) -> None:
    from cryptography.fernet import Fernet

    made, secret = endpoint
    assert secret not in made.secret
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode(), *settings.FIELD_ENCRYPTION_KEYS]
    assert sum(each.rotated for each in key_rotation.rotate() if each.model is WebhookEndpoint) == 1
    settings.FIELD_ENCRYPTION_KEYS = settings.FIELD_ENCRYPTION_KEYS[:1]
    accept(**customer("one"))
    delivery.deliver()
    _, headers, body = receiver.got[-1]
    standard_webhooks.verify(body, headers, [secret], clock.now())


def test_an_old_log_is_deleted(endpoint: tuple[WebhookEndpoint, str], accept: Accept) -> None:
    accept(**customer("one"))
    delivery.deliver()
    clock.shift(delivery.RETENTION + timedelta(days=1))
    delivery.deliver()
    assert not WebhookDelivery.objects.exists()


# --- REST


def test_an_endpoint_is_made_listed_changed_and_removed(
    transactional_db: None, receiver: Receiver, accept: Accept, call: Call
) -> None:
    made = call("post", "", {"url": receiver.url, "types": ["run.completed"], "description": "Data team"})
    assert made.status_code == 201
    body = made.json()
    assert body["secret"].startswith("whsec_")
    assert made["Location"].endswith(f"/api/v1/endpoints/{body['id']}/")
    (listed,) = call("get").json()["results"]
    assert (listed["url"], listed["types"], "secret" in listed) == (receiver.url, ["run.completed"], False)
    changed = call("patch", f"{body['id']}/", {"types": ["run.accepted"]}).json()
    assert (changed["types"], changed["description"]) == (["run.accepted"], "Data team")
    accept(**customer("one"))
    delivery.deliver()
    (shown,) = call("get", f"{body['id']}/").json()["deliveries"]
    assert (shown["type"], shown["state"], shown["log"][0]["status"]) == ("run.accepted", "delivered", 204)
    assert call("delete", f"{body['id']}/").status_code == 204
    assert call("get", f"{body['id']}/").status_code == 404
    assert call("get").json()["count"] == 0
    accept(**customer("two"))
    assert WebhookDelivery.objects.count() == 1
    names = AuditEntry.objects.filter(name__startswith="integrations.endpoint.").values_list("name", "actor")
    assert [name.rpartition(".")[2] for name, _ in names.order_by("pk")] == ["made", "changed", "removed"]
    assert {actor for _, actor in names} == {"key:test operate"}


@pytest.mark.parametrize(
    "url",
    ["http://hooks.example.com/", "https://127.0.0.1/", "https://localhost/", "https://10.0.0.8/x", "https://[::1]/",
     "https://169.254.169.254/latest/", "https://user:pw@hooks.example.com/", "https://hooks.example.com/?token=1", "ftp://x/",
     "https://hooks.example.com\\@10.0.0.1/", "not a url", "", "https://100.64.0.1/"],
)  # fmt: skip
def test_an_address_that_leads_elsewhere_is_refused(transactional_db: None, call: Call, url: str) -> None:
    answer = call("post", "", {"url": url})
    assert answer.status_code == 400
    assert not WebhookEndpoint.objects.exists()


def test_a_name_that_resolves_to_a_private_address_is_not_called(
    transactional_db: None, accept: Accept, settings: Any, receiver: Receiver
) -> None:
    made, _ = services.make(receiver.url, ALL, actor="kim")
    settings.SANDBOX_ORIGINS = []  # from now on it is an address like any other
    accept(**customer("one"))
    delivery.deliver()
    assert receiver.got == []
    assert "private address" in made.deliveries.get().log[0]["error"]


@pytest.mark.parametrize("scope", ["read", "intake"])
def test_other_scopes_are_refused(
    endpoint: tuple[WebhookEndpoint, str], receiver: Receiver, call: Call, scope: str
) -> None:
    for method, path, body in (
        ("get", "", None), ("post", "", {"url": receiver.url}), ("patch", f"{endpoint[0].pk}/", {"paused": True}),
        ("delete", f"{endpoint[0].pk}/", None), ("post", f"{endpoint[0].pk}/replay/", {}),
    ):  # fmt: skip
        assert call(method, path, body, scope=scope).status_code == 403
    assert WebhookEndpoint.objects.get().paused_at is None


@pytest.mark.parametrize(
    "body", [{"types": ["run.deleted"]}, {"types": []}, {"paused": "yes"}, {"secret": "x"}, {"url": 3}]
)
def test_a_wrong_body_is_refused(endpoint: tuple[WebhookEndpoint, str], call: Call, body: Any) -> None:
    assert call("patch", f"{endpoint[0].pk}/", body).status_code == 400


def test_a_replay_since_a_time_sends_what_was_delivered_too(
    endpoint: tuple[WebhookEndpoint, str], receiver: Receiver, accept: Accept, call: Call
) -> None:
    accept(**customer("one"))
    delivery.deliver()
    since = clock.now() - timedelta(minutes=1)
    assert call("post", f"{endpoint[0].pk}/replay/", {"since": since.isoformat()}).json() == {"replayed": 1}
    delivery.deliver()
    assert told(receiver) == ["run.accepted"] * 2
    later = {"since": (clock.now() + timedelta(days=1)).isoformat()}
    assert call("post", f"{endpoint[0].pk}/replay/", later).json() == {"replayed": 0}


# --- The console


@pytest.fixture
def at_console(people: dict[str, User]) -> Callable[[str], Client]:
    def log_in(name: str) -> Client:
        client = Client()
        client.force_login(people[name])
        return client

    return log_in


def test_the_console_shows_the_log_pauses_resumes_and_replays(
    endpoint: tuple[WebhookEndpoint, str], receiver: Receiver, accept: Accept, at_console: Callable[[str], Client]
) -> None:
    receiver.answers = [(410, {})]
    accept(**customer("one"))
    delivery.deliver()
    engineer, base = at_console("engineer"), f"/admin/integrations/webhookendpoint/{endpoint[0].pk}/"
    page = engineer.get(f"{base}change/").content.decode()
    assert "HTTP 410" in page
    assert "Paused by the endpoint" in page
    assert endpoint[0].secret not in page
    assert engineer.post(f"{base}resume/").status_code == 302
    assert engineer.post(f"{base}replay/").status_code == 302
    delivery.deliver()
    assert WebhookDelivery.objects.get().state == DeliveryState.DELIVERED
    engineer.post(f"{base}pause/")
    assert WebhookEndpoint.objects.get().paused_by == "engineer"
    assert engineer.get(f"{base}pause/").status_code == 405
    assert engineer.post(f"{base}destroy/").status_code == 404
    assert receiver.url in engineer.get("/admin/integrations/webhookendpoint/").content.decode()


NEW = "/admin/integrations/webhookendpoint/new/"


def test_an_endpoint_is_made_changed_and_removed_in_the_console(
    receiver: Receiver, accept: Accept, at_console: Callable[[str], Client]
) -> None:
    engineer = at_console("engineer")
    made = engineer.post(NEW, {"url": receiver.url, "description": "Data team", "run.accepted": "on"})
    endpoint = WebhookEndpoint.objects.get()
    secret = made.context["secret"]
    assert secret in made.content.decode()
    assert "no-store" in made["Cache-Control"]
    assert (endpoint.types, endpoint.description) == (["run.accepted"], "Data team")
    base = f"/admin/integrations/webhookendpoint/{endpoint.pk}/"
    assert secret not in engineer.get(f"{base}change/").content.decode()
    accept(**customer("one"))
    delivery.deliver()
    _, headers, body = receiver.got[0]
    assert standard_webhooks.verify(body, headers, [secret], clock.now())

    form = engineer.get(f"{base}edit/").context["form"]
    assert [each.name for each in form.events if each.value()] == ["run.accepted"]
    assert engineer.post(f"{base}edit/", {"url": receiver.url, "exception.opened": "on"}).status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.types, endpoint.description) == (["exception.opened"], "")
    changed = engineer.post(f"{base}new-secret/").context["secret"]
    assert changed != secret
    assert engineer.post(f"{base}remove/").status_code == 302
    assert receiver.url not in engineer.get("/admin/integrations/webhookendpoint/").content.decode()
    assert engineer.get(f"{base}edit/").status_code == 404
    assert engineer.post(f"{base}new-secret/").status_code == 404
    written = AuditEntry.objects.filter(name__startswith="integrations.endpoint.").values_list("name", "actor")
    assert [name.rpartition(".")[2] for name, _ in written] == ["made", "changed", "changed", "removed"]
    assert {actor for _, actor in written} == {"engineer"}


@pytest.mark.parametrize(
    ("entered", "said"),
    [
        ({"url": "http://hooks.example.com/", "run.accepted": "on"}, "https"),
        ({"url": "https://hooks.example.com/"}, "at least one type of event"),
        ({"url": "", "run.accepted": "on"}, "This field is required"),
        ({"url": "https://hooks.example.com/", "description": "x" * 201, "run.accepted": "on"}, "200 characters"),
    ],
)
def test_a_wrong_entry_is_said_and_nothing_is_made(
    transactional_db: None, at_console: Callable[[str], Client], entered: dict[str, str], said: str
) -> None:
    answer = at_console("engineer").post(NEW, entered)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert entered["url"] in answer.content.decode()
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize("name", ["sales", "support", "finance"])
def test_others_neither_see_nor_do_it(
    endpoint: tuple[WebhookEndpoint, str], at_console: Callable[[str], Client], name: str
) -> None:
    base = f"/admin/integrations/webhookendpoint/{endpoint[0].pk}/"
    assert at_console(name).get(f"{base}change/").status_code == 403
    for way in ("pause/", "remove/", "edit/", "new-secret/"):
        assert at_console(name).post(base + way).status_code == 403
    assert at_console(name).get(NEW).status_code == 403
