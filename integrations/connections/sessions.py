"""Access tokens that expire (OAuth 2.0): one worker renews a connection's session, and the others use what it got.

A rotated refresh token may be spent once: a second use revokes all that came of it (RFC 9700, 4.14.2). Who may spend it is
therefore decided under the connection's row lock, and kept as a lease in the session: no lock is held while the vendor is
asked. The new refresh token is stored in the transaction that removes the one before it, and before the new access token is
used.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from uuid import uuid4

from django.conf import settings
from django.db import transaction

from integrations import clock, crypto
from integrations.errors import Kind, ProviderError
from integrations.models import Connection, ConnectionSecret

log = logging.getLogger(__name__)

REFRESH_TOKEN = "refresh_token"  # noqa: S105 (a name)
SESSION = "session"
"""The secret that holds the session: nobody enters it."""
LOOK_AGAIN_SECONDS = 0.05
LEASE_MARGIN_SECONDS = 5.0
_ANSWER_LOST = frozenset({Kind.SERVER, Kind.MALFORMED})


@dataclass(frozen=True)
class Granted:
    """What the vendor answered. ``refresh``: the next refresh token; empty where the one before stays good."""

    access: str
    refresh: str = ""


@dataclass(frozen=True)
class Session:
    access: str = ""
    login: str = ""
    """What it was got with: another client, secret or refresh token makes it void."""
    holder: str = ""
    """Who renews it now, until ``held_until`` (seconds since the epoch)."""
    held_until: float = 0.0
    answer_lost: bool = False
    """The last renewal may have spent the refresh token though its answer never came."""


def access_token(connection: Connection, login: str) -> str:
    """The stored access token, if it was got with ``login``; else empty. Raises ``crypto.SecretUnreadable``."""
    session = _parsed(connection.secrets(SESSION))
    return session.access if session.login == _fingerprint(connection, login) else ""


def renew(connection: Connection, *, login: str, refused: str, ask: Callable[[str], Granted], deadline: float) -> str:
    """An access token other than ``refused``: what another worker has got meanwhile, or what ``ask`` gets now.

    ``ask`` is called with the refresh token, empty where there is none, by one worker at a time and outside of any
    transaction. ``deadline``: monotonic seconds. Raises what ``ask`` raises, and ``ProviderError``.
    """
    if connection.candidate_secrets and _is_of_candidate(connection):
        return _renew_candidate(connection, ask)
    holder = uuid4().hex
    session, refresh = _claim(connection, login, refused, holder, deadline)
    if session.holder != holder:
        return session.access
    try:
        granted = ask(refresh)
    except ProviderError as error:
        _give_back(connection, holder, answer_lost=bool(refresh) and error.kind in _ANSWER_LOST)
        if error.kind is Kind.AUTH and session.answer_lost:
            error.message += (
                ". The answer to an earlier renewal was lost, so the refresh token was spent: get a new one"
            )
        raise
    except BaseException:
        _give_back(connection, holder, answer_lost=session.answer_lost)
        raise
    _keep(connection, login, holder, refresh, granted)
    return granted.access


def _claim(connection: Connection, login: str, refused: str, holder: str, deadline: float) -> tuple[Session, str]:
    """(the session, the refresh token): held by ``holder``, or with an access token that another has got."""
    while True:
        with transaction.atomic():
            locked = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
            session = _parsed(locked.secrets(SESSION))
            connection.credentials_version = locked.credentials_version
            if session.access not in ("", refused) and session.login == _fingerprint(connection, login):
                return replace(session, holder=""), ""
            now = clock.now().timestamp()
            if not session.holder or session.held_until <= now:
                lost = session.answer_lost or bool(session.holder)  # its holder is gone, perhaps after it had asked
                lease = now + settings.CALL_SECONDS + LEASE_MARGIN_SECONDS
                session = replace(session, holder=holder, held_until=lease, answer_lost=lost)
                _store(locked, SESSION, json.dumps(asdict(session)))
                return session, _refresh_token(connection)
        if time.monotonic() + LOOK_AGAIN_SECONDS > deadline:
            raise ProviderError(
                Kind.TEMPORARY, f"Another worker signs in to {connection.slug} now", retry_after=1.0, ours=True
            )
        time.sleep(LOOK_AGAIN_SECONDS)


def _keep(connection: Connection, login: str, holder: str, spent: str, granted: Granted) -> None:
    """Stores what was granted. Where a person entered other credentials meanwhile, theirs stay."""
    with transaction.atomic():
        locked = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        if _refresh_token(locked) == spent and granted.refresh:
            _store(locked, REFRESH_TOKEN, granted.refresh)
        if _parsed(locked.secrets(SESSION)).holder == holder:
            made = Session(granted.access, _fingerprint(connection, login))
            _store(locked, SESSION, json.dumps(asdict(made)))
        locked.credentials_version += 1
        locked.save(update_fields=["credentials_version"])
    connection.credentials_version = locked.credentials_version
    log.info("connection %s has a new session", connection.slug)


def _give_back(connection: Connection, holder: str, *, answer_lost: bool) -> None:
    with transaction.atomic():
        locked = Connection.objects.select_for_update(no_key=True).get(pk=connection.pk)
        session = _parsed(locked.secrets(SESSION))
        if session.holder == holder:
            free = replace(session, holder="", held_until=0.0, answer_lost=answer_lost)
            _store(locked, SESSION, json.dumps(asdict(free)))


def _is_of_candidate(connection: Connection) -> bool:
    """Whether only values that are not kept yet would be spent."""
    return REFRESH_TOKEN in connection.candidate_secrets or not _refresh_token(connection)


def _renew_candidate(connection: Connection, ask: Callable[[str], Granted]) -> str:
    granted = ask(_refresh_token(connection))
    if granted.refresh:
        connection.candidate_secrets = {**connection.candidate_secrets, REFRESH_TOKEN: [granted.refresh]}
    return granted.access


def _store(locked: Connection, name: str, value: str) -> None:
    """In place of the values before: the new row comes first."""
    row = ConnectionSecret.objects.create(connection=locked, name=name, ciphertext=crypto.encrypt(value))
    locked.secret_rows.filter(name=name).exclude(pk=row.pk).delete()


def _refresh_token(connection: Connection) -> str:
    return next(iter(connection.secrets(REFRESH_TOKEN)), "")


def _fingerprint(connection: Connection, login: str) -> str:
    return hashlib.sha256(f"{login}\0{_refresh_token(connection)}".encode()).hexdigest()


def _parsed(stored: list[str]) -> Session:
    return Session(**json.loads(stored[0])) if stored else Session()
