"""Several questions about one subject are open at once, each with its topic; and what else a ticket may be about."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from exceptions_queue import models
from exceptions_queue.models import Ticket, TicketStatus, covering, is_blocked
from exceptions_queue.roles import Actor
from exceptions_queue.tickets import lifecycle
from exceptions_queue.tickets.actions import perform
from integrations import clock
from integrations.models import Connection
from onboarding import services
from onboarding.enums import Category, RunEventType, Scope, Topic
from onboarding.models import AuditEntry, AuditFinding, ObjectMapping, OnboardingTransaction
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, step_of
from tests.support.tampering import tampering

pytestmark = pytest.mark.django_db(transaction=True)

KIM = Actor("kim", Scope.OPERATE)
GAP = {"commercial__term": None}


def refund(run: OnboardingTransaction) -> None:
    facts = {"kind": RunEventType.PAYMENT_REFUNDED, "event_id": "re_1", "occurred_at": clock.now(), "data": {}}
    services.receive_event(run.pk, actor="billing", **facts)  # type: ignore[arg-type]


def open_topics(run: OnboardingTransaction) -> dict[str, str]:
    """Topic: category."""
    return dict(Ticket.objects.unresolved().filter(transaction=run).values_list("topic", "category"))


def test_a_refund_is_asked_about_beside_what_is_missing(accept: Accept) -> None:
    run = accept(**GAP)
    refund(run)
    assert open_topics(run) == {Topic.NONE: Category.MISSING_DATA, Topic.REFUND: Category.APPROVAL_OVERDUE}

    missing = Ticket.objects.get(transaction=run, topic=Topic.NONE)
    perform(missing.pk, "fix", KIM, fields={"commercial.term": "annual"})
    assert open_topics(run) == {Topic.REFUND: Category.APPROVAL_OVERDUE}
    assert Ticket.objects.get(pk=missing.pk).resolution == "The data is complete."


def test_keeping_a_refunded_run_leaves_what_is_missing_open(accept: Accept) -> None:
    run = accept(**GAP)
    refund(run)
    asked = Ticket.objects.get(transaction=run, topic=Topic.REFUND)
    perform(asked.pk, "skip", KIM, reason="A mistake of the bank")
    assert open_topics(run) == {Topic.NONE: Category.MISSING_DATA}
    assert Ticket.objects.get(pk=asked.pk).resolution == "A person has decided: the run stays."


def test_of_one_topic_a_subject_has_one_open_ticket(accept: Accept) -> None:
    run = accept(**GAP)
    asked = Ticket.objects.get(transaction=run)
    facts = {"transaction": run, "category": Category.STALLED, "system": "workflow", "queue": "finance"}
    for topic in (Topic.NONE, Topic.REFUND):
        again = Ticket(**facts, topic=topic, message="Again", fingerprint="f", opened_at=clock.now())
        if topic == asked.topic:
            with pytest.raises(IntegrityError), transaction.atomic():
                again.save()
        else:
            again.save()
    assert Ticket.objects.unresolved().filter(transaction=run).count() == 2


def test_a_connection_that_does_not_work_and_an_event_are_two_tickets(hubspot: Connection) -> None:
    lifecycle.for_connection(hubspot, category=Category.AUTH_ERROR, message="401")
    lifecycle.for_connection(hubspot, category=Category.INTERNAL_ERROR, message="odd", topic=Topic.EVENT)
    assert Ticket.objects.unresolved().filter(connection=hubspot).count() == 2


# --- Other subjects ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("connections")
def test_a_ticket_about_an_object_holds_nothing_up_and_is_closed_by_hand(accept: Accept, drain: Drain) -> None:
    run = accept()
    drain()
    mapping = ObjectMapping.objects.get(transaction=run, step=step_of(run, "crm.account"))
    ticket = lifecycle.for_mapping(mapping, message="The account is archived.")
    assert lifecycle.for_mapping(mapping, message="The account is gone.").pk == ticket.pk
    assert (ticket.queue, ticket.failed_step, ticket.topic) == ("revenue-operations", "crm.account", Topic.OBJECT)
    assert not covering(run).exists()
    assert not OnboardingTransaction.objects.filter(is_blocked(), pk=run.pk).exists()

    perform(ticket.pk, "done", KIM, text="Restored it in HubSpot.")
    assert Ticket.objects.get(pk=ticket.pk).status == TicketStatus.RESOLVED


@pytest.mark.usefixtures("connections")
def test_a_ticket_outlives_the_mapping_that_it_was_about(accept: Accept, drain: Drain) -> None:
    run = accept()
    drain()
    mapping = ObjectMapping.objects.get(transaction=run, step=step_of(run, "crm.account"))
    ticket = lifecycle.for_mapping(mapping, message="The account is archived.")
    mapping.delete()
    ticket = Ticket.objects.get(pk=ticket.pk)
    assert (ticket.status, ticket.mapping, ticket.transaction) == (TicketStatus.RESOLVED, None, run)


def test_each_finding_of_an_audit_gets_one_ticket(accept: Accept) -> None:
    run = accept()
    with tampering():
        AuditEntry.objects.filter(transaction=run, sequence=2).update(actor="nobody")
    for opened in (1, 0):
        with pytest.raises(CommandError, match=f"Tickets opened: {opened}"):
            call_command("audit", "verify", "--open-tickets")
    finding = AuditFinding.objects.get()
    ticket = Ticket.objects.get(finding=finding)
    assert (ticket.transaction, ticket.category, ticket.topic) == (run, Category.INTERNAL_ERROR, Topic.AUDIT)
    assert "was changed" in ticket.message
    assert not covering(run).exists()


def test_a_finding_of_no_run_has_its_ticket_too() -> None:
    assert services.keep_finding("anchors: anchor 1 is missing")
    ticket = Ticket.objects.get()
    assert (ticket.transaction, ticket.subject_name) == (None, "the audit trail")
    perform(ticket.pk, "done", KIM, text="Restored from the backup.")
    assert not Ticket.objects.unresolved().exists()


def test_a_ticket_is_about_one_thing(accept: Accept, hubspot: Connection) -> None:
    run = accept(**GAP)
    with pytest.raises(IntegrityError), transaction.atomic():
        Ticket.objects.filter(transaction=run).update(connection=hubspot)
    with pytest.raises(IntegrityError), transaction.atomic():
        Ticket.objects.filter(transaction=run).update(transaction=None)


# --- Tickets from before there were topics ----------------------------------------------------------------------------


@pytest.fixture
def migration() -> ModuleType:
    folder = Path(models.__file__).parents[1] / "migrations"
    (file,) = folder.glob("*_ticket_topics_and_subjects.py")  # its number may change
    return importlib.import_module(f"exceptions_queue.migrations.{file.stem}")


def test_tickets_from_before_keep_what_they_asked(accept: Accept, hubspot: Connection, migration: ModuleType) -> None:
    run = accept(**GAP)
    refund(run)
    lifecycle.for_connection(hubspot, category=Category.SERVER_ERROR, message="503")
    event = lifecycle.for_connection(hubspot, category=Category.INTERNAL_ERROR, message="odd", topic=Topic.EVENT)
    doubt = lifecycle.for_run(
        run, category=Category.APPROVAL_OVERDUE, message="Is it new?", problems=[], topic=Topic.PAYMENT
    )
    resolved = Ticket.objects.filter(pk__in=[event.pk, doubt.pk])
    lifecycle.resolve(resolved, resolution="Done")
    told = dict(Ticket.objects.values_list("pk", "topic"))
    lifecycle.resolve(Ticket.objects.all(), resolution="Done")
    Ticket.objects.update(topic="")

    with connection.schema_editor() as editor:
        migration.name_topics(apps, editor)

    assert dict(Ticket.objects.values_list("pk", "topic")) == told
