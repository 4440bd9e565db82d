"""After provisioning: the kickoff, and the welcome."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from django.template.loader import render_to_string

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import DeliveryTask, Mail, SchedulingLink
from integrations.enums import System
from onboarding.enums import RunEventType
from onboarding.models import ImplementationOwner
from onboarding.payload.schema import get, is_date
from onboarding.steps.base import Content, Facts, RunHandler
from onboarding.steps.registry import register
from onboarding.steps.texts import languages, mail

TEMPLATE = "onboarding/welcome.txt"
TRANSLATED = "welcome"
"""Its text in other languages (``languages``)."""
SUBJECT = "Welcome, {customer}: your onboarding has begun"
_IN_BRACES = re.compile(r"\{([^{}]*)\}")


@register
class KickoffTask(RunHandler):
    """A task for the implementation owner. Completing it, or the event ``kickoff.scheduled``, finishes the step (P2)."""

    name = "kickoff.task"
    system = System.DELIVERY
    title = "have the kickoff scheduled"
    makes, kind = DeliveryTask, DeliveryTask.KIND
    paths = {
        "name": "customer.legal_name",
        "due_on": "kickoff.start_date",
        "assignee": "ownership.implementation_owner_id",
    }
    needs = ("delivery.project",)
    reads = ("customer.legal_name", "kickoff.start_date", "kickoff.urgency", "ownership.implementation_owner_id")
    provisions = False
    finished_by = RunEventType.KICKOFF_SCHEDULED

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:
        return [MatchKey("reference", reference, within=facts.related["delivery.project"])]

    def reference(self, facts: Facts) -> str:
        return f"{super().reference(facts)}/kickoff"

    def wanted(self, facts: Facts) -> DeliveryTask:
        name, start = facts.get("customer.legal_name"), facts.get("kickoff.start_date")
        urgency = facts.get("kickoff.urgency")
        return DeliveryTask(
            name=f"Schedule the kickoff with {name}",
            notes="Everything is provisioned. Agree on a date with the customer, then complete this task."
            + (f"\nUrgency: {urgency}" if urgency else ""),
            project_id=facts.related["delivery.project"],
            due_on=start if is_date(start) else "",
            assignee=facts.get("ownership.implementation_owner_id"),
        )


@register
class KickoffLink(RunHandler):
    """A link by which the customer books the kickoff; the welcome mail, where it comes after this step, carries it.

    A company without a scheduling system needs none: the kickoff's task is there in any case.
    """

    name = "kickoff.link"
    system = System.SCHEDULING
    title = "make the link for booking the kickoff"
    makes, kind = SchedulingLink, SchedulingLink.KIND
    reads = ()
    provisions = False
    optional = True

    def reference(self, facts: Facts) -> str:
        return f"{super().reference(facts)}/kickoff-link"

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:  # noqa: ARG002
        return []  # no scheduling system tells which links were made

    def wanted(self, facts: Facts) -> SchedulingLink:
        return SchedulingLink(transaction_id=facts.run_id)


@register
class WelcomeMail(RunHandler):
    """One mail to the customer's contact, at most once; again only when a person asks for it."""

    name = "welcome.mail"
    system = System.EMAIL
    title = "send the welcome mail"
    makes, kind = Mail, Mail.KIND
    paths = {
        "to": "customer.primary_contact.email",
        "to_name": "customer.primary_contact.name",
        "subject": "customer.legal_name",
    }
    """``subject``: what a template puts into it."""
    reads = (
        "customer.legal_name",
        "customer.language",
        "customer.primary_contact.name",
        "customer.primary_contact.email",
        "ownership.implementation_owner_id",
        "kickoff.start_date",
        "first_value_target.milestone",
    )
    ties_to = ("kickoff.link",)
    """It carries the link."""
    provisions = False
    irrevocable = True

    def check_options(self, options: Mapping[str, Any]) -> None:
        if unknown := set(options) - {"subject"}:
            raise ValueError(f"{self.name} knows no option {min(unknown)}")
        subject = options.get("subject", "")
        if not isinstance(subject, str) or "\n" in subject or "\r" in subject:
            raise ValueError("subject must be one line of text")
        if wrong := sorted(set(_IN_BRACES.findall(subject)) - {"customer"}):
            raise ValueError(f"subject: {{{wrong[0]}}} is not known; known is {{customer}}")

    def reference(self, facts: Facts) -> str:
        again = f"/{facts.round}" if facts.round else ""
        return f"{super().reference(facts)}/welcome{again}"

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:  # noqa: ARG002
        return []  # what was sent cannot be looked up

    def wanted(self, facts: Facts) -> Mail:
        told = welcome_context(facts.content, owner_of(facts.content), facts.links.get("kickoff.link", ""))
        subject, text = SUBJECT, ""
        if language := languages.language_of(facts.content, TRANSLATED, original=TEMPLATE):
            subject, text = languages.subject_and_text(language, TRANSLATED, told)
        subject = facts.options.get("subject") or subject
        return Mail(
            to=facts.get("customer.primary_contact.email"),
            to_name=facts.get("customer.primary_contact.name"),
            subject=" ".join(subject.replace("{customer}", str(told["customer"])).split()),
            text=text or render_to_string(TEMPLATE, told).strip() + "\n",
        )


def owner_of(content: Content) -> ImplementationOwner | None:
    """The implementation owner, for mails that name them."""
    external_id = get(content, "ownership.implementation_owner_id")
    return ImplementationOwner.objects.filter(external_id=external_id).first() if external_id else None


def welcome_context(content: Content, owner: ImplementationOwner | None, booking_link: str = "") -> dict[str, Any]:
    """What the welcome's text may name."""
    start = get(content, "kickoff.start_date")
    return {
        "first_name": get(content, "customer.primary_contact.name").partition(" ")[0],
        "customer": get(content, "customer.legal_name"),
        "kickoff": date.fromisoformat(start) if is_date(start) else None,
        "milestone": get(content, "first_value_target.milestone"),
        "owner": owner,
        "booking_link": booking_link,
    }


def welcome_problems() -> list[str]:
    """What is wrong with the welcome's text, each with file and line."""
    return mail.problems(TEMPLATE, sample_contexts())


def sample_contexts() -> list[dict[str, Any]]:
    """For a customer with everything, and for one with little."""
    contact = {"name": "Kim Lee", "email": "kim@example.com"}
    little: Content = {"customer": {"legal_name": "Example Ltd", "primary_contact": contact}}
    everything = {
        **little,
        "kickoff": {"start_date": "2026-12-01"},
        "first_value_target": {"milestone": "first report"},
    }
    owner = ImplementationOwner(external_id="1", name="Sam Example", email="sam@example.com")
    return [
        welcome_context(everything, owner, "https://calendly.com/d/abc-123/kickoff"),
        welcome_context(little, None),
    ]
