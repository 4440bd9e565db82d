"""Services on connections: making and changing them, probing them, opening and closing their breaker."""

import copy
import logging
import re
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from integrations import clock, crypto, signals
from integrations.connections import concurrency
from integrations.connectors.registry import PROVIDERS, WEBHOOK_SECRET, ProviderInfo, connector
from integrations.enums import Breaker, BreakerCause, Environment
from integrations.errors import DeadlinePassed, Kind, ProviderError
from integrations.failpoints import failpoint
from integrations.http.hosts import checked_base_url
from integrations.http.redaction import redact_text
from integrations.models import SLUG, Connection, ConnectionSecret

log = logging.getLogger(__name__)

BREAKER_FIELDS = (
    *("breaker", "breaker_reason", "breaker_cause", "breaker_changed_at", "failures", "failures_of"),
    *(
        "probe_at",
        "probed_at",
        "failed_probes",
        "concurrency_limit",
        "concurrency_changed_at",
        "slow_start",
        "released_at",
        "updated_at",
    ),
)
"""Whatever a transition of the breaker changes, and nothing that another lever owns."""
ACTOR = "system"
ACTIVE_WEBHOOK_SECRETS = 2
"""During a rotation the vendor still signs with the older one."""
_ASCII = re.compile(r"[\x21-\x7e]+")
_ADVICE = {
    Kind.AUTH: "The credentials are refused: enter a new token.",
    Kind.FORBIDDEN: "The credentials are valid but may not do this: check their scopes.",
    Kind.SERVER: "The vendor does not answer: check the base URL and the network, or try later.",
    Kind.MALFORMED: "Something else answers at this address: check the base URL.",
    Kind.RATE_LIMIT: "The vendor asks for fewer calls: try later.",
    Kind.TEMPORARY: "The vendor refuses for now: try later.",
    Kind.NOT_FOUND: "The vendor does not know this address: check the base URL.",
}


@dataclass(frozen=True)
class ProbeResult:
    ok: bool
    message: str
    """Plain words."""
    status: int | None = None
    kind: Kind | None = None
    """Of the failure; None where it passed, or where it says nothing of the vendor."""
    retry_after: float | None = None
    """Seconds, as the vendor asked."""
    learned: Mapping[str, str] = field(default_factory=dict)
    """Options that the vendor told of the account."""


def set_connection(
    slug: str,
    *,
    system: str,
    provider: str,
    base_url: str | None = None,
    environment: str | None = None,
    secrets: Mapping[str, list[str]] | None = None,
    options: Mapping[str, Any] | None = None,
    enabled: bool | None = None,
    max_concurrency: int | None = None,
    actor: str,
) -> Connection:
    """Makes or updates a connection; None leaves a part as it is. Options given are added to those there.

    ``max_concurrency``: calls at once, 0 for no limit of our own.

    Another base URL or provider voids all stored secrets, so that nobody sends them elsewhere. A new ``webhook_secret``
    keeps the one before it active; other secrets are replaced. Raises ``ValueError`` in plain words.
    """
    info = _known_provider(slug, system, provider)
    entered = {name: _checked_secrets(info, name, values) for name, values in (secrets or {}).items()}
    info.check_options(options or {})
    with transaction.atomic():
        connection = Connection.objects.select_for_update(no_key=True).filter(slug=slug).first()
        made = connection or Connection(slug=slug, provider=provider, base_url=info.default_base_url)
        another = made.provider != provider
        made.environment = _known_environment(environment or made.environment)
        wanted = (
            info.default_base_url if another and base_url is None else made.base_url if base_url is None else base_url
        )
        address = checked_base_url(wanted or info.default_base_url, info, made.environment)
        voided = connection is not None and (another or address != made.base_url)
        made.system, made.provider, made.base_url = system, provider, address
        made.options = {**({} if another else made.options), **(options or {})}
        made.enabled = made.enabled if enabled is None else enabled
        made.max_concurrency = made.max_concurrency if max_concurrency is None else max_concurrency or None
        made.save()
        changed = _store_secrets(made, entered, void=voided) or voided
        if changed and connection is not None:
            made.credentials_version += 1
            if made.breaker == Breaker.OPEN and made.probe_at is not None:
                made.probe_at = clock.now()  # another address may answer
            made.save(update_fields=["credentials_version", "probe_at"])
        signals.connection_set.send(Connection, connection=made, actor=actor, secrets=sorted(entered), voided=voided)
    log.info("connection %s set by %s%s", slug, actor, ", with new credentials" if changed else "")
    return made


def probe(connection: Connection) -> ProbeResult:
    """A harmless call or two with the connection's credentials, within ``CALL_SECONDS``. Never in a database transaction."""
    info = PROVIDERS.get(connection.provider)
    if info is not None and info.connector is None:
        return _receiver(connection)
    try:
        made = connector(connection, subject="probe", deadline=time.monotonic() + settings.CALL_SECONDS)
        label = made.probe()
        if not connection.candidate_secrets:  # of an account that is not kept, nothing is
            _keep(connection, made.learned)
        return ProbeResult(True, label, learned=made.learned)
    except ProviderError as error:
        advice = _advice(info, error.kind)
        told = f"{error}. {advice}" if advice else str(error)
        return ProbeResult(False, told, error.http_status, error.kind, error.retry_after)
    except DeadlinePassed:
        return ProbeResult(False, f"The vendor answers too slowly. {_advice(info, Kind.SERVER)}", kind=Kind.SERVER)


def _keep(seen: Connection, learned: Mapping[str, str]) -> None:
    """Options that the vendor told of the account to which ``seen`` leads; whoever typed others was wrong."""
    told = {name: value for name, value in learned.items() if value and seen.options.get(name) != value}
    if not told:
        return
    seen.options = {**seen.options, **told}
    with transaction.atomic():
        there = Connection.objects.select_for_update(no_key=True).filter(pk=seen.pk)
        locked = there.filter(base_url=seen.base_url, credentials_version=seen.credentials_version).first()
        if locked is not None:
            locked.options = {**locked.options, **told}
            locked.save(update_fields=["options", "updated_at"])
            signals.connection_set.send(Connection, connection=locked, actor=ACTOR, secrets=[], voided=False)


def record_auth_failure(connection_pk: int, *, credentials_version: int, status: int | None, reason: str) -> bool:
    """Opens the breaker until a person fixes it. True if it did.

    Not where it is open for this already, nor where the credentials were changed since they were refused.
    """
    with transaction.atomic():
        connection = Connection.objects.select_for_update(no_key=True).get(pk=connection_pk)
        known = connection.breaker == Breaker.OPEN and connection.breaker_cause == BreakerCause.AUTH
        if known or connection.credentials_version != credentials_version:
            return False
        connection.open_breaker(reason=redact_text(reason), at=clock.now())
        connection.save(update_fields=BREAKER_FIELDS)
        signals.breaker_opened.send(Connection, connection=connection, status=status)
        failpoint("opening-breaker")
    return True


def record_unreadable(connection: Connection) -> bool:
    """A secret that no configured key decrypts stops the connection until a person fixes it. True if this is news."""
    return record_auth_failure(
        connection.pk,
        credentials_version=connection.credentials_version,
        status=None,
        reason=f"A secret of {connection.slug} cannot be read: {crypto.KEY_IS_MISSING}.",
    )


def close_after_probe(connection_pk: int, actor: str) -> ProbeResult:
    """Probes and, where that passes, closes the breaker. Credentials changed during the probe leave it open."""
    connection = Connection.objects.get(pk=connection_pk)
    result = probe(connection)
    if not result.ok:
        return result
    with transaction.atomic():
        locked = Connection.objects.select_for_update(no_key=True).get(pk=connection_pk)
        if locked.credentials_version != connection.credentials_version:
            return ProbeResult(False, "The credentials were changed during the check: check again.")
        if locked.is_stopped:
            close(locked, actor=actor)
    return result


def replace_credentials(
    connection_pk: int,
    secrets: Mapping[str, list[str]],
    *,
    options: Mapping[str, Any] | None = None,
    actor: str,
) -> ProbeResult:
    """Tests the values with a harmless call and keeps them, and the options, only if that passes; the former ones stay
    until then.

    Closes the breaker, too. What only a sender signs with (``webhook_secret``) cannot be tested: alone it is kept at once, beside
    the one before. Raises ``ValueError`` in plain words.
    """
    connection = Connection.objects.get(pk=connection_pk)
    info = _known_provider(connection.slug, connection.system, connection.provider)
    entered = {name: _checked_secrets(info, name, values) for name, values in secrets.items()}
    info.check_options(options or {})
    about: dict[str, Any] = {"system": connection.system, "provider": connection.provider, "actor": actor}
    if not set(entered) - {WEBHOOK_SECRET}:
        set_connection(connection.slug, secrets=entered, options=options, **about)
        return close_after_probe(connection_pk, actor)
    trial = copy.copy(connection)
    trial.candidate_secrets, trial.options = entered, {**connection.options, **(options or {})}
    result = probe(trial)
    if not result.ok:
        return result
    with transaction.atomic():
        locked = Connection.objects.select_for_update(no_key=True).get(pk=connection_pk)
        connection.credentials_version = trial.credentials_version  # a test may renew the session of what is stored
        if _tested_as(locked) != _tested_as(connection):
            return ProbeResult(False, "The connection was changed during the test: enter the credentials again.")
        if locked.is_stopped:  # first: its tickets are locked before the audit trail's chain is
            close(locked, actor=actor)
        learned = {name: value for name, value in result.learned.items() if value}
        # As the test left them: a refresh token that it spent has been replaced.
        tested = {name: list(values) for name, values in trial.candidate_secrets.items()}
        set_connection(connection.slug, secrets=tested, options={**(options or {}), **learned}, **about)
    return result


def _tested_as(connection: Connection) -> tuple[Any, ...]:
    return (connection.provider, connection.base_url, connection.options, connection.credentials_version)


def close(locked: Connection, *, actor: str) -> None:
    """Closes the breaker of a connection that the caller holds locked: what was parked goes on, one step first."""
    locked.close_breaker(at=clock.now())
    concurrency.begin_slow_start(locked)
    locked.save(update_fields=BREAKER_FIELDS)
    signals.breaker_closed.send(Connection, connection=locked, actor=actor)


def default_connection(system: str, provider: str = "") -> Connection | None:
    """The enabled connection through which we write to a system; the oldest of several.

    Of that ``provider``, for what only it can do; without one of any built-in provider.
    """
    return default_connections({(system, provider)})[system, provider]


def default_connections(
    wanted: Collection[tuple[str, str]], everyone: Iterable[Connection] | None = None
) -> dict[tuple[str, str], Connection | None]:
    """As ``default_connection``, for several pairs of system and provider with one query.

    ``everyone``: all connections by primary key, where the caller has them.
    """
    if not wanted:
        return {}
    systems = {system for system, _ in wanted}
    if everyone is None:
        everyone = list(Connection.objects.filter(system__in=systems).order_by("pk"))
    there = [one for one in everyone if one.enabled]
    built_in = {name for name, info in PROVIDERS.items() if info.connector is not None and not info.mapped}
    return {
        (system, provider): next(
            (one for one in there if one.system == system and one.provider in ({provider} if provider else built_in)),
            None,
        )
        for system, provider in wanted
    }


def _known_provider(slug: str, system: str, provider: str) -> ProviderInfo:
    try:
        SLUG(slug)
    except ValidationError as problem:
        raise ValueError(f"{slug!r} is no name for a connection: {problem.messages[0]}") from None
    info = PROVIDERS.get(provider)
    if info is None:
        raise ValueError(f"unknown provider {provider!r}: known are {', '.join(sorted(PROVIDERS))}")
    if system not in info.systems:
        raise ValueError(f"{provider} is for {', '.join(sorted(info.systems))}, not for {system!r}")
    return info


def _known_environment(environment: str) -> str:
    if environment not in Environment.values:
        raise ValueError(f"the environment is {' or '.join(Environment.values)}, not {environment!r}")
    return environment


def _checked_secrets(info: ProviderInfo, name: str, values: list[str]) -> list[str]:
    known = {secret.name: secret for secret in info.secrets}
    if name not in known:
        raise ValueError(f"{info.name} has no secret {name!r}: known are {', '.join(known)}")
    if len(values) > 1 and name != WEBHOOK_SECRET:
        raise ValueError(f"only {WEBHOOK_SECRET} may have several values, not {name!r}")
    stripped = [value.strip() for value in values]
    if not all(_ASCII.fullmatch(value) for value in stripped):
        raise ValueError(f"the secret {name!r} is empty or holds spaces or other characters that no secret has")
    for value in stripped:
        known[name].check(value)
    return stripped


def _store_secrets(connection: Connection, entered: dict[str, list[str]], *, void: bool) -> bool:
    """True if a value changed. Values are compared decrypted; one stored with a lost key counts as another."""
    if void:
        connection.secret_rows.all().delete()
    changed = False
    for name, values in entered.items():
        keep = max(ACTIVE_WEBHOOK_SECRETS, len(values)) if name == WEBHOOK_SECRET else 1
        new = [value for value in values if value not in connection.readable_secrets(name)[0]]
        for value in new:
            ConnectionSecret.objects.create(connection=connection, name=name, ciphertext=crypto.encrypt(value))
        newest = list(
            connection.secret_rows.filter(name=name, active=True).order_by("-pk").values_list("pk", flat=True)
        )
        connection.secret_rows.filter(pk__in=newest[keep:]).delete()
        changed = changed or bool(new)
    return changed


def keep_chosen_secret(connection: Connection, name: str, value: str) -> None:
    """What a vendor has chosen to sign with, in place of what it had chosen before under that name. It is sent to nobody, so that
    no credentials are changed by it.
    """
    with transaction.atomic():
        row = ConnectionSecret.objects.create(connection=connection, name=name, ciphertext=crypto.encrypt(value))
        connection.secret_rows.filter(name=name).exclude(pk=row.pk).delete()


def _advice(info: ProviderInfo | None, kind: Kind) -> str:
    own = info.connector.advice if info is not None and info.connector is not None else {}
    return own.get(kind) or _ADVICE.get(kind, "")


def _receiver(connection: Connection) -> ProbeResult:
    readable, some_are_not = connection.readable_secrets(WEBHOOK_SECRET)
    if some_are_not:
        return ProbeResult(False, f"{crypto.KEY_IS_MISSING}: add the key again, or enter the secret anew")
    if not readable:
        return ProbeResult(False, f"The secret {WEBHOOK_SECRET!r} is missing: no event can be verified")
    return ProbeResult(True, "Receives events; nothing to call")
