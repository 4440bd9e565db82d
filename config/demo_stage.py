"""The demo's stage: sets up accounts and people, lets customers pay, shows live rows, and judges the end."""

import secrets
import sys
import time
from dataclasses import dataclass
from typing import Any

import requests
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection as database

from config import demo_cast as cast
from config.demo_cast import COMPLETE, Customer
from config.run import sandbox_port
from exceptions_queue.models import CrmOwner, Ticket, covering
from integrations.connections import set_connection
from integrations.sandbox.control import SandboxControl
from integrations.sandbox.stripe import encode, sign
from onboarding.models import OnboardingTransaction
from onboarding.words import Status

PATIENCE = 100.0
"""Seconds in all until a row that has not ended counts as not as expected."""
LOOK_EVERY = 0.25
TEMPLATE, TEAM = "1200000000000001", "1100000000000001"
LETTERS = {"companies": "A", "contacts": "C", "projects": "P", "organizations": "O"}


@dataclass
class Row:
    customer: Customer
    shown: str = ""
    actual: str = ""
    note: str = ""
    link: str = ""
    objects: str = ""


class Stage:
    def __init__(self) -> None:
        self.secret = f"whsec_{secrets.token_hex(16)}"
        self.sandbox = SandboxControl(f"http://127.0.0.1:{sandbox_port(settings.PORT)}")
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
        CrmOwner.objects.create(crm_owner_id=cast.DEAL_OWNER, user=User.objects.get(username="sales"))
        vendors: dict[str, tuple[str, str, dict[str, str]]] = {
            "hubspot": ("crm", "/hubspot", {}),
            "asana": ("delivery", "/asana/api/1.0", {"template_gid": TEMPLATE, "team_gid": TEAM}),
            "zendesk": ("support", "/zendesk", {}),
        }
        for slug, (system, path, options) in vendors.items():
            set_connection(
                slug,
                system=system,
                provider=slug,
                base_url=self.sandbox.base_url + path,
                environment="sandbox",
                secrets={"token": [f"sandbox-{slug}-token"]},
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
        print(f"\nFirstvalue's console: {settings.PUBLIC_URL}/admin/    password of every login: {cast.PASSWORD}")
        for name, (_, full_name, does) in cast.PEOPLE.items():
            print(f"  {name:<10}{full_name:<14}{does}")
        print("\nCustomers pay; each line is a change as it happens.\n", flush=True)

    # --- Playing --------------------------------------------------------------------------------------------------------

    def play(self) -> bool:
        """Let every wave pay and come to rest; True if each row ended as expected and the vendors count no duplicates."""
        ends = time.monotonic() + PATIENCE
        shown = 0
        for wave in self.waves:
            for customer in wave:
                if customer.prepare:
                    customer.prepare(self.sandbox)
            for customer in wave:
                self._deliver(customer)
            shown += len(wave)
            while not self._at_rest(self.rows[:shown]) and time.monotonic() < ends:
                time.sleep(LOOK_EVERY)
        return self._judge()

    def _deliver(self, customer: Customer) -> None:
        payment = customer.pay(int(time.time()))
        events = [payment.session()]
        if customer.all_events:
            events = [payment.intent(), payment.session(), payment.invoice()]
        else:
            events.append(payment.invoice())
        for event in events * customer.deliveries:
            raw = encode(event)
            answer = requests.post(
                f"{settings.PUBLIC_URL}/webhooks/stripe/",
                data=raw,
                headers={
                    "Content-Type": "application/json",
                    "Stripe-Signature": sign(raw, self.secret, int(time.time())),
                },
                timeout=10,
            )
            answer.raise_for_status()

    def _at_rest(self, rows: list[Row]) -> bool:
        for row in rows:
            self._look(row)
        database.close()
        return all(row.actual for row in rows)

    def _look(self, row: Row) -> None:
        run = self._run(row.customer)
        if run is None:
            return
        done = [step.key for step in run.steps.all() if step.is_done]
        moving = any(step.state in ("pending", "running") and step.due_at for step in run.steps.all())
        tickets = list(covering(run).order_by("pk"))
        row.actual, row.link = "", f"{settings.PUBLIC_URL}/r/{run.pk}/"
        if run.status == Status.COMPLETE:
            row.actual = COMPLETE
        elif tickets and not self._others_under_way(run):
            row.actual, row.link = tickets[0].category, tickets[0].url
        row.note = f"({tickets[0].owner or tickets[0].queue})" if row.actual not in ("", COMPLETE) else ""
        text = run.status if row.actual == COMPLETE else f"{run.status} {row.actual} {row.note}".strip()
        state = f"{text:<52} {' '.join(done)}".rstrip()
        if state != row.shown and not moving:
            row.shown = state
            print(f"  {row.customer.name:<18} {state}", flush=True)

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
            row.objects = _objects_of(row.customer, objects)
        runs = OnboardingTransaction.objects.count()
        _print_table(self.rows)
        complete = sum(row.actual == COMPLETE for row in self.rows)
        owned = sum(bool(row.actual) and row.actual != COMPLETE for row in self.rows)
        paid, duplicates = len(self.rows), int(counts["duplicates"])
        mapped = all(_mappings_exist(self._run(row.customer), objects) for row in self.rows)
        print(f"\n{paid} paid · {complete} complete · {owned} owned tickets · {duplicates} duplicates", flush=True)
        as_expected = all(row.actual == row.customer.expected for row in self.rows)
        if not mapped:
            print("An object that a run points at is not there at its vendor.", file=sys.stderr)
        if runs != paid:
            print(f"{paid} payments made {runs} runs.", file=sys.stderr)
        return as_expected and mapped and duplicates == 0 and runs == paid

    def say_what_to_try(self) -> None:
        def ticket(category: str) -> str:
            found = Ticket.objects.filter(category=category).order_by("-pk").first()
            return found.url if found else settings.PUBLIC_URL

        print(
            f"""
Try it:
  1. as engineer  enter the new support token “rotated-by-the-vendor” (until then every run parks before support):
                                                        {ticket("auth-error")}
  2. as sales     give Fjord Shipping a contact:        {ticket("missing-data")}
  3. as sales     choose Cobalt Freight's account:      {ticket("ambiguous-match")}
  4. REST:        curl -H 'Authorization: Bearer {self.key}' {settings.PUBLIC_URL}/api/v1/exceptions/?status=open
  5. API docs:    {settings.PUBLIC_URL}/api/docs/

Still serving; Ctrl-C stops everything.""",
            flush=True,
        )


def _api_key() -> str:
    import io

    out = io.StringIO()
    call_command("create_api_key", "demo", "--scope", "operate", stdout=out)
    return out.getvalue().strip().splitlines()[-1]


def _objects_of(customer: Customer, objects: list[dict[str, Any]]) -> str:
    """What the sandbox itself holds for a customer, such as ``A1 C1 P1 O1``."""
    found: dict[str, int] = {}
    for item in objects:
        text = str(item)
        if item["kind"] in LETTERS and (customer.domain in text or customer.name in text):
            found[item["kind"]] = found.get(item["kind"], 0) + 1
    return " ".join(f"{LETTERS[kind]}{found[kind]}" for kind in LETTERS if kind in found) or "none"


def _mappings_exist(run: OnboardingTransaction | None, objects: list[dict[str, Any]]) -> bool:
    ids = {str(item.get("id") or item.get("gid")) for item in objects}
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
    print("(at vendors: A accounts and C contacts in the CRM, P projects, O support organizations)")
