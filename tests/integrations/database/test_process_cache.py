"""What a process keeps of rows is never used once they say something else."""

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from integrations.connections.services import set_connection
from integrations.connectors.registry import TOKEN
from integrations.crypto import encrypt
from integrations.database.process_cache import ProcessCache
from integrations.models import Connection, ConnectionSecret


def fetched(made: Connection) -> Connection:
    return Connection.objects.get(pk=made.pk)


def test_a_secret_is_decrypted_once(hubspot: Connection) -> None:
    first = fetched(hubspot).secrets(TOKEN)
    again = fetched(hubspot)

    with CaptureQueriesContext(connection) as asked:
        assert again.secrets(TOKEN) == first

    assert len(asked) == 0


def test_a_secret_that_another_process_entered_is_used_next(hubspot: Connection) -> None:
    fetched(hubspot).secrets(TOKEN)
    # What another process does: the rows change, and this process is told nothing.
    with transaction.atomic():
        ConnectionSecret.objects.filter(connection=hubspot, name=TOKEN).update(ciphertext=encrypt("entered-elsewhere"))
        Connection.objects.filter(pk=hubspot.pk).update(credentials_version=hubspot.credentials_version + 1)

    assert fetched(hubspot).secrets(TOKEN) == ["entered-elsewhere"]


def test_each_change_of_a_secret_raises_the_version_that_it_is_kept_under(hubspot: Connection) -> None:
    fetched(hubspot).secrets(TOKEN)

    set_connection("hubspot", system="crm", provider="hubspot", secrets={TOKEN: ["second"]}, actor="tests")

    assert fetched(hubspot).secrets(TOKEN) == ["second"]


def test_rolled_back_transaction_leaves_no_cache_entry(hubspot: Connection) -> None:
    before = fetched(hubspot).secrets(TOKEN)
    with transaction.atomic():
        set_connection("hubspot", system="crm", provider="hubspot", secrets={TOKEN: ["undone"]}, actor="tests")
        assert fetched(hubspot).secrets(TOKEN) == ["undone"]
        transaction.set_rollback(True)

    assert fetched(hubspot).secrets(TOKEN) == before


def test_oldest_entry_is_evicted() -> None:
    few: ProcessCache[str, int] = ProcessCache(2)
    for number, key in enumerate("abc"):
        few.put(key, number)

    assert [few.get(key) for key in "abc"] == [None, 1, 2]
