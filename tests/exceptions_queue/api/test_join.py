"""``POST /api/v1/onboardings/{id}/join/``, and its button at the console."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from onboarding.enums import Status
from onboarding.intake import service
from onboarding.models import OnboardingTransaction
from onboarding.payload.schema import OnboardingPayload
from tests.conftest import Payload

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def two(payload: Payload) -> list[OnboardingTransaction]:
    made = [payload(onboarding_transaction_id=f"pay_{number}") for number in (1, 2)]
    return [service.accept(OnboardingPayload.model_validate(each).content(), actor="tests").run for each in made]


def post(api_key: Any, scope: str, body: dict[str, Any]) -> Any:
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {api_key(scope)}")
    return api.post("/api/v1/onboardings/pay_2/join/", body, format="json")


def test_an_operators_key_joins_two_runs(two: list[OnboardingTransaction], api_key: Any) -> None:
    answer = post(api_key, "operate", {"into": "pay_1", "reason": "One order."})
    assert (answer.status_code, answer.json()["status"]) == (200, Status.CANCELLED)
    assert answer.json()["joined_into"] == "pay_1"


def test_no_other_key_does(two: list[OnboardingTransaction], api_key: Any) -> None:
    assert post(api_key, "intake", {"into": "pay_1"}).status_code == 403


def test_an_id_that_nobody_has_is_refused(two: list[OnboardingTransaction], api_key: Any) -> None:
    assert post(api_key, "operate", {"into": "pay_9"}).status_code == 400
    assert post(api_key, "operate", {}).status_code == 400


def test_a_lead_joins_them_at_the_console_and_sees_which_others_there_are(
    two: list[OnboardingTransaction], people: dict[str, User]
) -> None:
    url = reverse("admin:onboarding_run_act", args=[two[1].pk, "join"])
    client = Client()
    client.force_login(people["lead"])
    page = client.get(url)
    assert "pay_1" in page.content.decode()
    assert 'name="into"' in page.content.decode()
    assert client.post(url, {"into": "", "reason": "One order."}).status_code == 422
    assert client.post(url, {"into": "pay_1", "reason": "One order."}).status_code == 302
    assert OnboardingTransaction.objects.get(pk=two[1].pk).joined_into == two[0]


def test_support_may_not(two: list[OnboardingTransaction], people: dict[str, User]) -> None:
    client = Client()
    client.force_login(people["support"])
    assert client.get(reverse("admin:onboarding_run_act", args=[two[1].pk, "join"])).status_code == 403
