"""Keys are rotated out: everything is encrypted anew with the first one, and what no key reads stops its connection alone."""

from io import StringIO
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from exceptions_queue.models import Ticket
from integrations import crypto
from integrations.connections import key_rotation
from integrations.connections.services import close_after_probe, set_connection
from integrations.models import Connection, ConnectionSecret, InboundEvent, WebhookEndpoint
from onboarding.enums import Category
from tests.integrations.vendors.stripe.test_webhook import SECRET, connect, encode, paid, post

pytestmark = pytest.mark.django_db


def rotate() -> str:
    out = StringIO()
    call_command("rotate_secrets", stdout=out, stderr=out, no_color=True)
    return out.getvalue()


@pytest.fixture
def keys(settings: Any) -> tuple[str, str]:
    """(the old key, with which everything is stored; the new one). Both are configured, the new one first."""
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    settings.FIELD_ENCRYPTION_KEYS = [old]
    connect()
    assert post(encode(paid())).status_code == 200
    settings.FIELD_ENCRYPTION_KEYS = [new, old]
    return old, new


def test_after_a_rotation_the_old_key_is_not_needed(keys: tuple[str, str], settings: Any) -> None:
    body = InboundEvent.objects.get().raw
    said = rotate()
    assert "connection secrets: 2 encrypted anew, 0 had the first key already." in said
    assert "inbound events: 1 encrypted anew" in said
    settings.FIELD_ENCRYPTION_KEYS = [keys[1]]
    assert Connection.objects.get().secrets("webhook_secret") == [SECRET, "whsec_former"]
    assert InboundEvent.objects.get().raw == body
    assert post(encode(paid())).status_code == 200


def test_every_encrypted_column_is_rotated() -> None:
    """Who stores something encrypted elsewhere must name it here, or its key can never be taken out."""
    named = {(model, column) for model, column in key_rotation.STORED}
    endpoints = {(WebhookEndpoint, "secret"), (WebhookEndpoint, "former_secret")}
    assert named == {(ConnectionSecret, "ciphertext"), (InboundEvent, "body"), *endpoints}


def test_a_rotation_that_was_cut_off_goes_on_where_it_ended(keys: tuple[str, str]) -> None:
    first = ConnectionSecret.objects.order_by("pk").first()
    assert first is not None
    ConnectionSecret.objects.filter(pk=first.pk).update(ciphertext=crypto.reencrypt(first.ciphertext))
    written = ConnectionSecret.objects.get(pk=first.pk).ciphertext
    assert "connection secrets: 1 encrypted anew, 1 had the first key already." in rotate()
    assert ConnectionSecret.objects.get(pk=first.pk).ciphertext == written
    assert "connection secrets: 0 encrypted anew, 2 had the first key already." in rotate()


def test_a_secret_entered_while_the_rotation_runs_is_kept(
    keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = crypto.reencrypt

    def entered_meanwhile(ciphertext: str) -> str:
        ConnectionSecret.objects.filter(ciphertext=ciphertext).update(ciphertext=crypto.encrypt("whsec_entered"))
        return original(ciphertext)

    monkeypatch.setattr(crypto, "reencrypt", entered_meanwhile)
    rotate()
    assert set(Connection.objects.get().secrets("webhook_secret")) == {"whsec_entered"}


def test_undecryptable_values_are_named_and_the_rest_is_rotated(keys: tuple[str, str]) -> None:
    lost = ConnectionSecret.objects.order_by("pk").last()
    assert lost is not None
    stranger = Fernet(Fernet.generate_key())
    ConnectionSecret.objects.filter(pk=lost.pk).update(ciphertext=stranger.encrypt(b"x").decode())
    out = StringIO()
    with pytest.raises(CommandError, match="Keep every older key"):
        call_command("rotate_secrets", stdout=out, stderr=out, no_color=True)
    assert f"connection secrets: 1 cannot be read with any of the keys: {lost.pk}." in out.getvalue()
    assert "inbound events: 1 encrypted anew" in out.getvalue()


def test_a_webhook_whose_secret_is_unreadable_is_asked_for_again_and_somebody_is_told(
    keys: tuple[str, str], settings: Any
) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [keys[1]]  # taken out too early
    for _ in range(2):
        answer = post(encode(paid()))
        assert (answer.status_code, answer["Retry-After"]) == (503, "300")
    assert InboundEvent.objects.count() == 1
    ticket = Ticket.objects.get()
    assert (ticket.connection.slug, ticket.category, ticket.queue) == (
        "stripe",
        Category.AUTH_ERROR,
        "revenue-operations",
    )
    assert "FIELD_ENCRYPTION_KEYS does not hold the key" in ticket.message

    settings.FIELD_ENCRYPTION_KEYS = [keys[1], keys[0]]
    assert post(encode(paid())).status_code == 200
    assert close_after_probe(Connection.objects.get().pk, "rita").ok
    assert not Ticket.objects.get().is_open


def test_one_unreadable_secret_beside_a_readable_one_refuses_nothing(keys: tuple[str, str], settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [keys[1]]
    connection = set_connection(
        "stripe", system="billing", provider="stripe", secrets={"webhook_secret": ["whsec_new"]}, actor="rita"
    )
    assert post(encode(paid()), secret="whsec_new").status_code == 200
    assert post(encode(paid()), secret=SECRET).status_code == 503, "it may be signed with the one that cannot be read"
    assert connection.readable_secrets("webhook_secret") == (["whsec_new"], True)
