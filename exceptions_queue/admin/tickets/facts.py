"""What stands beside a ticket: what helps to decide, links to where it can be looked at, and the rest under details."""

import time
from typing import Any

from django.conf import settings
from django.urls import reverse

from exceptions_queue.admin.runs.payloads import HIDDEN
from exceptions_queue.admin.ui import badges
from exceptions_queue.admin.ui.display_names import CRM_OWNER, Names
from exceptions_queue.models import NO_TRY, Ticket
from exceptions_queue.tickets import naming
from integrations.connections.services import default_connection
from integrations.connectors import registry
from integrations.connectors.registry import PROVIDERS
from integrations.enums import Environment, System, vendor_name
from integrations.errors import ProviderError
from integrations.inbound.events import Key, Role, kind_of
from onboarding.archive.history import archived_history
from onboarding.enums import Topic
from onboarding.models import OnboardingTransaction, Step
from onboarding.payload import catalogue
from onboarding.payload.schema import get
from onboarding.steps.registry import HANDLERS

PAYMENT = (Role.PAYMENT, Role.INVOICE, Role.CHECKOUT)
"""The keys that name a payment, the most telling first."""
Rows = list[tuple[str, Any]]


def facts(ticket: Ticket, names: Names, *, may_see: bool) -> Rows:
    """What a person decides by."""
    rows: Rows = []
    if run := ticket.transaction:
        rows += _payment(run, names, may_see=may_see)
        if ticket.step and ticket.topic == Topic.APPROVAL:
            rows += _approved(run, ticket.step, may_see=may_see)
    if ticket.connection:
        rows.append(("Connection", ticket.connection.slug))
    return [
        *rows,
        ("Queue", ticket.get_queue_display()),
        ("Owner", badges.person(ticket.owner) or "nobody in particular"),
        ("Next retry", next_retry(ticket)),
        ("SLA due", badges.moment(ticket.sla_due) if ticket.is_open or ticket.transaction else "—"),
        ("Opened", badges.moment(ticket.opened_at)),
        ("Status", ticket.get_status_display()),
    ]


def details(ticket: Ticket) -> Rows:
    """What engineers and other systems call it by."""
    run, step = ticket.transaction, ticket.step
    rows: Rows = []
    if run:
        rows += [
            ("Transaction", run.onboarding_transaction_id),
            ("Idempotency key", _reference(step) or run.onboarding_transaction_id),
        ]
    return [
        *rows,
        ("Category", ticket.get_category_display()),
        ("Failed system", ticket.get_system_display()),
        ("Failed step", ticket.failed_step),
        ("HTTP status", ticket.http_status or "—"),
        ("Attempts", ticket.attempts + _archived_tries(ticket)),
        ("Safe action", badges.safe_action(ticket)),
    ]


def _archived_tries(ticket: Ticket) -> int:
    archived = archived_history(ticket.transaction).attempts if ticket.transaction else []
    return sum(each.step_id == ticket.step_id and each.outcome not in NO_TRY for each in archived)


def links(ticket: Ticket) -> list[tuple[str, str]]:
    """Label and address of where else to look: the run, the payment, the CRM."""
    run = ticket.transaction
    if run is None:
        return []
    own = reverse("admin:onboarding_onboardingtransaction_change", args=[run.pk])
    found = [("Open the run", own), _execution_page(ticket.step), _payment_page(run), _crm_page(run)]
    return [(label, url) for label, url in found if url]


def _execution_page(step: Step | None) -> tuple[str, str]:
    """Of the flow that does the step, at its workflow tool."""
    if step is None or not HANDLERS[step.uses].reports_back:
        return "", ""
    there = step.mappings.filter(item="", url__startswith="http").first()
    return (f"Open the execution in {naming.vendor(step.connection)}", there.url) if there else ("", "")


def next_retry(ticket: Ticket) -> str:
    if ticket.is_open and (held_up := naming.held_up(ticket)):
        return held_up
    return badges.soon(ticket.next_retry) or "no automatic retry"


def _payment(run: OnboardingTransaction, names: Names, *, may_see: bool) -> Rows:
    content = run.payload
    name, email = (str(get(content, f"customer.primary_contact.{part}")) for part in ("name", "email"))
    billing = str(get(content, "commercial.billing_email")) or email
    plan = [str(get(content, f"commercial.{part}")) for part in ("plan_sku", "term")]
    owner = names.crm_owner(str(get(content, CRM_OWNER)))
    return [
        ("Customer", run.customer_name or "—"),
        ("Domain", run.domain or "—"),
        ("Contact", (", ".join(filter(None, (name, email))) or "—") if may_see else HIDDEN),
        ("Payer’s email", (billing or "—") if may_see else HIDDEN),
        ("Amount", amount(content) or "—"),
        ("Plan", ", ".join(filter(None, plan)) or "—"),
        ("Paid", badges.moment(run.occurred_at)),
        ("CRM owner", owner or "—"),
    ]


def _approved(run: OnboardingTransaction, step: Step, *, may_see: bool) -> Rows:
    """What of the payload is to be approved, beside what every ticket shows."""
    handler, shown = (
        HANDLERS[step.uses],
        {"commercial.plan_sku", "commercial.term", "commercial.amount", "commercial.currency"},
    )
    found = [field for field in catalogue.FIELDS if field.path not in shown and handler.reads_any([field.path])]
    values = [(field, get(run.payload, field.path, default=None)) for field in found]
    return [
        (field.label, HIDDEN if field.personal and not may_see else _shown(value))
        for field, value in values
        if value not in (None, "", [], {}, False)
    ]


def _shown(value: Any) -> Any:
    """A value of the payload in a few words; what has parts is on the run's page."""
    if value is True:
        return "yes"
    return f"{len(value)} on the run's page" if isinstance(value, list | dict) else value


def amount(content: dict[str, Any]) -> str:
    """``12,000.00 EUR``; empty where the payload names none."""
    value = get(content, "commercial.amount", default=None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    currency = str(get(content, "commercial.currency"))
    return f"{value:,.2f} {currency}".strip()


def _payment_page(run: OnboardingTransaction) -> tuple[str, str]:
    """At the billing system; the sandbox's payments are in none."""
    if settings.SANDBOX_URL:
        return "", ""
    trace = run.payment_traces.select_related("connection").order_by("pk").first()
    live = trace is None or trace.connection.environment == Environment.PRODUCTION
    keys = [Key(*pair) for pair in run.correlation_keys.values_list("kind", "value")]
    for key in (key for role in PAYMENT for key in keys if key.kind == kind_of(key.vendor, role)):
        info = PROVIDERS.get(key.vendor)
        if info and info.page and (url := info.page(key, live)):
            return f"Look at the payment in {vendor_name(key.vendor)}", url
    return "", ""


def _crm_page(run: OnboardingTransaction) -> tuple[str, str]:
    """Of the customer's record, or of the deal that the payment named."""
    made = run.mappings.filter(connection__system=System.CRM, url__startswith="http").select_related("connection")
    if there := made.order_by("step__position", "pk").first():
        return f"Open the {there.kind} in {naming.vendor(there.connection)}", there.url
    connection, deal = default_connection(System.CRM), str(get(run.payload, "commercial.deal_id"))
    if connection is None or not deal:
        return "", ""
    try:
        connector = registry.connector(connection, subject="page", deadline=time.monotonic())
    except ProviderError:
        return "", ""  # not set up: there is nowhere to look
    return f"Open the deal in {naming.vendor(connection)}", connector.page("deal", deal)


def _reference(step: Step | None) -> str:
    intent = step.intents.order_by("pk").first() if step else None
    return intent.reference if intent else ""
