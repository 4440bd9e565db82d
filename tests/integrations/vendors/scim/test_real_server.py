"""SCIM against ``scim2-server``, which others wrote by the standard: what our stand-in assumes of a server is checked here."""

import threading
import time
from collections.abc import Iterator
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from scim2_models import ScimProvider
from scim2_server.memory import InMemoryStorage
from scim2_server.testserver.application import BEARER_TOKEN_SCHEME, BearerTokenApplication
from scim2_server.testserver.cli import ThreadingWSGIServer
from scim2_server.utils import (
    load_default_resource_types,
    load_default_schemas,
    load_default_service_provider_config,
)

from integrations.connections.services import set_connection
from integrations.connectors.base import Connector, MatchKey
from integrations.connectors.objects import IdentityGroup, IdentityUser, VendorObject
from integrations.connectors.registry import connector
from integrations.errors import Kind, ProviderError
from integrations.models import Connection
from integrations.vendors.scim import connector as module
from onboarding import services
from onboarding.enums import Status
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, accept, shown, status_of
from tests.support.threads import together

__all__ = ["accept"]  # a fixture
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database("sqlite")]
REFERENCE = "firstvalue:user:1"
JORDAN = IdentityUser(email="jordan@acme.com", name="Jordan Lee", first_name="Jordan", last_name="Lee")
ACME = IdentityGroup(name="Acme")
HOSTILE = [
    '"quoted" \\ back',
    "' or 1 eq 1",
    'x" or userName pr or userName eq "',
    "tab\tand\nline",
    "👩‍🚀 & Söhne +%20",
    "null",
]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """The assertions say enough."""


@pytest.fixture
def storage() -> InMemoryStorage:
    return InMemoryStorage()


@pytest.fixture
def scim(transactional_db: None, storage: InMemoryStorage) -> Iterator[Connection]:
    config = load_default_service_provider_config()
    config.authentication_schemes = [BEARER_TOKEN_SCHEME]
    provider = ScimProvider.from_discovery(
        load_default_schemas().values(), load_default_resource_types().values(), config=config
    )
    application = BearerTokenApplication(storage, provider, bearer_tokens=["secret-token"])
    with make_server("127.0.0.1", 0, application, server_class=ThreadingWSGIServer, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield connect(f"http://127.0.0.1:{server.server_port}/v2", "secret-token")
        server.shutdown()
        thread.join()


def connect(base_url: str, token: str) -> Connection:
    return set_connection(
        "scim",
        system="identity",
        provider="scim",
        base_url=base_url,
        environment="sandbox",
        secrets={"token": [token]},
        actor="tests",
    )


def at(connection: Connection) -> Connector:
    return connector(connection, subject="step:1", deadline=time.monotonic() + 20)


def held(storage: InMemoryStorage, kind: str) -> dict[str, dict[str, object]]:
    """What the server holds of that kind, by id."""
    found = [each.model_dump() for each in storage.resources]
    return {each["id"]: each for each in found if each["meta"]["resourceType"] == kind}


def refused(connection: Connection, wanted: VendorObject, reference: str = REFERENCE) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        at(connection).create(wanted, reference)
    return raised.value


def ids(connection: Connection, kind: str, *key: str) -> list[str]:
    return [each.external_id for each in at(connection).find(kind, MatchKey(*key))]


def test_a_user_is_found_by_reference_and_address(scim: Connection) -> None:
    assert ids(scim, "user", "reference", REFERENCE) == []
    made = at(scim).create(JORDAN, REFERENCE).external_id  # type: ignore[union-attr]
    assert ids(scim, "user", "reference", REFERENCE) == [made]
    assert ids(scim, "user", "email", "Jordan@ACME.com") == [made]
    found = at(scim).get("user", made)
    assert found is not None
    assert (found.label, found.inactive, found.conclusive) == ("Jordan Lee", "", True)
    assert found.changed_at is not None
    assert found.changed_at.tzinfo


def test_what_is_not_there_is_none(scim: Connection) -> None:
    for kind in ("user", "group"):
        for external_id in ("404", "..", "../Users", "%2e%2e"):
            assert at(scim).get(kind, external_id) is None


def test_a_taken_address_is_a_conflict_that_names_its_holder(scim: Connection) -> None:
    made = at(scim).create(JORDAN, "firstvalue:user:other").external_id  # type: ignore[union-attr]
    error = refused(scim, IdentityUser(email="JORDAN@acme.com", name="Another"))
    assert (error.kind, error.http_status, error.effect_possible) == (Kind.CONFLICT, 409, False)
    assert (error.existing_id, error.existing_by) == (made, "email")
    assert "Jordan Lee" in error.message


def test_creates_that_race_make_one_user(scim: Connection, storage: InMemoryStorage) -> None:
    def create() -> str:
        try:
            return at(scim).create(JORDAN, REFERENCE).external_id  # type: ignore[union-attr]
        except ProviderError as error:
            return error.existing_id

    assert len(set(together([create] * 4))) == 1
    assert len(held(storage, "User")) == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_values_cannot_end_the_filter(scim: Connection, text: str) -> None:
    at(scim).create(JORDAN, REFERENCE)
    at(scim).create(ACME, "firstvalue:domain:acme.com")
    assert ids(scim, "user", "reference", text) == []
    assert ids(scim, "user", "email", text) == []
    assert ids(scim, "group", "name", text) == []
    made = at(scim).create(IdentityGroup(name=text), f"firstvalue:{text}").external_id  # type: ignore[union-attr]
    assert ids(scim, "group", "reference", f"firstvalue:{text}") == [made]
    assert ids(scim, "group", "name", text) == [made]


def test_an_update_changes_names_alone(scim: Connection, storage: InMemoryStorage) -> None:
    made = at(scim).create(JORDAN, REFERENCE).external_id  # type: ignore[union-attr]
    for _ in range(2):
        at(scim).update(made, IdentityUser(name="Jordan Roe", last_name="Roe"))
    body = held(storage, "User")[made]
    assert (body["displayName"], body["name"]) == ("Jordan Roe", {"familyName": "Roe", "givenName": "Jordan"})
    assert (body["userName"], body["externalId"], body["active"]) == (JORDAN.email, REFERENCE, True)


@pytest.mark.parametrize("form", ["standard", "okta"])
def test_undo_deactivates_and_a_create_activates_the_same_user(
    scim: Connection, storage: InMemoryStorage, form: str
) -> None:
    scim.options = {"patch_form": form}
    scim.save()
    made = at(scim).create(JORDAN, REFERENCE).external_id  # type: ignore[union-attr]
    for _ in range(2):
        at(scim).undo("user", made)
        assert held(storage, "User")[made]["active"] is False
        assert at(scim).get("user", made) is None
        assert ids(scim, "user", "reference", REFERENCE) == ids(scim, "user", "email", JORDAN.email) == []
    assert at(scim).create(JORDAN, REFERENCE).external_id == made  # type: ignore[union-attr]
    body = held(storage, "User")[made]
    assert (body["active"], body["externalId"]) == (True, REFERENCE)


def test_undo_can_delete(scim: Connection, storage: InMemoryStorage) -> None:
    scim.options = {"undo": "delete"}
    scim.save()
    made = at(scim).create(JORDAN, REFERENCE).external_id  # type: ignore[union-attr]
    for _ in range(2):
        at(scim).undo("user", made)
    assert held(storage, "User") == {}


def test_members_are_added_in_batches_and_removed_one_by_one(
    scim: Connection, storage: InMemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMBERS_AT_ONCE", 3)
    group = at(scim).create(ACME, "firstvalue:domain:acme.com").external_id  # type: ignore[union-attr]
    made = [
        at(scim).create(IdentityUser(email=f"user-{number}@acme.com"), f"firstvalue:user:{number}").external_id  # type: ignore[union-attr]
        for number in range(8)
    ]
    for _ in range(2):
        at(scim).update(group, IdentityGroup(members=made))
        assert members(storage, group) == made
    at(scim).update(group, IdentityGroup(name="Acme Freight", former_members=made[:4]))
    assert members(storage, group) == made[4:]
    assert held(storage, "Group")[group]["displayName"] == "Acme Freight"
    for _ in range(2):
        at(scim).associate("user", made[0], "group", group)
        assert members(storage, group) == [*made[4:], made[0]]
    for _ in range(2):
        at(scim).undo("group", group)
    assert at(scim).get("group", group) is None
    assert len(held(storage, "User")) == 8


def members(storage: InMemoryStorage, group: str) -> list[object]:
    return [each["value"] for each in held(storage, "Group")[group]["members"]]  # type: ignore[attr-defined]


def test_all_pages_are_read(scim: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_SIZE", 2)
    made = [at(scim).create(ACME, f"firstvalue:{number}").external_id for number in range(5)]  # type: ignore[union-attr]
    found = at(scim).find("group", MatchKey("name", "ACME"))
    assert sorted(each.external_id for each in found) == sorted(made)
    assert not any(each.conclusive for each in found)


def test_the_probe_needs_the_token(scim: Connection) -> None:
    assert at(scim).probe() == "SCIM server 127.0.0.1 with 0 users"
    wrong = connect(scim.base_url, "another")
    with pytest.raises(ProviderError) as raised:
        at(wrong).probe()
    assert raised.value.kind is Kind.AUTH


@pytest.mark.usefixtures("connections")
def test_a_run_provisions_and_rolls_back(
    scim: Connection, storage: InMemoryStorage, accept: Accept, drain: Drain
) -> None:
    sam = {"name": "Sam Roe", "email": "sam@acme-logistics.com"}
    run = accept(commercial__plan_sku="identity", users=[sam])
    drain()
    assert status_of(run) == Status.COMPLETE, shown(run)
    (group,) = held(storage, "Group")
    assert members(storage, group) == list(held(storage, "User"))
    services.rollback(run.pk, actor="kim", reason="The customer withdrew")
    drain()
    assert status_of(run) == Status.ROLLED_BACK, shown(run)
    assert held(storage, "Group") == {}
    assert [each["active"] for each in held(storage, "User").values()] == [False, False]
    again = accept(commercial__plan_sku="identity", users=[sam], onboarding_transaction_id="pay_2")
    drain()
    assert status_of(again) == Status.COMPLETE, shown(again)
    assert [each["active"] for each in held(storage, "User").values()] == [True, True]
