"""The demo's stage: sets up accounts and people, lets customers pay, shows live rows, and judges the end."""

import secrets
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import requests
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection as database

from config import demo_cast as cast
from config.demo_cast import COMPLETE, Customer
from config.run import sandbox_port
from exceptions_queue.models import CrmOwner, covering
from integrations.connections.services import set_connection
from integrations.sandbox.control import SandboxControl
from integrations.vendors.stripe.sample_events import encode, sign
from onboarding.enums import Status, WaitsFor
from onboarding.models import ImplementationOwner, OnboardingTransaction

QUEUE = "/admin/exceptions_queue/ticket/"
PATIENCE = 100.0
"""Seconds in all until a row that has not ended counts as not as expected; more where the machine is busy."""
ANSWER_SECONDS = 15.0
DELIVER_AGAIN_SECONDS = 1.0
LOOK_EVERY = 0.25
TEMPLATE, TEAM = "1200000000000001", "1100000000000001"
LETTERS = {
    "companies": "A", "contacts": "C", "deals": "D", "notes": "N", "projects": "P", "tasks": "T", "organizations": "O",
    "users": "U", "tickets": "H", "messages": "M", "res.partner": "E", "sale.order": "S", "Groups": "G", "Users": "I",
    "tenants": "V", "entitlements": "L",
}  # fmt: skip


@dataclass
class Row:
    customer: Customer
    shown: str = ""
    actual: str = ""
    note: str = ""
    link: str = ""
    objects: str = ""


class Undelivered(Exception):
    """The front door did not take what a vendor told it."""


class Stage:
    def __init__(self, slow: float = 1.0) -> None:
        """``slow``: how many times longer than usual everything may take."""
        self.slow = slow
        self.ends = time.monotonic() + PATIENCE * slow
        self.secret = f"whsec_{secrets.token_hex(16)}"
        self.sandbox = SandboxControl(f"http://127.0.0.1:{sandbox_port(settings.PORT)}", timeout=ANSWER_SECONDS * slow)
        self.waves = cast.waves()
        self.rows = [Row(customer) for wave in self.waves for customer in wave]
        self.key = ""

    # --- Setting up ---------------------------------------------------------------------------------------------------

    def set_up(self) -> None:
        """People, connections and a key, by the same services that the commands and the console use."""
        for name, (group, full_name, _) in cast.PEOPLE.items():
            first, _, last = full_name.partition(" ")
            user = User(
                username=name,
                first_name=first,
                last_name=last,
                email=f"{name}@firstvalue.example",
                is_staff=True,
                is_superuser=name == "admin",
            )
            user.set_password(cast.PASSWORD)
            user.save()
            if group:
                user.groups.add(Group.objects.get(name=group))
        for external_id, name, territories, capacity in cast.OWNERS:
            email = f"{name.partition(' ')[0].lower()}@firstvalue.example"
            ImplementationOwner.objects.create(
                external_id=external_id, name=name, email=email, territories=territories, capacity=capacity
            )
        CrmOwner.objects.create(crm_owner_id=cast.DEAL_OWNER, user=User.objects.get(username="sales"))
        vendors: dict[str, tuple[str, str, dict[str, str]]] = {
            "hubspot": ("crm", "/hubspot", {"portal_id": "7000000"}),
            "asana": ("delivery", "/asana/api/1.0", {"template_gid": TEMPLATE, "team_gid": TEAM}),
            "zendesk": ("support", "/zendesk", {}),
            "odoo": ("erp", "/odoo", {}),
            "scim": ("identity", "/scim/v2", {}),
            "product": ("product", "/widgets/v1", {}),
        }
        stand_ins = {"product": "widgets"}
        for slug, (system, path, options) in vendors.items():
            set_connection(
                slug,
                system=system,
                provider=slug,
                base_url=self.sandbox.base_url + path,
                environment="sandbox",
                secrets={"token": [f"sandbox-{stand_ins.get(slug, slug)}-token"]},
                options=options,
                actor="demo",
            )
        set_connection(
            "stripe",
            system="billing",
            provider="stripe",
            environment="sandbox",
            secrets={"webhook_secret": [self.secret]},
            actor="demo",
        )
        set_connection("mail", system="email", provider="smtp", environment="sandbox", actor="demo")
        self.key = _api_key()

    def say_where(self) -> None:
        print(f"\nFirstvalue's console: {settings.PUBLIC_URL}{QUEUE}    password of every login: {cast.PASSWORD}")
        for name, (_, full_name, does) in cast.PEOPLE.items():
            print(f"  {name:<10}{full_name:<14}{does}")
        print("\nCustomers pay; each line is a change as it happens.\n", flush=True)

    # --- Playing --------------------------------------------------------------------------------------------------------

    def play(self) -> bool:
        """Let every wave pay and come to rest; True if each row ended as expected and the vendors count no duplicates."""
        self.ends = time.monotonic() + PATIENCE * self.slow
        shown = 0
        for wave in self.waves:
            for customer in wave:
                if customer.prepare:
                    customer.prepare(self.sandbox)
            # Each in a thread of its own: some pay at the same moment.
            with ThreadPoolExecutor(len(wave)) as paying:
                list(paying.map(self._deliver, wave))
            shown += len(wave)
            while not self._at_rest(self.rows[:shown]) and time.monotonic() < self.ends:
                time.sleep(LOOK_EVERY)
        return self._judge()

    def _deliver(self, customer: Customer) -> None:
        payment = customer.pay(int(time.time()))
        for name in customer.events * customer.deliveries:
            if name == cast.PAUSE:
                time.sleep(cast.PAUSE_SECONDS)
                continue
            raw = encode(getattr(payment, name)())
            self._post("/webhooks/stripe/", partial(self._signed, raw))

    def _signed(self, raw: bytes) -> dict[str, Any]:
        """Each delivery is signed when it is sent, as Stripe does."""
        signature = sign(raw, self.secret, int(time.time()))
        return {"data": raw, "headers": {"Content-Type": "application/json", "Stripe-Signature": signature}}

    def _post(self, path: str, request: Callable[[], dict[str, Any]]) -> None:
        """Deliver until it is taken, as a vendor does: again after 429, 5xx, or no answer. Raises ``Undelivered``."""
        while True:
            pause = DELIVER_AGAIN_SECONDS
            try:
                answer = requests.post(f"{settings.PUBLIC_URL}{path}", timeout=ANSWER_SECONDS * self.slow, **request())
            except requests.RequestException as error:
                reason = f"no answer ({type(error).__name__})"
            else:
                if answer.ok:
                    return
                reason = f"{answer.status_code} {answer.text[:200]}"
                if (
                    answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
                    and answer.status_code != HTTPStatus.TOO_MANY_REQUESTS
                ):
                    raise Undelivered(f"{path} refused what it was sent: {reason}")
                pause = max(pause, float(answer.headers.get("Retry-After", 0)))
            if time.monotonic() + pause > self.ends:
                raise Undelivered(f"{path} did not take what it was sent, again and again: {reason}")
            time.sleep(pause)

    def _at_rest(self, rows: list[Row]) -> bool:
        for row in rows:
            self._look(row)
        database.close()
        return all(row.actual for row in rows)

    def _look(self, row: Row) -> None:
        run = self._run(row.customer)
        if run is None:
            return
        steps = list(run.steps.all())
        done = [step for step in steps if step.is_done]
        moving = any(step.state == "running" or (step.state == "pending" and step.due_at) for step in steps)
        tickets = list(covering(run).order_by("pk"))
        if run.status == Status.READY_FOR_KICKOFF and run.steps.filter(waits_for=WaitsFor.EVENT).exists():
            self._book_kickoff(run)
        row.actual, row.link = "", f"{settings.PUBLIC_URL}/r/{run.pk}/"
        if run.status == Status.COMPLETE:
            row.actual = COMPLETE
        elif tickets and not self._others_under_way(run):
            row.actual, row.link = tickets[0].category, tickets[0].url
        row.note = f"({tickets[0].owner or tickets[0].queue})" if row.actual not in ("", COMPLETE) else ""
        text = run.status if row.actual == COMPLETE else f"{run.status} {row.actual} {row.note}".strip()
        state = f"{text:<48} {f'{len(done)} of {len(steps)} steps' if steps else ''}".rstrip()
        if state != row.shown and not moving:
            row.shown = state
            print(f"  {row.customer.name:<18} {state}", flush=True)

    def _book_kickoff(self, run: OnboardingTransaction) -> None:
        """The customer has chosen a date, and the scheduling tool tells us so. Reported twice, it is one event."""
        self._post(
            f"/api/v1/onboardings/{run.onboarding_transaction_id}/events/",
            lambda: {
                "json": {"type": "kickoff.scheduled", "event_id": f"booking_{run.pk}"},
                "headers": {"Authorization": f"Bearer {self.key}"},
            },
        )

    def _others_under_way(self, run: OnboardingTransaction) -> bool:
        """Branches fail alone: the others first go as far as they can."""
        steps = list(run.steps.select_related("connection"))
        done = {step.key for step in steps if step.is_done}
        return any(
            not step.is_done
            and step.state != "blocked"
            and done.issuperset(step.after)
            and not (step.connection and step.connection.breaker == "open")
            for step in steps
        )

    def _run(self, customer: Customer) -> OnboardingTransaction | None:
        found = OnboardingTransaction.objects.filter(correlation_keys__value__in=customer.keys).distinct()
        return found.order_by("pk").first()

    # --- Judging ---------------------------------------------------------------------------------------------------------

    def _judge(self) -> bool:
        counts = self.sandbox.counts()
        objects = self.sandbox.objects()
        for row in self.rows:
            row.objects = _objects_of(self._run(row.customer), objects)
        runs = OnboardingTransaction.objects.count()
        _print_table(self.rows)
        complete = sum(row.actual == COMPLETE for row in self.rows)
        owned = sum(bool(row.actual) and row.actual != COMPLETE for row in self.rows)
        paid, duplicates = len(self.rows), int(counts["duplicates"])
        mapped = all(_mappings_exist(self._run(row.customer), objects) for row in self.rows)
        print(f"\n{paid} paid · {complete} complete · {owned} owned tickets · {duplicates} duplicates", flush=True)
        as_expected = all(row.actual == row.customer.expected for row in self.rows)
        for row in self.rows:
            if row.actual != row.customer.expected:
                ended = f"ended as {row.actual}" if row.actual else "is still under way"
                print(
                    f"{row.customer.name} {ended}, not as {row.customer.expected}: {row.link or 'no run'}",
                    file=sys.stderr,
                )
        if not mapped:
            print("An object that a run points at is not there at its vendor.", file=sys.stderr)
        if runs != paid:
            print(f"{paid} payments made {runs} runs.", file=sys.stderr)
        return as_expected and mapped and duplicates == 0 and runs == paid

    def say_what_to_try(self) -> None:
        links = {row.customer.name: row.link for row in self.rows}
        base = settings.PUBLIC_URL
        print(
            f"""
Try it (the login page has a button for each role):
  1. as sales     Fjord Shipping's contact is “TBD”: give a name, save, watch it go on    {links["Fjord Shipping"]}
  2. as sales     Cobalt Freight has two CRM accounts: look at both, choose one           {links["Cobalt Freight"]}
  3. as engineer  the support token has expired: open the connection and enter the new one, rotated-by-the-vendor
                  (until then every run parks before support)                             {links["Granite Insurance"]}
  4. as support   is Maple Robotics the one that the help desk knows?                     {links["Maple Robotics"]}
  5. as engineer  break a vendor with a switch, let a customer pay, watch what happens    {base}/admin/sandbox/
  6. as lead      a run with its picture; replay it, and see that nothing is made twice   {links["Acme Logistics"]}
  7. as finance   Onyx Legal has nonstandard terms: approve them, and watch it begin      {links["Onyx Legal"]}
  8. as engineer  identity is broken: that branch of Sable Energy waits, the others ended {links["Sable Energy"]}
  9. REST         curl -H 'Authorization: Bearer {self.key}' '{base}/api/v1/exceptions/?status=open'
                  every call, with examples                                               {base}/api/docs/

Still serving; Ctrl-C stops everything.""",
            flush=True,
        )


def _api_key() -> str:
    import io

    out = io.StringIO()
    call_command("create_api_key", "demo", "--scope", "operate", stdout=out)
    return out.getvalue().strip().splitlines()[-1]


def _objects_of(run: OnboardingTransaction | None, objects: list[dict[str, Any]]) -> str:
    """Which of the sandbox's objects are this run's: what it maps, and whatever names its reference or its domain."""
    found: dict[str, int] = {}
    if run is None:
        return "none"
    mapped = set(run.mappings.values_list("external_id", flat=True))
    named = [f"{run.onboarding_transaction_id}", *([run.domain] if run.domain else [])]
    for item in objects:
        text = str(item)
        if item["kind"] in LETTERS and (item["id"] in mapped or any(name in text for name in named)):
            found[item["kind"]] = found.get(item["kind"], 0) + 1
    return " ".join(f"{LETTERS[kind]}{found[kind]}" for kind in LETTERS if kind in found) or "none"


def _mappings_exist(run: OnboardingTransaction | None, objects: list[dict[str, Any]]) -> bool:
    ids = {str(item["id"]) for item in objects} | {str(item["body"].get("message_id")) for item in objects}
    return run is not None and all(mapping.external_id in ids for mapping in run.mappings.all())


def _print_table(rows: list[Row]) -> None:
    head = ("customer", "what was done to it", "expected", "actual", "at vendors", "ticket or run")
    lines = [
        (
            row.customer.name,
            row.customer.what,
            row.customer.expected,
            f"{row.actual} {row.note}".strip() or "still under way",
            row.objects,
            row.link,
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    print()
    for line in [head, tuple("─" * width for width in widths), *lines]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print(
        "(at vendors: A accounts, C contacts, D deals, N notes in the CRM; E customers, S orders in the ERP; P projects, T tasks;\n"
        " O organizations, U users, H tickets in support; G groups, I identities; V tenants, L entitlements in the product;\n"
        " M mails. Juniper Energy's two payments share one account, contact, organization and user.)"
    )
