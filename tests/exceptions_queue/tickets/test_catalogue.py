"""The catalogue has an entry for whatever a ticket may be about, and the documentation says the same."""

from pathlib import Path

import pytest
from django.conf import settings

from exceptions_queue import roles
from exceptions_queue.models import Ticket, TicketStatus
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import catalogue, reference
from exceptions_queue.tickets.actions import ACTIONS
from exceptions_queue.tickets.catalogue_entry import Entry
from exceptions_queue.tickets.entries import steps
from integrations.models import Connection
from onboarding.enums import Category, Scope, Topic
from onboarding.models import OnboardingTransaction, Step

ENTRIES = [pytest.param(entry, id=entry.label) for entry in catalogue.ENTRIES.values()]


def ticket_about(entry: Entry) -> Ticket:
    """As it comes to be, but for what only some have: no failed field, no candidate."""
    about: dict[str, object] = {"connection": Connection(slug="hubspot", provider="hubspot")}
    if entry.topic not in (Topic.CONNECTION, Topic.EVENT):
        about = {"transaction": OnboardingTransaction(customer_name="Beta Works")}
    if entry in steps.ENTRIES:
        about["step"] = Step(pk=1, key="crm.account", uses="crm.account", state="blocked")
    return Ticket(category=entry.category, topic=entry.topic, status=TicketStatus.OPEN, message="Why", **about)


def test_every_category_has_an_entry() -> None:
    assert {category for category, topic in catalogue.ENTRIES if not topic} == set(Category)
    assert {topic for _, topic in catalogue.ENTRIES} == set(Topic)


@pytest.mark.django_db
@pytest.mark.one_database("sqlite")
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_tells_the_question_and_what_to_do(entry: Entry) -> None:
    ticket = ticket_about(entry)
    told = catalogue.story(ticket)
    texts = [told.headline, told.todo, *told.happened, *catalogue.runbook(ticket)]
    assert all(text and "{" not in text for text in texts)
    assert len(entry.runbook) > 1
    assert entry.remedies <= set(ACTIONS)


@pytest.mark.django_db
@pytest.mark.one_database("sqlite")
@pytest.mark.parametrize("entry", ENTRIES)
def test_those_remedies_are_offered_that_the_entry_names(entry: Entry) -> None:
    """A field can be fixed where the vendor names one, and there is none here; what is done by hand the subject itself says, and an
    approval is answered where one is asked for.
    """
    ticket = ticket_about(entry)
    offered = {name for name, action in ACTIONS.items() if action.is_remedy and action.is_offered(ticket)}
    assert offered == entry.remedies - {"fix", "done", "approve", "reject"}


def test_a_topic_without_an_entry_of_its_own_is_told_as_the_category() -> None:
    assert catalogue.entry_of(Category.RATE_LIMIT, Topic.REFUND) is catalogue.entry_of(Category.RATE_LIMIT)


def test_the_documentation_is_the_catalogue() -> None:
    documented = (Path(settings.BASE_DIR) / "docs" / "exceptions.md").read_text()
    assert documented == reference.page(), "write it anew: manage.py ticket_reference > docs/exceptions.md"


# --- Grants -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("permission", ["retry_ticket", "onboarding.cancel_run"])
def test_nothing_is_allowed_because_nobody_is_known(permission: str) -> None:
    assert not roles.may(None, permission, None)
    assert [scope for scope in Scope if roles.may(scope, permission, None)] == [Scope.OPERATE]
    assert Actor.system().may(permission, Ticket())


def test_an_actor_is_not_made_without_a_grant() -> None:
    with pytest.raises(TypeError):
        Actor("kim")  # type: ignore[call-arg]
