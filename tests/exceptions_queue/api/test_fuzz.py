"""The API, asked whatever its own schema allows and forbids, with every kind of key."""

import logging
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import pytest
import schemathesis
from django.core.cache import cache
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django.urls import resolve
from hypothesis import given
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from config.wsgi import application
from exceptions_queue.models import Ticket
from integrations import crypto
from integrations.http.problem_details import CONTENT_TYPE
from integrations.models import WebhookEndpoint
from onboarding import services
from onboarding.api.authentication import new_key
from onboarding.enums import Category, Scope
from onboarding.models import ChangeRequest, OnboardingTransaction
from tests.exceptions_queue.api.conftest import Blocked
from tests.machines.budget import budget
from tests.one_database import sized

BLOCKED = ("pay_server", "pay_match", "pay_field", "pay_unknown")
GAP, CHANGED, OVER = "pay_gap", "pay_changed", "pay_over"
EXAMPLES, EXAMPLES_REFUSED = sized(12, 3), sized(3, 1)
ENOUGH = 12
"""Of examples, for each operation to be done once at least."""
"""For each call and each kind of data: with a key that may make the call, and with one that may not."""
NO_KEYS = ("none", "unknown")
DONE_OR_TOLD_WHY = {200, 201, 202, 204, 409}
NOT_BY_CHANCE = {
    "POST /api/v1/endpoints/",  # an address that the internet has
    "POST /api/v1/onboardings/{onboarding_transaction_id}/join/",  # the id of another run of the order
}
"""What generated data does not get done: their own tests do."""
OTHERWISE_CHECKED = [
    ignored_auth,  # by ``refused``, which knows each key's scope
    positive_data_acceptance,  # what is in range, who exists and which field is meant is more than a schema can say
]


@pytest.fixture
def tickets(blocked: Blocked, post: Callable[..., Any], payload: Callable[..., dict[str, Any]]) -> list[int]:
    """Of several kinds, so that every action finds one that it is offered for."""
    candidate = {"external_id": "1", "label": "Acme", "url": "", "evidence": {}, "conclusive": True, "done": False}
    refused = {"path": "customer.country", "name": "country", "reason": "is unknown"}
    server, match, field, unknown = BLOCKED
    made = [
        blocked(server),
        blocked(match, Category.AMBIGUOUS_MATCH, candidates=[candidate]),
        blocked(field, Category.VALIDATION_ERROR, problems=[refused]),
        blocked(unknown, Category.UNKNOWN_OUTCOME),
    ]
    post(payload(onboarding_transaction_id=GAP, commercial__plan_sku=None))
    return [ticket.pk for ticket in made] + [Ticket.objects.get(step=None).pk]


@pytest.fixture
def changes(tickets: list[int], post: Callable[..., Any], payload: Callable[..., dict[str, Any]]) -> list[int]:
    """An open change request of one run; another run is over, and not changed any more. An endpoint is told of all that."""
    WebhookEndpoint.objects.create(
        url="https://hooks.example.com/", types=["run.accepted"], secret=crypto.encrypt("whsec_")
    )
    post(payload(onboarding_transaction_id=CHANGED))
    post(payload(onboarding_transaction_id=CHANGED, customer__country="AT"))
    over = post(payload(onboarding_transaction_id=OVER)).json()["onboarding_transaction_id"]
    services.cancel(OnboardingTransaction.objects.get(onboarding_transaction_id=over).pk, actor="kim", reason="Over")
    return list(ChangeRequest.objects.values_list("pk", flat=True))


@pytest.fixture
def in_process(tickets: list[int], changes: list[int]) -> Iterator[None]:
    """As Django's own test client has it: the end of a request does not close the connection that the test is on.

    After ``tickets`` and ``changes``, as that client connects the signals anew whenever it has been used.
    """
    ends = (request_started, request_finished)
    for signal in ends:
        signal.disconnect(close_old_connections)
    logging.disable(logging.WARNING)  # one line for each of the thousands of refusals
    yield
    logging.disable(logging.NOTSET)
    for signal in ends:
        signal.connect(close_old_connections)


def header(scope: str) -> dict[str, str]:
    if scope == "none":
        return {}
    key = "fv_unknown" if scope == "unknown" else new_key(f"{scope} fuzz", Scope(scope))[0]
    return {"Authorization": f"Bearer {key}"}


def refused(operation: Any, scope: str) -> HTTPStatus | None:
    """With what a key of this scope is refused, whatever it asks; None where it is not."""
    if scope in NO_KEYS:
        return HTTPStatus.UNAUTHORIZED
    path = operation.path.replace("{onboarding_transaction_id}", GAP).replace("{id}", "1")
    allowed = resolve(path).func.view_class.scopes[operation.method.upper()]
    return None if scope in allowed else HTTPStatus.FORBIDDEN


def known(operation: Any, tickets: list[int], changes: list[int]) -> st.SearchStrategy[dict[str, Any]]:
    """The parts of a path that lead to something."""
    if "/endpoints/{id}" in operation.path:
        return st.sampled_from([{"id": pk} for pk in WebhookEndpoint.objects.values_list("pk", flat=True)])
    if "/change-requests/{id}" in operation.path:
        return st.sampled_from([{"onboarding_transaction_id": CHANGED, "id": pk} for pk in changes])
    if "/change-requests/" in operation.path:
        return st.sampled_from([{"onboarding_transaction_id": name} for name in (CHANGED, OVER)])
    if "{id}" in operation.path:
        return st.sampled_from([{"id": pk} for pk in tickets])
    if "{onboarding_transaction_id}" in operation.path:
        return st.sampled_from([{"onboarding_transaction_id": name} for name in (*BLOCKED, GAP)])
    return st.just({})


def cases(operation: Any, mode: GenerationMode, tickets: list[int], changes: list[int]) -> st.SearchStrategy[Case]:
    found = known(operation, tickets, changes).flatmap(lambda parts: operation.as_strategy(mode, path_parameters=parts))
    return st.one_of(found, operation.as_strategy(mode)) if mode is GenerationMode.POSITIVE else found


def has_absent(body: Any) -> bool:
    """Whether a null or an empty text is in it: that is an absent field, wherever the schema wants something of a type."""
    if isinstance(body, dict | list):
        return any(map(has_absent, body.values() if isinstance(body, dict) else body))
    return body in (None, "")


def ask(case: Case, headers: dict[str, str], refusal: HTTPStatus | None) -> int:
    """The answer's status, once the answer is what the schema says and nothing of it stays."""
    cache.clear()  # no key is throttled
    with transaction.atomic():
        response = case.call(headers=headers)
        transaction.set_rollback(True)
    excluded = [*OTHERWISE_CHECKED, *([negative_data_rejection] if has_absent(case.body) else [])]
    case.validate_response(response, headers=headers, excluded_checks=excluded)
    status = response.status_code
    if status >= HTTPStatus.BAD_REQUEST:
        assert response.headers["content-type"] == [CONTENT_TYPE]
        assert response.json()["status"] == status
    assert refusal is None or status in (refusal, HTTPStatus.NOT_FOUND)
    return status


@pytest.mark.parametrize("scope", [*NO_KEYS, *Scope.values])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_no_generated_request_causes_a_server_error(
    scope: str, mode: GenerationMode, tickets: list[int], changes: list[int], in_process: None
) -> None:
    headers, reached = header(scope), set()
    schema = schemathesis.openapi.from_wsgi("/api/schema/?format=json", application)
    schema.config.generation.update(with_security_parameters=False)
    operations = [found.ok() for found in schema.get_all_operations()]
    for operation in operations:
        refusal = refused(operation, scope)
        if mode is GenerationMode.NEGATIVE and not (operation.query or operation.body):
            continue  # nothing in it could be wrong

        @budget(EXAMPLES_REFUSED if refusal else EXAMPLES)
        @given(case=cases(operation, mode, tickets, changes), refusal=st.just(refusal))
        def fuzz(case: Case, refusal: HTTPStatus | None) -> None:
            if ask(case, headers, refusal) in DONE_OR_TOLD_WHY:
                reached.add(case.operation.label)

        fuzz()
    if scope == Scope.OPERATE and mode is GenerationMode.POSITIVE and EXAMPLES >= ENOUGH:
        assert reached | NOT_BY_CHANCE == {operation.label for operation in operations}
