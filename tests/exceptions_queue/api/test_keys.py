"""Who may call what."""

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from rest_framework.test import APIClient

from onboarding.api.authentication import Caller as KeyHolder
from onboarding.models import ApiKey, AuditEntry
from tests.exceptions_queue.api.conftest import MINIMAL, RUNS, TICKETS, Blocked, Caller
from tests.exceptions_queue.api.intake.test_malformed import problem

MATRIX = {
    # scope: start, one run, runs, tickets, one ticket, act
    "intake": (201, 200, 403, 403, 403, 403),
    "read": (403, 200, 200, 200, 200, 403),
    "operate": (201, 200, 200, 200, 200, 200),
}


@pytest.mark.parametrize("scope", MATRIX)
def test_each_scope_may_do_its_part(caller: Caller, blocked: Blocked, scope: str) -> None:
    ticket = blocked()
    client = caller(scope)
    one = f"{TICKETS}{ticket.pk}/"
    calls: list[Any] = [
        client.post(RUNS, MINIMAL, format="json"),
        client.get(f"{RUNS}pay_blocked/"),
        client.get(RUNS),
        client.get(TICKETS),
        client.get(one),
        client.post(f"{one}note/", {"text": "Seen."}, format="json"),
    ]

    assert tuple(response.status_code for response in calls) == MATRIX[scope]
    for response in calls:
        if response.status_code == 403:
            assert scope in problem(response, 403)["detail"]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Bearer a b", "Basic YTpi", "Bearer \xff\x00", "Token x"]
)
@pytest.mark.parametrize("path", [RUNS, TICKETS, f"{RUNS}x/", f"{TICKETS}1/"])
def test_no_key_or_a_wrong_one_is_401(db: None, header: str | None, path: str) -> None:
    client = APIClient(headers={"Authorization": header} if header is not None else {})

    response = client.get(path)

    problem(response, 401)
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_revoked_key_is_401(read: APIClient) -> None:
    ApiKey.objects.update(revoked_at=timezone.now())

    problem(read.get(RUNS), 401)


def test_body_is_not_read_without_a_key(db: None) -> None:
    problem(APIClient().post(RUNS, b"{", content_type="text/plain"), 401)


def test_head_is_allowed_where_get_is(intake: APIClient, read: APIClient) -> None:
    assert (intake.head(RUNS).status_code, read.head(RUNS).status_code) == (403, 200)


def test_session_login_does_not_authenticate_the_api(admin_client: Any) -> None:
    problem(admin_client.get(RUNS), 401)


def created(*args: str) -> list[str]:
    out = io.StringIO()
    call_command("create_api_key", *args, stdout=out)
    return out.getvalue().splitlines()


def test_the_command_prints_the_key_alone_on_the_last_line(db: None) -> None:
    key = created("Billing", "--scope", "intake")[-1]

    response = APIClient(headers={"Authorization": f"Bearer {key}"}).post(RUNS, MINIMAL, format="json")

    assert response.status_code == 201
    assert AuditEntry.objects.get(name="onboarding.run.accepted").actor == "key:Billing"


def test_a_key_is_kept_as_its_hash_only(db: None) -> None:
    key = created("Billing", "--scope", "read")[-1]

    kept = ApiKey.objects.get()
    assert key not in f"{kept.__dict__} {AuditEntry.objects.get().data}"
    assert key.startswith(kept.prefix)
    assert len(kept.digest) == 64


@pytest.mark.parametrize(
    "args", [("", "--scope", "read"), ("x" * 51, "--scope", "read"), ("x", "--scope", "all"), ("x",)]
)
def test_the_command_refuses_other_names_and_scopes(db: None, args: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        created(*args)


def test_only_operators_see_personal_data() -> None:
    seeing = [scope for scope in MATRIX if KeyHolder(1, "x", scope).sees_personal_data]  # type: ignore[arg-type]

    assert seeing == ["operate"]
