"""What the planner said is what then happened: replays, changes and rollbacks on the sandbox, for each verdict."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
import requests

from integrations import clock
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.engine.planning import plan_change
from onboarding.enums import Category, Status, StepState, WaitsFor
from onboarding.models import ObjectMapping, OnboardingTransaction
from onboarding.payload.schema import with_values
from onboarding.services import Effect
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, shown, status_of, step_of, ticket_of
from tests.onboarding.engine.test_flow import created
from tests.onboarding.services.test_changes import KIM, complete, writes
from tests.onboarding.services.test_rollback import BY, USERS, left

__all__ = ["complete", "writes"]  # fixtures
pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")

HAPPENED = {
    "onboarding.step.claimed": "tried",
    "onboarding.step.blocked": "asked",
    "onboarding.object.created": "made",
    "onboarding.object.linked": "linked",
    "onboarding.object.updated": "updated",
    "onboarding.object.replaced": "replaced",
    "onboarding.object.taken-back": "gone",
    "onboarding.object.kept": "kept",
}
FULFILS: dict[str, list[set[str]]] = {
    "skip": [{"tried"}],
    "look-up": [{"tried", "made"}, {"tried", "linked"}],
    "create": [{"tried", "made"}],
    "send-again": [{"tried"}],
    "update": [{"tried", "updated"}],
    "another": [{"tried", "replaced", "made"}, {"tried", "replaced", "linked"}],
    "take-back": [{"tried", "gone"}],
    "gone": [{"tried", "gone"}],
    "settle-first": [{"tried", "gone"}],
    "changed-since": [{"tried", "asked"}],
}
"""What the audit trail tells of a step, by what was said of it."""


class Watched:
    """A run from now on: what becomes of each step."""

    def __init__(self, run: OnboardingTransaction) -> None:
        self.run = run
        last = run.audit.order_by("sequence").last()
        self.since = last.sequence if last else 0

    @property
    def happened(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for entry in self.run.audit.filter(sequence__gt=self.since, name__in=HAPPENED):
            found[entry.data["step"]].add(HAPPENED[entry.name])
        return found

    def keeps(self, effects: Iterable[Effect], *, but: str = "") -> None:
        """That exactly this happened, and to no other step than ``but``."""
        said, happened = {effect.step: effect for effect in effects if effect.step != but}, self.happened
        for key, effect in said.items():
            became = happened[key]
            if effect.waits:
                assert "asked" in became or step_of(self.run, key).waits_for == WaitsFor.EVENT, (effect, became)
                became -= {"asked"}
            assert became in FULFILS.get(effect.verdict, [set()]), (effect, became)
        untold = {key for key, became in happened.items() if became} - said.keys()
        assert untold <= {"crm.deal-status", but}  # the status follows the run


def replayed(run: OnboardingTransaction, key: str, drain: Drain) -> dict[str, Effect]:
    told = services.replay_preview(run.pk, key)
    watched = Watched(run)
    services.replay(run.pk, key, actor="kim")
    drain()
    watched.keeps(_of_steps(told))
    return {effect.step: effect for effect in told}


def _of_steps(told: list[Effect]) -> list[Effect]:
    """A mail that went out is looked at, as far as it can be, and not sent: as a skip."""
    return [
        Effect(each.step, each.title, "skip", each.text, waits=each.waits)
        if each.verdict in ("cannot-be-undone", "by-hand")
        else each
        for each in told
    ]


# --- Replay ------------------------------------------------------------------------------------------------------------


def test_a_replay_of_what_is_there(complete: OnboardingTransaction, drain: Drain, sandbox: SandboxControl) -> None:
    before = created(sandbox)
    told = replayed(complete, "crm.account", drain)
    assert {effect.verdict for effect in told.values()} == {"skip", "send-again", "cannot-be-undone"}
    assert not any(effect.waits for effect in told.values())
    assert created(sandbox) == before
    assert status_of(complete) == Status.COMPLETE


def test_a_replay_of_what_was_not_made_yet(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    (gid,) = sandbox.seed(
        "zendesk", "organizations", [{"name": "Acme Logistics", "domain_names": ["acme-logistics.com"]}]
    )
    sandbox.add_fault("asana", "error_before", method="POST", status=422, count=1)
    sandbox.add_fault("zendesk", "error_before", method="GET", status=422, count=1)
    run = accept(users=USERS)
    drain()
    told = replayed(run, "crm.account", drain)
    assert told["crm.account"].verdict == "skip"
    assert told["delivery.project"].verdict == told["support.organization"].verdict == "look-up"
    assert (told["kickoff.task"].verdict, told["kickoff.task"].waits) == ("look-up", True)
    assert told["welcome.mail"].verdict == "create"
    assert run.mappings.get(kind="organization").external_id == gid
    assert status_of(run) == Status.READY_FOR_KICKOFF, shown(run)
    told = replayed(run, "kickoff.task", drain)
    assert (told["kickoff.task"].verdict, told["kickoff.task"].waits) == ("skip", True)


def test_a_replay_of_what_lags_behind_a_fix(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    """A person's fix has the step done that was refused; what had passed before still says what the payload said then."""
    sandbox.add_fault("zendesk", "error_before", method="POST", path="*/organizations*", status=422, count=1)
    run = accept()
    drain()
    refused = step_of(run, "support.organization")
    values = {"customer.country": "AT", **{f"customer.primary_contact.{name}": KIM[name] for name in KIM}}
    services.fix(run.pk, values, actor="kim", step_pk=refused.pk)
    told = replayed(run, "crm.account", drain)
    assert (told["crm.account"].verdict, told["crm.contact"].verdict) == ("update", "another")
    (account,) = sandbox.objects("hubspot", "companies")
    assert account["body"]["country"] == "AT"


def test_a_replay_of_a_mail_that_may_have_gone_out(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("mail", "reset_after", count=1)
    run = accept()
    drain()
    assert ticket_of(run, "welcome.mail").category == Category.UNKNOWN_OUTCOME
    told = replayed(run, "welcome.mail", drain)
    assert (told["welcome.mail"].verdict, told["welcome.mail"].waits) == ("cannot-be-undone", True)
    assert len(sandbox.objects("mail", "messages")) == 1


def test_a_replay_after_a_person_asked_for_a_new_one(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.configure("asana", search_lag="never")
    sandbox.add_fault("asana", "error_after", method="POST", path="*/instantiateProject", count=1)
    run = accept()
    drain()
    project = step_of(run, "delivery.project")
    assert services.retry_preview(project.pk).verdict == "look-up"
    services.choose_match(project.pk, external_id="", actor="kim")
    told = replayed(run, "delivery.project", drain)
    assert told["delivery.project"].verdict == "create"
    assert created(sandbox)["projects"] == 2


def test_a_replay_where_no_vendor_can_be_asked(
    complete: OnboardingTransaction, drain: Drain, zendesk: Connection
) -> None:
    Connection.objects.filter(pk=zendesk.pk).update(enabled=False)
    told = services.replay_preview(complete.pk, "support.organization")
    assert (told[0].verdict, told[0].text) == ("by-hand", "The connection zendesk is disabled.")
    watched = Watched(complete)
    services.replay(complete.pk, "support.organization", actor="kim")
    drain()
    watched.keeps(_of_steps(told[:1]))
    assert ticket_of(complete, "support.organization").category == Category.NOT_CONFIGURED


# --- Change ------------------------------------------------------------------------------------------------------------


def applied(run: OnboardingTransaction, fields: dict[str, Any], drain: Drain) -> dict[str, Effect]:
    request = services.request_change(run.pk, fields, actor="kim")
    told = services.change_preview(request.pk)
    watched = Watched(run)
    services.apply_change(request.pk, actor="lee")
    drain()
    watched.keeps(told)
    return {effect.step: effect for effect in told}


def test_a_change_does_what_was_said(complete: OnboardingTransaction, drain: Drain, sandbox: SandboxControl) -> None:
    person = {f"customer.primary_contact.{name}": value for name, value in KIM.items()}
    fields = {"customer.country": "AT", "commercial.billing_email": "pay@acme-logistics.com", **person}
    told = applied(complete, fields, drain)
    assert {key: effect.verdict for key, effect in told.items()} == {
        "crm.account": "update",
        "crm.contact": "another",
        "crm.note": "update",
        "delivery.handover": "send-again",
        "support.organization": "nothing",
        "support.users": "look-up",
        "welcome.mail": "cannot-be-undone",
    }
    assert len(sandbox.objects("mail", "messages")) == 1
    assert status_of(complete) == Status.COMPLETE


def test_another_vendors_object_of_the_same_id_is_another_object(
    complete: OnboardingTransaction, connections: dict[str, Connection], accept: Accept
) -> None:
    def told() -> str:
        abroad = with_values(complete.payload, {"customer.country": "AT"})
        (text,) = [
            each.effect.text
            for each in plan_change(complete, abroad, ["customer.country"])
            if each.step.key == "crm.account"
        ]
        return text

    other, mine = accept(onboarding_transaction_id="pay_other"), complete.mappings.get(step__uses="crm.account")
    complete.mappings.filter(step__uses="support.organization").update(external_id=mine.external_id)
    row = {"kind": "organization", "external_id": mine.external_id, "created_by_us": True, "created_at": clock.now()}
    step = other.steps.get(uses="support.organization")
    elsewhere = ObjectMapping.objects.filter(
        pk=ObjectMapping.objects.create(transaction=other, step=step, connection=connections["zendesk"], **row).pk
    )
    assert "Another run uses it" not in told()
    elsewhere.update(kind=mine.kind, connection=mine.connection)
    assert "Another run uses it" in told()


def test_a_change_of_what_is_under_way(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    """What passed before is updated; what waits for something else takes the new data when it is done."""
    sandbox.add_fault("asana", "error_before", method="POST", status=422, count=1)
    run = accept()
    drain()
    request = services.request_change(run.pk, {"customer.legal_name": "Acme Freight"}, actor="kim")
    told = {effect.step: effect.verdict for effect in services.change_preview(request.pk)}
    assert (told["crm.account"], told["delivery.project"], told["kickoff.task"]) == ("update", "later", "later")
    services.apply_change(request.pk, actor="lee")
    drain()
    (project,) = sandbox.objects("asana", "projects")
    assert project["body"]["name"].startswith("Acme Freight")
    assert [each["body"]["name"] for each in sandbox.objects("hubspot", "companies")] == ["Acme Freight"]


# --- Rollback ----------------------------------------------------------------------------------------------------------


def test_a_rollback_does_what_was_said(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    (found,) = sandbox.seed("hubspot", "companies", [{"name": "Acme", "domain": "acme-logistics.com"}])
    run = accept(users=USERS)
    drain()
    _delete_organization(sandbox, ObjectMapping.objects.get(kind="organization").external_id)
    run.steps.update(finished_at=clock.now())  # however long that took, its users count as changed by ourselves
    told = services.rollback_preview(run.pk)
    assert {(effect.step, effect.verdict) for effect in told} >= {
        ("crm.account", "keep"),
        ("crm.contact", "take-back"),
        ("support.organization", "gone"),
        ("welcome.mail", "cannot-be-undone"),
    }
    watched = Watched(run)
    services.rollback(run.pk, **BY)
    drain()
    assert watched.happened["welcome.mail"] == {"tried", "kept"}
    watched.keeps(told, but="welcome.mail")
    assert [each["id"] for each in sandbox.objects("hubspot", "companies")] == [found]
    assert status_of(run) == Status.ROLLED_BACK, shown(run)


def test_a_rollback_asks_about_what_somebody_changed(accept: Accept, drain: Drain) -> None:
    run = accept()
    drain()
    run.steps.update(finished_at=clock.now() - timedelta(hours=1))
    told = {effect.step: effect.verdict for effect in services.rollback_preview(run.pk)}
    assert told["kickoff.task"] == "changed-since"
    watched = Watched(run)
    services.rollback(run.pk, **BY)
    drain()
    assert watched.happened["kickoff.task"] in FULFILS["changed-since"]
    assert ticket_of(run, "kickoff.task").category == Category.ROLLBACK_FAILED


def test_a_rollback_of_what_may_have_been_made(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.add_fault("asana", "error_after", method="POST", path="*/instantiateProject", count=1)
    sandbox.add_fault("mail", "reset_after", count=1)
    run = accept()
    drain()
    assert step_of(run, "welcome.mail").state == StepState.BLOCKED, shown(run)
    told = services.rollback_preview(run.pk)
    (mail,) = [effect for effect in told if effect.step == "welcome.mail"]
    assert (mail.verdict, mail.external_id) == ("cannot-be-undone", "")
    services.rollback(run.pk, **BY)
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert len(sandbox.objects("mail", "messages")) == 1


def test_a_rollback_looks_for_what_a_lost_create_made(accept: Accept, drain: Drain, sandbox: SandboxControl) -> None:
    sandbox.configure("asana", search_lag="never")
    sandbox.add_fault("asana", "error_after", method="POST", path="*/instantiateProject", count=1)
    run = accept()
    drain()
    told = services.rollback_preview(run.pk)
    assert [effect.verdict for effect in told if effect.step == "delivery.project"] == ["settle-first"]
    sandbox.configure("asana", search_lag=0)
    watched = Watched(run)
    services.rollback(run.pk, **BY)
    drain()
    watched.keeps(told)
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert left(sandbox) == {}


def _delete_organization(sandbox: SandboxControl, external_id: str) -> None:
    headers = {"Authorization": "Bearer sandbox-zendesk-token", "Content-Type": "application/json"}
    url = f"{sandbox.base_url}/zendesk/api/v2/organizations/{external_id}"
    requests.delete(url, headers=headers, timeout=10).raise_for_status()
