"""What the sandbox page shows: what each vendor holds, what is broken there, and the last requests.

Vendors, kinds and settings are whatever the sandbox itself reports.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import unquote

import requests
from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q
from django.urls import reverse
from django.utils.html import strip_tags

from exceptions_queue.admin.connections import health
from exceptions_queue.admin.sandbox.switches import does
from exceptions_queue.admin.tickets.page import run_url
from exceptions_queue.admin.ui import badges
from exceptions_queue.models import covering
from integrations.enums import BreakerCause, vendor_name
from integrations.models import Connection
from integrations.sandbox.control import SandboxControl
from onboarding.models import ObjectMapping, OnboardingTransaction

Json = dict[str, Any]
T = TypeVar("T")

ANSWER_SECONDS = 3.0
NEWEST, NEWEST_FOUND, LAST_REQUESTS = 4, 20, 25
RUNS_FOUND = 20
TITLES = ("name", "dealname", "subject", "title", "hs_note_body", "email", "to")
SAID = (
    "domain", "domain_names", "email", "to", "from", "external_id", "onboarding_status", "dealstage", "status", "completed",
    "role", "start_on", "due_on", "assignee", "tags", "notes", "hs_note_body", "description",
)  # fmt: skip
"""Fields worth a line, most telling first; every other one is a click away."""
LINE_FIELDS, VALUE_CHARS = 4, 60


class SandboxDown(Exception):
    """In plain words, for the page."""


@dataclass
class Kind:
    """``total``, ``seeded`` and ``duplicates`` are counts of all; ``objects`` the newest."""

    name: str
    total: int
    seeded: int
    duplicates: int
    objects: list[Json] = field(default_factory=list)


@dataclass
class Vendor:
    name: str
    label: str
    settings: Json
    kinds: list[Kind]
    connection: Connection | None

    @property
    def state(self) -> Any:
        """How we stand with it, as a badge."""
        if self.connection is None:
            return badges.badge("not connected", badges.MUTED, "power_off")
        if self.is_stopped:
            return health.of(self.connection).badge
        return badges.badge("connected", badges.OK, "check_circle")

    @property
    def is_stopped(self) -> bool:
        return self.connection is not None and self.connection.is_stopped

    @property
    def is_refusing(self) -> bool:
        """People must enter another token; a vendor that does not answer is tried again by itself."""
        return self.is_stopped and self.connection is not None and self.connection.breaker_cause == BreakerCause.AUTH

    @property
    def behaviour(self) -> str:
        """What it takes and how it is set now, in a sentence or two."""
        told = []
        if tokens := self.settings.get("tokens"):
            told.append(f"Takes the token {' or '.join(tokens)}.")
        if lag := self.settings.get("search_lag"):
            told.append(f"Its search lags {lag:g} s." if lag != "never" else "Its search shows no new objects.")
        if rate := self.settings.get("rate_limit"):
            told.append(f"Allows {rate['requests']} calls in {rate['seconds']:g} s.")
        return " ".join(told)

    @property
    def without(self) -> str:
        """Kinds of which nothing is shown."""
        return ", ".join(kind.name for kind in self.kinds if not kind.objects)

    @property
    def is_empty(self) -> bool:
        return not any(kind.total for kind in self.kinds)


def control() -> SandboxControl:
    return SandboxControl(settings.SANDBOX_URL, timeout=ANSWER_SECONDS)


def asked(ask: Callable[[SandboxControl], T]) -> T:
    """What the sandbox answers. Raises ``SandboxDown``."""
    try:
        return ask(control())
    except requests.HTTPError as problem:
        raise SandboxDown(f"The sandbox did not take it: {problem}") from None
    except requests.RequestException:
        raise SandboxDown(
            f"The sandbox at {settings.SANDBOX_URL} does not answer. If it was stopped, start it again with "
            "“manage.py sandbox”; what the vendors hold is kept."
        ) from None
    except (LookupError, TypeError, ValueError, AttributeError):
        raise SandboxDown(f"Something other than the sandbox answers at {settings.SANDBOX_URL}.") from None


def switches_of(name: str) -> tuple[list[Json], Json]:
    """All vendors by name and label, and the settings of the one called ``name`` (or of the first). Raises ``SandboxDown``."""
    known = asked(lambda sandbox: {str(key): dict(value) for key, value in sandbox.settings().items()})
    if not known:
        raise SandboxDown("The sandbox has no vendor.")
    chosen = name if name in known else next(iter(known))
    tabs = [{"name": each, "label": label(each), "here": each == chosen} for each in known]
    return tabs, {"name": chosen, "label": label(chosen), "settings": known[chosen]}


def live(user: User, *, text: str = "", paid: str = "") -> Json:
    """Everything that changes while people look; ``text`` finds one customer, ``paid`` is a checkout session's id."""
    shown: Json = {"text": text, "paid": _paid(paid), "down": "", "vendors": [], "rules": [], "requests": []}
    try:
        vendors, rules, ledger = asked(lambda sandbox: _read(sandbox, text))
    except SandboxDown as problem:
        return {**shown, "down": str(problem)}
    for vendor in vendors:
        _add_runs(vendor)
    sees = user.has_perm("integrations.view_connection")
    return {
        **shown,
        "vendors": [{"vendor": each, "url": connection_url(each.connection) if sees else ""} for each in vendors],
        "empty": all(each.is_empty for each in vendors),
        "nothing_found": bool(text) and not any(kind.objects for each in vendors for kind in each.kinds),
        "rules": rules,
        "broken": any(not rule["spent"] for rule in rules) or any(each.is_refusing for each in vendors),
        "requests": ledger,
    }


def connection_url(connection: Connection | None) -> str:
    return reverse("admin:integrations_connection_change", args=[connection.pk]) if connection else ""


def connection_of(vendor: str, prefix: str) -> Connection | None:
    """Our connection to this stand-in: by its address, else by the provider's name; the oldest of several."""
    first = prefix.strip("/").partition("/")[0] or vendor
    root = f"{settings.SANDBOX_URL}/{first}"
    here = Q(base_url=root) | Q(base_url__startswith=f"{root}/")
    found = Connection.objects.filter(here | Q(provider=vendor, environment="sandbox")).order_by("pk")
    return found.filter(here).first() or found.first()


def label(vendor: str) -> str:
    return vendor_name(vendor)


def _read(sandbox: SandboxControl, text: str) -> tuple[list[Vendor], list[Json], list[Json]]:
    prefixes = dict(sandbox.health()["vendors"])
    counts, known = sandbox.counts(), sandbox.settings()
    doubled = {(each["vendor"], each["kind"], row_id) for each in counts["duplicate_keys"] for row_id in each["ids"]}
    objects = sandbox.objects(text=text, ids=_ids_of(text), last=NEWEST_FOUND if text else NEWEST)
    vendors = [
        Vendor(
            name,
            label(name),
            dict(known.get(name, {})),
            [_kind(name, kind, count, objects, doubled) for kind, count in counts["vendors"].get(name, {}).items()],
            connection_of(name, str(prefix or "")),
        )
        for name, prefix in prefixes.items()
    ]
    rules = sorted((_rule(rule) for rule in sandbox.faults()), key=lambda rule: bool(rule["spent"]))
    return vendors, rules, [_request(row) for row in reversed(sandbox.requests(last=LAST_REQUESTS))]


def _kind(vendor: str, kind: str, count: Json, objects: list[Json], doubled: set[tuple[str, str, str]]) -> Kind:
    mine = [each for each in reversed(objects) if (each["vendor"], each["kind"]) == (vendor, kind)]
    shown = [_object(each, doubled=(vendor, kind, str(each["id"])) in doubled) for each in mine]
    return Kind(kind, int(count["total"]), int(count["seeded"]), int(count["duplicates"]), shown)


def _object(row: Json, *, doubled: bool) -> Json:
    body: Json = row["body"]
    title = next((_plain(body[name]) for name in TITLES if body.get(name)), "")
    person = " ".join(str(body[name]) for name in ("firstname", "lastname") if body.get(name))
    told = [(name, _plain(body[name])) for name in SAID if body.get(name) not in (None, "", [], {}, False)]
    return {
        "id": str(row["id"]),
        "title": badges.short(person or title or f"{row['kind']} {row['id']}", VALUE_CHARS),
        "told": [
            (name.replace("_", " "), badges.short(value, VALUE_CHARS))
            for name, value in told
            if value and value != (person or title)
        ][:LINE_FIELDS],
        "body": badges.pretty(body),
        "at": _clock_time(row["created_at"]),
        "seeded": row["seeded"],
        "doubled": doubled,
        "runs": [],
    }


def _plain(value: Any) -> str:
    """A field's value on one line; notes are HTML at some vendors."""
    if isinstance(value, list):
        return ", ".join(_plain(each) for each in value)
    if isinstance(value, dict):
        return _plain(value.get("name") or value.get("email") or value.get("gid") or "")
    return strip_tags(str(value)).strip()


def _add_runs(vendor: Vendor) -> None:
    """Which of the objects that are shown our runs map."""
    if vendor.connection is None:
        return
    shown = [each for kind in vendor.kinds for each in kind.objects]
    by_id: dict[str, dict[int, Json]] = {}
    mappings = ObjectMapping.objects.filter(
        connection=vendor.connection, external_id__in=[each["id"] for each in shown]
    )
    for mapping in mappings.select_related("transaction"):
        run = mapping.transaction
        name = run.customer_name or run.onboarding_transaction_id
        by_id.setdefault(mapping.external_id, {})[run.pk] = {"name": name, "url": run_url(run)}
    for each in shown:
        each["runs"] = list(by_id.get(each["id"], {}).values())


def _ids_of(text: str) -> Iterable[str]:
    """External ids of the customers found by ``text``: a task or a note seldom names its customer."""
    if not text:
        return []
    runs = OnboardingTransaction.objects.filter(Q(customer_name__icontains=text) | Q(domain__icontains=text))
    newest = list(runs.order_by("-pk").values_list("pk", flat=True)[:RUNS_FOUND])
    return ObjectMapping.objects.filter(transaction__in=newest).values_list("external_id", flat=True)


def _rule(rule: Json) -> Json:
    left = rule["count"]
    wait = rule["retry_after"]
    return {
        "id": rule["id"],
        "vendor": "Every vendor" if rule["vendor"] == "*" else label(rule["vendor"]),
        "does": does(rule["kind"], rule["status"]),
        "wait": f", asking for {wait:g} s" if wait is not None else "",
        "only": "writes only" if rule["method"] == "POST" else rule["method"] or "any call",
        "hits": rule["hits"],
        "left": "until removed" if left is None else f"{left} more" if left else "used up",
        "spent": left == 0,
    }


def _request(row: Json) -> Json:
    status, fault = row["status"], row["fault"]
    tone = badges.OK
    if status == HTTPStatus.NOT_FOUND:
        tone = badges.MUTED  # a look-up that found nothing, most often
    elif status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        tone = badges.BAD
    elif status >= HTTPStatus.BAD_REQUEST:
        tone = badges.RISK
    return {
        "at": datetime.fromtimestamp(row["at"], UTC).strftime("%H:%M:%S"),
        "vendor": label(row["vendor"]),
        "call": f"{row['method']} {badges.short(unquote(row['path']), 90)}",
        "status": badges.badge(status or "no answer", tone),
        "fault": does(fault, status if fault.startswith("error_") else None) if fault else "",
        "key": row["idempotency_key"] or "",
    }


def _clock_time(iso: str) -> str:
    """The time of day alone: words such as "3 s ago" would change all the time, and the page with them."""
    return iso[11:19]


def _paid(session: str) -> Json | None:
    """The run that this checkout session made, as soon as there is one; None where none was asked for."""
    if not session:
        return None
    run = OnboardingTransaction.objects.filter(correlation_keys__value=session).first()
    if run is None:
        return {"text": "The payment was accepted. Its run starts any moment."}
    steps = list(run.steps.all())
    done = f", {sum(step.is_done for step in steps)} of {len(steps)} steps done" if steps else ""
    ticket = covering(run).order_by("pk").first()
    return {
        "text": f"{run.customer_name or 'The customer'} paid: {run.get_status_display().lower()}{done}.",
        "url": run_url(run),
        "ticket": ticket,
    }
