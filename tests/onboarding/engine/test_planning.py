"""What the planner says of one step, for each way in which it can stand; and of a playbook that no run has begun yet."""

from dataclasses import replace
from typing import Any

import pytest

from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding.engine.planning import plan_steps
from onboarding.models import ObjectMapping, OnboardingTransaction
from onboarding.payload.schema import OnboardingPayload, with_values
from onboarding.playbooks.playbook import choose, playbooks
from onboarding.steps.handler import Facts, View
from onboarding.steps.registry import HANDLERS
from tests.conftest import Payload

CONTENT: dict[str, Any] = {
    "customer": {
        "legal_name": "Acme Logistics",
        "domain": "acme-logistics.com",
        "country": "DE",
        "primary_contact": {"name": "Jordan Lee", "email": "jordan@acme-logistics.com"},
    },
    "users": [{"name": "Sam Roe", "email": "sam@acme-logistics.com"}],
    "ownership": {"implementation_owner_id": "u_456"},
}
FACTS = Facts(CONTENT, "pay_1", related={"crm.account": "1", "delivery.project": "2", "support.organization": "3"})
ABROAD = with_values(CONTENT, {"customer.country": "AT"})
KIM = with_values(CONTENT, {"customer.primary_contact": {"name": "Kim Sato", "email": "kim@acme-logistics.com"}})
OTHER_OWNER = with_values(CONTENT, {"ownership.implementation_owner_id": "u_9"})


def made(uses: str, *items: str, content: dict[str, Any] = CONTENT, ours: bool = True) -> list[ObjectMapping]:
    """The objects of a step, as ``content`` had them made."""
    handler, found = HANDLERS[uses], []
    for item in items or ("",):
        facts = replace(FACTS, content=content, item=item)
        kept = {"state": handler.kept_state(facts), "identity": handler.identity_of(facts)}
        found.append(ObjectMapping(pk=len(found) + 1, item=item, external_id="7", created_by_us=ours, **kept))
    return found


def again(content: dict[str, Any] = CONTENT, **known: Any) -> View:
    return View(replace(FACTS, content=content), vendor="HubSpot", **known)


def change(content: dict[str, Any], **known: Any) -> View:
    """Of a step that has passed, unless told otherwise."""
    known = {"is_done": True, "vendor": "HubSpot", **known}
    return View(replace(FACTS, content=content), before=FACTS, **known)


PEOPLE = HANDLERS["support.users"].items(FACTS)
DONE_AGAIN = {
    "known": ("crm.account", again(objects=made("crm.account")), "skip", "Its id is known"),
    "known and out of date": (
        *("crm.account", again(ABROAD, objects=made("crm.account")), "update"),
        "Changes the country of the company in HubSpot",
    ),
    "another one now": ("crm.contact", again(KIM, objects=made("crm.contact")), "another", "another contact"),
    "not there": ("crm.account", again(), "look-up", "It is looked up"),
    "some there": ("support.users", again(objects=made("support.users", PEOPLE[0])), "look-up", "It is looked up"),
    "none there": ("support.users", again(), "look-up", "2 are looked up"),
    "an outcome that is not known": (
        "delivery.project",
        again(is_indeterminate=True),
        "look-up",
        "may have been carried out",
    ),
    "a new one is wanted": ("delivery.project", again(wants_new=True), "create", "A person chose a new one"),
    "not sent yet": ("welcome.mail", again(), "create", "It was not sent yet"),
    "sent": ("welcome.mail", again(objects=made("welcome.mail")), "cannot-be-undone", "It was sent"),
    "sent, perhaps": ("welcome.mail", again(is_indeterminate=True), "cannot-be-undone", "It may have been sent"),
    "writes into another's object": ("crm.deal-status", again(), "send-again", "It is written again"),
    "fills what is empty": ("crm.lookup", again(), "look-up", "The CRM is asked"),
    "no handler any more": ("http:gone", again(), "by-hand", "Nothing here does “http:gone” any more"),
}
CHANGED = {
    "same in what it makes": ("crm.account", change(KIM, objects=made("crm.account")), "nothing", "Nothing in it"),
    "an update": ("crm.account", change(ABROAD, objects=made("crm.account")), "update", "Changes the country"),
    "an update of a shared one": (
        *("crm.account", change(ABROAD, objects=made("crm.account"), used_elsewhere=frozenset({"7"})), "update"),
        "Another run uses it, too.",
    ),
    "another one": ("crm.contact", change(KIM, objects=made("crm.contact")), "another", "stays there as it is"),
    "somebody else too": (
        *("support.users", change(KIM, objects=made("support.users", *PEOPLE)), "look-up"),
        "One more user is looked up, and created where there is none. One user that the data no longer names is left there",
    ),
    "tied to another one": (
        *("crm.contact", change(ABROAD, objects=made("crm.contact"), follows=True), "look-up"),
        "tied to the other object",
    ),
    "not done yet": ("crm.account", change(ABROAD, is_done=False), "later", "It is not done yet"),
    "an outcome that is not known": (
        *("delivery.project", change(ABROAD, is_done=False, is_indeterminate=True), "look-up"),
        "no second one is made",
    ),
    "sent": ("welcome.mail", change(KIM, objects=made("welcome.mail")), "cannot-be-undone", "It was sent"),
    "sent, perhaps": (
        *("welcome.mail", change(KIM, is_done=False, is_indeterminate=True), "cannot-be-undone"),
        "It may have been sent",
    ),
    "what was written stays true": (
        *("crm.deal-status", change(KIM, written=HANDLERS["crm.deal-status"].digest(FACTS)), "nothing"),
        "stays true",
    ),
    "what was written is out of date": (
        *("crm.deal-status", change(OTHER_OWNER, written=HANDLERS["crm.deal-status"].digest(FACTS)), "send-again"),
        "with the new data",
    ),
}


@pytest.mark.parametrize("stands", DONE_AGAIN)
def test_a_step_that_is_done_again(stands: str) -> None:
    uses, view, verdict, text = DONE_AGAIN[stands]
    told = HANDLERS[uses].preview(view)
    assert (told.verdict, text in told.text) == (verdict, True), told


@pytest.mark.parametrize("stands", CHANGED)
def test_a_step_whose_data_changes(stands: str) -> None:
    uses, view, verdict, text = CHANGED[stands]
    told = HANDLERS[uses].preview(view)
    assert (told.verdict, text in told.text) == (verdict, True), told


def test_what_others_named_is_not_called_otherwise() -> None:
    """A matched deal keeps the name that sales gave it."""
    bigger = with_values(CONTENT, {"customer.legal_name": "Acme Freight"})
    ours, theirs = (made("crm.deal", ours=each) for each in (True, False))
    assert HANDLERS["crm.deal"].preview(change(bigger, objects=ours)).verdict == "update"
    assert HANDLERS["crm.deal"].preview(change(bigger, objects=theirs)).verdict == "nothing"


def test_what_it_needs_is_made_before_its_own_update_is_known() -> None:
    later = with_values(CONTENT, {"kickoff.start_date": "2026-12-24"})
    task = made("kickoff.task")
    known = View(replace(FACTS, content=later), objects=task)
    assert HANDLERS["kickoff.task"].preview(known).verdict == "update"
    unknown = View(replace(FACTS, content=later, related={}), objects=task)
    assert HANDLERS["kickoff.task"].preview(unknown).verdict == "skip"


def test_every_handler_can_be_asked_of_a_step_that_was_never_begun() -> None:
    content = {**CONTENT, "kickoff": {"start_date": "2026-12-01"}}
    for uses, handler in HANDLERS.items():
        facts = Facts(content, "pay_1", options={"tasks": [{"name": "Prepare"}]})
        assert handler.preview(View(facts)).text, uses


# --- A playbook that no run has begun ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("whole_playbook", "connections", "smtp")
def test_a_payload_against_a_playbook(payload: Payload, sandbox: SandboxControl) -> None:
    content = OnboardingPayload.model_validate(payload(users=CONTENT["users"])).content()
    told = {each.step.key: each.effect for each in simulated(content)}
    chosen = choose(content)
    assert chosen is not None
    assert list(told) == [spec.key for spec in chosen.playbook.steps if not spec.when]
    assert {key for key, effect in told.items() if effect.verdict == "send-again"} == {
        "crm.deal-status",
        "delivery.handover",
    }
    assert told["crm.account"].verdict == told["support.users"].verdict == "look-up"
    assert told["delivery.tasks"].text.startswith("5 are looked up")
    assert told["welcome.mail"].verdict == "create"
    assert [key for key, effect in told.items() if effect.waits] == ["kickoff.task"]
    assert sandbox.requests() == []
    assert not OnboardingTransaction.objects.exists()


@pytest.mark.usefixtures("whole_playbook", "connections")
def test_a_step_without_a_vendor_waits_for_a_person(payload: Payload, zendesk: Connection) -> None:
    Connection.objects.filter(pk=zendesk.pk).update(enabled=False)
    told = {each.step.key: each.effect for each in simulated(OnboardingPayload.model_validate(payload()).content())}
    assert (told["welcome.mail"].verdict, told["welcome.mail"].waits) == ("by-hand", True)
    assert told["welcome.mail"].text == "No connection is set up for the system “email”."
    assert told["support.organization"].verdict == "by-hand"
    assert told["crm.account"].verdict == "look-up"


def simulated(content: dict[str, Any]) -> Any:
    from integrations import clock

    run = OnboardingTransaction(onboarding_transaction_id="pay_1", occurred_at=clock.now())
    return plan_steps(run, playbooks()["standard"].steps_for(run, content), content)
