"""A delivery vendor's webhook makes us look at the kickoff's task at once; what the task is now, the vendor says."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db.models import F
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from exceptions_queue import scheduling
from integrations import clock
from integrations.connections.services import set_connection
from integrations.connectors.objects import DeliveryTask
from integrations.enums import EventState
from integrations.inbound.delivery import ReceivedEvent
from integrations.inbound.storing import store
from integrations.models import Connection, InboundEvent
from integrations.sandbox.control import SandboxControl
from integrations.vendors.asana import sample_events as asana_events
from integrations.vendors.jira.sample_events import encode, headers, issue_updated
from onboarding import services
from onboarding.engine.periodic import polling
from onboarding.engine.runs import waits
from onboarding.enums import RunEventType, Status, WaitsFor
from onboarding.models import Attempt, AuditEntry, ObjectMapping, OnboardingTransaction, Step, StepPoll
from tests.conftest import Drain
from tests.integrations.vendors.conformance import Bench
from tests.onboarding.conftest import Accept, shown, status_of, step_of

pytestmark = pytest.mark.usefixtures("whole_playbook", "smtp")
SECRET = "a-secret-of-the-webhook"


@pytest.fixture
def bench(connections: dict[str, Connection], sandbox: SandboxControl) -> Bench:
    """Jira in Asana's place."""
    Connection.objects.filter(slug="asana").update(enabled=False)
    made = Bench("jira", sandbox)
    set_connection("jira", system="delivery", provider="jira", secrets={"webhook_secret": [SECRET]}, actor="tests")
    return made


@pytest.fixture
def awaited(bench: Bench, accept: Accept, drain: Drain) -> OnboardingTransaction:
    run = accept()
    drain()
    step = step_of(run, "kickoff.task")
    assert step.waits_for == WaitsFor.EVENT, shown(run)
    assert step.connection is not None
    assert step.connection.provider == "jira"
    return run


def task(run: OnboardingTransaction) -> str:
    return ObjectMapping.objects.get(transaction=run, step__key="kickoff.task").external_id


def tell(issue_id: str) -> None:
    raw = encode(issue_updated(issue_id, at=int(clock.now().timestamp() * 1000)))
    answer = Client().post("/webhooks/jira/", data=raw, content_type="application/json", headers=headers(raw, SECRET))
    assert answer.status_code == 200
    scheduling.one_pass(publish=False)
    scheduling.one_pass(publish=False)


def looked_at(sandbox: SandboxControl, issue_id: str) -> int:
    asked = sandbox.requests("jira")
    return sum(
        each["method"] == "GET" and each["path"].partition("?")[0].endswith(f"/issue/{issue_id}") for each in asked
    )


def test_a_completed_task_is_known_at_once(
    awaited: OnboardingTransaction, bench: Bench, drain: Drain, sandbox: SandboxControl
) -> None:
    bench.connector().update(task(awaited), DeliveryTask(completed=True))
    tell(task(awaited))
    drain()
    assert status_of(awaited) == Status.COMPLETE, shown(awaited)
    assert InboundEvent.objects.get().state == EventState.PROCESSED


def test_the_webhook_is_believed_nothing(awaited: OnboardingTransaction, sandbox: SandboxControl) -> None:
    attempts = Attempt.objects.count()
    entries = AuditEntry.objects.filter(name__startswith="onboarding.step").count()
    before = looked_at(sandbox, task(awaited))
    tell(task(awaited))
    assert looked_at(sandbox, task(awaited)) == before + 1
    assert step_of(awaited, "kickoff.task").waits_for == WaitsFor.EVENT
    assert Attempt.objects.count() == attempts, "a look is no attempt"
    assert AuditEntry.objects.filter(name__startswith="onboarding.step").count() == entries


def test_a_task_that_nobody_awaits_is_not_looked_at(awaited: OnboardingTransaction, sandbox: SandboxControl) -> None:
    other = ObjectMapping.objects.filter(transaction=awaited, step__key="delivery.tasks").first()
    assert other is not None
    before = looked_at(sandbox, other.external_id)
    tell(other.external_id)
    tell("99999")
    assert looked_at(sandbox, other.external_id) == before
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {EventState.IGNORED}


def test_what_is_told_during_a_look_is_looked_at_again(
    awaited: OnboardingTransaction, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = step_of(awaited, "kickoff.task")
    clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))

    def told_meanwhile(_: Any) -> bool:
        polling.look_now([step.pk])
        return False

    monkeypatch.setattr(polling, "_is_new", told_meanwhile)
    polling.poll(step.pk)
    poll = StepPoll.objects.get()
    assert poll.due_at is not None
    assert poll.due_at <= clock.now()


def test_while_webhooks_arrive_it_is_polled_less_often(awaited: OnboardingTransaction, settings: Any) -> None:
    usual = timedelta(seconds=settings.KICKOFF_POLL_SECONDS)
    clock.shift(usual + timedelta(seconds=1))
    scheduling.one_pass(publish=False)
    due = StepPoll.objects.get().due_at
    assert due is not None
    assert due - clock.now() <= usual
    clock.shift(polling.ASKED_ANEW)
    tell(task(awaited))
    due = StepPoll.objects.get().due_at
    assert due is not None
    assert due - clock.now() > usual * (polling.RARER_WITH_WEBHOOKS - 1)
    clock.shift(polling.RECENT)
    scheduling.one_pass(publish=False)
    due = StepPoll.objects.get().due_at
    assert due is not None
    assert due - clock.now() <= usual, "no webhook has come for a day: they may be broken"


@pytest.mark.usefixtures("connections")
class TestAsana:
    """It tells of a task only where it is asked to, and chooses the secret itself."""

    @pytest.fixture
    def awaited(
        self,
        live_server: LiveServer,
        accept: Accept,
        drain: Drain,
        settings: Any,
    ) -> OnboardingTransaction:
        settings.PUBLIC_URL = live_server.url
        set_connection(
            "asana", system="delivery", provider="asana", secrets={"webhook_secret": [SECRET]}, actor="tests"
        )
        run = accept()
        drain()
        assert step_of(run, "kickoff.task").waits_for == WaitsFor.EVENT, shown(run)
        clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))
        scheduling.one_pass(publish=False)
        return run

    @staticmethod
    def hook(sandbox: SandboxControl) -> dict[str, Any]:
        (only,) = sandbox.objects("asana", "webhooks")
        body: dict[str, Any] = only["body"]
        return body

    @staticmethod
    def send(hook: dict[str, Any], *events: dict[str, Any], secret: str = "") -> int:
        raw = asana_events.encode(*events)
        signed = asana_events.sign(raw, secret or hook["secret"])
        path = hook["target"].partition("/webhooks/")[2]
        answer = Client().post(f"/webhooks/{path}", data=raw, content_type="application/json", headers=signed)
        return answer.status_code

    def test_the_first_look_asks_for_a_webhook_of_the_task(
        self, awaited: OnboardingTransaction, sandbox: SandboxControl, settings: Any
    ) -> None:
        hook = self.hook(sandbox)
        assert hook["resource"] == task(awaited)
        assert SECRET not in hook["target"], "the text itself is told to nobody"
        assert Connection.objects.get(slug="asana").secrets(f"hook:{task(awaited)}") == [hook["secret"]]
        for _ in range(2):
            clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))
            scheduling.one_pass(publish=False)
        assert len(sandbox.objects("asana", "webhooks")) == 1

    def test_a_completed_task_is_known_at_once(
        self, awaited: OnboardingTransaction, asana: Connection, sandbox: SandboxControl, drain: Drain
    ) -> None:
        from tests.integrations.vendors.asana.test_connector import delivery

        hook, gid = self.hook(sandbox), task(awaited)
        delivery(asana).update(gid, DeliveryTask(completed=True))
        event = asana_events.task_event(gid)
        assert [self.send(hook, event), self.send(hook, event), self.send(hook)] == [200, 200, 200]
        assert InboundEvent.objects.count() == 1
        scheduling.one_pass(publish=False), scheduling.one_pass(publish=False)
        drain()
        assert status_of(awaited) == Status.COMPLETE, shown(awaited)
        clock.shift(timedelta(hours=2))
        scheduling.one_pass(publish=False)
        assert sandbox.objects("asana", "webhooks") == [], "nobody awaits the task any more"
        assert Connection.objects.get(slug="asana").secrets(f"hook:{gid}") == []
        assert StepPoll.objects.get().due_at is None

    def test_what_is_not_asanas_is_not_taken(self, awaited: OnboardingTransaction, sandbox: SandboxControl) -> None:
        hook, gid = self.hook(sandbox), task(awaited)
        event = asana_events.task_event(gid)
        assert self.send(hook, event, secret="another") == 400
        assert self.send(hook | {"target": hook["target"].replace(gid, "1")}, event) == 400
        assert self.send(hook | {"target": "http://x/webhooks/asana/?task=" + gid}, event) == 400
        assert not InboundEvent.objects.exists()

    def test_nobody_else_chooses_the_secret(self, awaited: OnboardingTransaction, sandbox: SandboxControl) -> None:
        hook, gid = self.hook(sandbox), task(awaited)
        answer = Client().post(
            f"/webhooks/asana/?task={gid}&token=0000",
            data=b"{}",
            content_type="application/json",
            headers={"X-Hook-Secret": "mine"},
        )
        assert (answer.status_code, answer.has_header("X-Hook-Secret")) == (400, False)
        assert Connection.objects.get(slug="asana").secrets(f"hook:{gid}") == [hook["secret"]]

    def test_a_vendor_that_refuses_it_is_polled_as_ever(
        self, sandbox: SandboxControl, accept: Accept, drain: Drain, settings: Any
    ) -> None:
        settings.PUBLIC_URL = "http://127.0.0.1:9"  # nobody answers there
        set_connection(
            "asana", system="delivery", provider="asana", secrets={"webhook_secret": [SECRET]}, actor="tests"
        )
        run = accept()
        drain()
        for _ in range(3):
            clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))
            scheduling.one_pass(publish=False)
        assert StepPoll.objects.get().count == 3
        told = ReceivedEvent("1:a", "task.changed", '{"task": "1"}', occurred_at=None)  # of another task's webhook
        assert store(Connection.objects.get(slug="asana"), told)
        clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS) + polling.ASKED_ANEW)
        scheduling.one_pass(publish=False)
        due = StepPoll.objects.get().due_at
        assert due is not None
        assert due - clock.now() <= timedelta(seconds=settings.KICKOFF_POLL_SECONDS)
        assert sum(each["path"].startswith("/asana/api/1.0/webhooks") for each in sandbox.requests("asana")) <= 1
        assert step_of(run, "kickoff.task").waits_for == WaitsFor.EVENT

    @staticmethod
    def report(run: OnboardingTransaction, kind: RunEventType, drain: Drain) -> None:
        services.receive_event(run.pk, kind=kind, event_id=kind, occurred_at=clock.now(), data={}, actor="tests")
        drain()

    @staticmethod
    def secrets(run: OnboardingTransaction) -> int:
        return Connection.objects.get(slug="asana").secret_rows.filter(name=f"hook:{task(run)}").count()

    @pytest.mark.parametrize("is_ended", [True, False])
    def test_a_task_that_is_awaited_anew_is_told_of_anew(
        self, awaited: OnboardingTransaction, sandbox: SandboxControl, drain: Drain, settings: Any, is_ended: bool
    ) -> None:
        first = self.hook(sandbox)
        self.report(awaited, RunEventType.KICKOFF_SCHEDULED, drain)
        if is_ended:
            clock.shift(timedelta(hours=2))
            scheduling.one_pass(publish=False)
            assert sandbox.objects("asana", "webhooks") == []
        self.report(awaited, RunEventType.KICKOFF_CANCELLED, drain)
        assert step_of(awaited, "kickoff.task").waits_for == WaitsFor.EVENT
        clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))
        scheduling.one_pass(publish=False)
        assert self.hook(sandbox)["secret"] != first["secret"]
        assert self.send(self.hook(sandbox), asana_events.task_event(task(awaited))) == 200

    def test_a_webhook_that_cannot_be_ended_now_is_ended_later(
        self, awaited: OnboardingTransaction, sandbox: SandboxControl, drain: Drain
    ) -> None:
        hook = self.hook(sandbox)
        sandbox.add_fault("asana", "forbidden", method="DELETE", path="*/webhooks/*", count=1)
        self.report(awaited, RunEventType.KICKOFF_SCHEDULED, drain)
        clock.shift(timedelta(hours=2))
        scheduling.one_pass(publish=False)
        assert self.hook(sandbox) == hook
        assert self.secrets(awaited) == 0
        assert self.send(hook, asana_events.task_event(task(awaited))) == 400, "Asana deletes it where we cannot"
        clock.shift(timedelta(hours=2))
        scheduling.one_pass(publish=False)
        assert sandbox.objects("asana", "webhooks") == []
        assert (StepPoll.objects.get().watch, StepPoll.objects.get().due_at) == ("", None)

    def test_of_a_connection_that_is_switched_off_nothing_is_taken(
        self, awaited: OnboardingTransaction, drain: Drain
    ) -> None:
        self.report(awaited, RunEventType.KICKOFF_SCHEDULED, drain)
        Connection.objects.filter(slug="asana").update(enabled=False)
        clock.shift(timedelta(hours=2))
        scheduling.one_pass(publish=False)
        assert self.secrets(awaited) == 0
        assert (StepPoll.objects.get().watch, StepPoll.objects.get().due_at) == ("", None)

    def test_a_step_that_is_only_tried_again_keeps_its_webhook(
        self, awaited: OnboardingTransaction, sandbox: SandboxControl, settings: Any
    ) -> None:
        hook = self.hook(sandbox)
        sandbox.add_fault("asana", "error_before", method="GET", path="*/tasks/*", count=2)
        clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))
        scheduling.one_pass(publish=False)
        step = step_of(awaited, "kickoff.task")
        assert step.waits_for == WaitsFor.RETRY
        polling.poll(step.pk)  # a message that was in the broker
        scheduling.one_pass(publish=False)
        assert self.hook(sandbox) == hook
        assert StepPoll.objects.get().watch

    def test_a_wait_that_begins_while_a_webhook_is_ended_is_polled(
        self, awaited: OnboardingTransaction, sandbox: SandboxControl
    ) -> None:
        step = step_of(awaited, "kickoff.task")
        Step.objects.filter(pk=step.pk).update(waits_for=WaitsFor.NOTHING, finished_at=clock.now())
        begun = False

        def begin_before_it_is_written(execute: Any, sql: str, *rest: Any) -> Any:
            nonlocal begun
            if sql.startswith("UPDATE") and "steppoll" in sql and not begun:
                begun = True
                Step.objects.filter(pk=step.pk).update(waits_for=WaitsFor.EVENT, finished_at=None)
                clock.shift(timedelta(seconds=1))
                waits.begin(step, clock.now())
            return execute(sql, *rest)

        with database.execute_wrapper(begin_before_it_is_written):
            polling.poll(step.pk)
        assert begun
        poll = StepPoll.objects.get()
        assert poll.due_at is not None
        assert poll.watch
        assert self.hook(sandbox)["resource"] == task(awaited)


class TestAsanaAtTheFirstLook:
    @pytest.fixture
    def asana(self, connections: dict[str, Connection], accept: Accept, drain: Drain) -> Connection:
        made, text = connections["asana"], {"webhook_secret": [SECRET]}
        set_connection(made.slug, system=made.system, provider=made.provider, secrets=text, actor="tests")
        run = accept()
        drain()
        assert step_of(run, "kickoff.task").waits_for == WaitsFor.EVENT, shown(run)
        return made

    def look(self, settings: Any) -> StepPoll:
        clock.shift(timedelta(seconds=settings.KICKOFF_POLL_SECONDS + 1))
        scheduling.one_pass(publish=False)
        return StepPoll.objects.get()

    def test_a_text_that_cannot_be_read_keeps_no_look_from_its_turn(self, asana: Connection, settings: Any) -> None:
        asana.secret_rows.filter(name="webhook_secret").update(ciphertext="unreadable")
        Connection.objects.update(credentials_version=F("credentials_version") + 1)
        poll = self.look(settings)
        assert (poll.count, poll.watch) == (1, "")
        assert poll.due_at is not None
        assert poll.due_at > clock.now()
