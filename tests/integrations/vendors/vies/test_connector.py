"""VIES, over real HTTP: what it says of a number, and that no error of it is taken for a verdict."""

import json
import time
from typing import Any

import pytest
import requests

from integrations.connections.services import probe, set_connection
from integrations.connectors.registry import connector
from integrations.errors import Kind, ProviderError
from integrations.http.redaction import PERSONAL
from integrations.models import ApiCall, Connection
from integrations.sandbox.control import SandboxControl
from integrations.vendors.vies.connector import Vies

pytestmark = pytest.mark.django_db(transaction=True)
API = "/vies/taxation_customs/vies/rest-api"


@pytest.fixture
def connection(transactional_db: None, sandbox: SandboxControl) -> Connection:
    return set_connection(
        "vies",
        system="register",
        provider="vies",
        base_url=f"{sandbox.base_url}/vies",
        environment="sandbox",
        actor="tests",
    )


def register(connection: Connection) -> Vies:
    made = connector(Connection.objects.get(pk=connection.pk), subject="step:1", deadline=time.monotonic() + 20)
    assert isinstance(made, Vies)
    return made


def refused(connection: Connection) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        register(connection).look_up(country="DE", tax_id="DE136695976", name="Quartz Aerospace")
    return raised.value


def asked(sandbox: SandboxControl) -> str:
    return str(sandbox.requests("vies")[-1]["body"])


def test_a_registered_number_with_its_name(connection: Connection, sandbox: SandboxControl) -> None:
    entry = register(connection).look_up(country="FR", tax_id="FR40303265045", name="Sodimas")
    assert (entry.is_valid, entry.name, entry.is_same_name) == (True, "SA SODIMAS", None)
    assert entry.evidence.startswith("VIES, 20")
    assert '"countryCode": "FR", "vatNumber": "40303265045", "traderName": "Sodimas"' in asked(sandbox)


def test_its_records_show_no_number_and_no_name(connection: Connection) -> None:
    connection.options = {"requester": "DE136695976"}
    connection.save()
    register(connection).look_up(country="FR", tax_id="FR40303265045", name="Sodimas")
    register(connection).look_up(country="DE", tax_id="DE136695976", name="Quartz")
    french, german = ApiCall.objects.order_by("pk")
    shown = json.dumps([[each.request, each.response] for each in (french, german)])
    assert not [said for said in ("40303265045", "136695976", "SODIMAS", "Sodimas", "Quartz") if said in shown]
    assert french.response["requestIdentifier"].startswith("WAPIAAAA")
    assert (french.response["name"], german.response["name"]) == (PERSONAL, "---")


def test_a_member_state_may_keep_the_name_and_compare_it_all_the_same(connection: Connection) -> None:
    look = register(connection).look_up
    german = look(country="DE", tax_id="DE136695976", name="Anybody")
    assert (german.is_valid, german.name, german.is_same_name) == (True, "", None)
    answers = [
        look(country="ES", tax_id="ESA13585625", name=name).is_same_name
        for name in ("Ejemplo del Norte SA", "Anybody SL")
    ]
    assert answers == [True, False]


def test_a_number_that_is_not_registered(connection: Connection) -> None:
    entry = register(connection).look_up(country="DE", tax_id="DE811115368", name="Acme")
    assert (entry.is_valid, entry.name) == (False, "")


def test_greece_is_el_and_other_countries_are_not_covered(connection: Connection, sandbox: SandboxControl) -> None:
    made = register(connection)
    assert not made.look_up(country="GR", tax_id="EL094259216", name="").is_valid
    assert '"countryCode": "EL", "vatNumber": "094259216"' in asked(sandbox)
    assert [made.covers(country) for country in ("GR", "DE", "GB", "US", "CH")] == [True, True, False, False, False]


def test_with_our_own_number_the_answer_has_a_consultation_number(connection: Connection) -> None:
    connection.options = {"requester": "DE136695976"}
    connection.save()
    entry = register(connection).look_up(country="FR", tax_id="FR40303265045", name="")
    assert "consultation number WAPIAAAA" in entry.evidence


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("MS_UNAVAILABLE", Kind.TEMPORARY),
        ("MS_MAX_CONCURRENT_REQ", Kind.TEMPORARY),
        ("MS_MAX_CONCURRENT_REQ_TIME", Kind.TEMPORARY),
        ("SERVICE_UNAVAILABLE", Kind.TEMPORARY),
        ("TIMEOUT", Kind.TEMPORARY),
        ("GLOBAL_MAX_CONCURRENT_REQ", Kind.RATE_LIMIT),
        ("GLOBAL_MAX_CONCURRENT_REQ_TIME", Kind.RATE_LIMIT),
        ("INVALID_INPUT", Kind.INVALID),
        ("INVALID_REQUESTER_INFO", Kind.NOT_CONFIGURED),
        ("VAT_BLOCKED", Kind.FORBIDDEN),
        ("IP_BLOCKED", Kind.FORBIDDEN),
        ("A_NEW_CODE", Kind.TEMPORARY),
    ],
)
def test_an_error_with_the_status_200_is_no_verdict(
    connection: Connection, sandbox: SandboxControl, code: str, kind: Kind
) -> None:
    sandbox.configure("vies", error=code)
    error = refused(connection)
    assert (error.kind, code in error.message, error.effect_possible) == (kind, True, False)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("error_before", Kind.SERVER),
        ("timeout_before", Kind.SERVER),
        ("reset_after", Kind.SERVER),
        ("malformed", Kind.MALFORMED),
        ("rate_limit", Kind.TEMPORARY),
    ],
)
def test_each_failure_has_its_kind(
    connection: Connection, sandbox: SandboxControl, settings: Any, fault: str, kind: Kind
) -> None:
    settings.CALL_SECONDS = 1.0
    sandbox.add_fault("vies", fault)
    error = refused(connection)
    assert (error.kind, error.effect_possible) == (kind, False)


@pytest.mark.parametrize("unusual", ["nulls", "absent", "unknown_values", "other_ids"])
def test_merely_unusual_answers_are_read(connection: Connection, sandbox: SandboxControl, unusual: str) -> None:
    sandbox.add_fault("vies", unusual)
    entry = register(connection).look_up(country="FR", tax_id="FR40303265045", name="")
    assert (entry.is_valid, entry.is_same_name) == (True, None)


def test_the_test_of_the_connection_asks_whether_the_service_is_there(
    connection: Connection, sandbox: SandboxControl
) -> None:
    sandbox.configure("vies", unavailable="DE, FR")
    assert probe(connection).message == "VIES, 26 of 28 registers available"
    sandbox.configure("vies", error="SERVICE_UNAVAILABLE")
    assert not probe(connection).ok


# --- The stand-in is as strict as the service


def post(sandbox: SandboxControl, path: str = "check-vat-number", **body: Any) -> tuple[int, dict[str, Any]]:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{sandbox.base_url}{API}/{path}", json=body, timeout=10)
    return answer.status_code, answer.json()


def error(code: str, message: str = "") -> dict[str, Any]:
    return {
        "actionSucceed": False,
        "errorWrappers": [{"error": code, "message": message} if message else {"error": code}],
    }


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        ({"countryCode": "DE"}, 400, error("VOW-ERR-11", "A mandatory field is missing")),
        ({"countryCode": "GR", "vatNumber": "094259216"}, 200, error("INVALID_INPUT")),
        (
            {"countryCode": "DE", "vatNumber": "DE-136 695"},
            400,
            error("VOW-ERR-2600", "The Vat number does not respect the configured pattern"),
        ),
        (
            {"countryCode": "DE", "vatNumber": "136695976", "requesterMemberStateCode": "GB", "requesterNumber": "1"},
            200,
            error("INVALID_REQUESTER_INFO"),
        ),
    ],
)
def test_bad_requests(sandbox: SandboxControl, body: dict[str, Any], status: int, answer: dict[str, Any]) -> None:
    assert post(sandbox, **body) == (status, answer)


def test_the_test_service_answers_by_the_number(sandbox: SandboxControl) -> None:
    test = "check-vat-test-service"
    assert post(sandbox, test, countryCode="AT", vatNumber="100")[1]["valid"] is True
    assert post(sandbox, test, countryCode="AT", vatNumber="200")[1]["valid"] is False
    assert post(sandbox, test, countryCode="AT", vatNumber="301") == (200, error("MS_UNAVAILABLE"))


@pytest.mark.parametrize(
    ("number", "unavailable", "told"),
    [
        ("FR/vat/40303265045", "", (True, "VALID", "SA SODIMAS")),
        ("FR/vat/11111111111", "", (False, "INVALID", "---")),
        ("FR/vat/40303265045", "FR", (False, "MS_UNAVAILABLE", "---")),
        ("GB/vat/40303265045", "", (False, "INVALID_INPUT", "---")),
    ],
)
def test_the_look_up_by_address(
    sandbox: SandboxControl, number: str, unavailable: str, told: tuple[bool, str, str]
) -> None:
    sandbox.configure("vies", unavailable=unavailable)
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{sandbox.base_url}{API}/ms/{number}", timeout=10).json()
    assert (answer["isValid"], answer["userError"], answer["name"]) == told
