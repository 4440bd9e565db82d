"""What becomes of change requests: which counts, what makes no sense, what a preview tells."""

from collections.abc import Callable
from typing import Any

import pytest

from integrations.sandbox.control import SandboxControl
from onboarding import services
from onboarding.enums import ChangeStatus
from onboarding.intake.service import Verdict
from onboarding.models import ChangeRequest, OnboardingTransaction
from onboarding.payload.schema import get
from onboarding.services import Refused
from tests.conftest import Drain
from tests.onboarding.conftest import Accept, Settled, customer
from tests.onboarding.services.test_changes import KIM, Tell, applied, complete, one, tell, writes

__all__ = ["complete", "tell", "writes"]  # fixtures
pytestmark = pytest.mark.usefixtures("whole_playbook", "connections", "smtp")


def test_newer_change_request_of_a_source_supersedes_the_older(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    first = tell(commercial__plan_sku="enterprise").change_request
    second = tell(customer__country="AT").change_request
    assert first
    assert second
    with pytest.raises(Refused, match="superseded"):
        services.apply_change(first.pk, actor="lee")
    services.apply_change(second.pk, actor="lee")
    drain()
    run = OnboardingTransaction.objects.get()
    assert (get(run.payload, "customer.country"), run.plan_sku) == ("AT", "pro")
    assert tell(commercial__plan_sku="enterprise").change_request == first
    assert ChangeRequest.objects.filter(status=ChangeStatus.OPEN).count() == 0


def test_two_changes_one_after_the_other(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, sandbox: SandboxControl, settled: Settled
) -> None:
    applied(tell(commercial__plan_sku="enterprise"))
    applied(tell(commercial__plan_sku="enterprise", commercial__amount=20000))
    drain()
    deal = one(sandbox, "hubspot", "deals")
    assert (deal["dealname"], deal["amount"]) == ("Acme Logistics: enterprise", "20000")
    for earlier in ({}, {"commercial__plan_sku": "enterprise"}):
        assert tell(**earlier).verdict is Verdict.REPLAYED
    settled()


def test_rejected_change_stays_rejected_on_redelivery(
    complete: OnboardingTransaction, tell: Tell, drain: Drain, writes: Callable[[], list[str]]
) -> None:
    writes()
    request = tell(commercial__plan_sku="enterprise").change_request
    assert request
    with pytest.raises(Refused, match="reason"):
        services.reject_change(request.pk, actor="lee", reason=" ")
    services.reject_change(request.pk, actor="lee", reason="A mistake in billing.")
    assert tell(commercial__plan_sku="enterprise").change_request == request
    drain()
    assert writes() == []
    assert OnboardingTransaction.objects.get().plan_sku == "pro"


def test_a_persons_own_correction_survives_a_change_of_something_else(
    complete: OnboardingTransaction, tell: Tell, drain: Drain
) -> None:
    change = services.request_change(complete.pk, {"customer.segment": "enterprise"}, actor="kim")
    services.apply_change(change.pk, actor="lee")
    applied(tell(customer__country="AT"))
    drain()
    payload = OnboardingTransaction.objects.get().payload
    assert (get(payload, "customer.segment"), get(payload, "customer.country")) == ("enterprise", "AT")
    snapshot = OnboardingTransaction.objects.get().snapshot
    assert snapshot.provenance["customer.segment"] == {"kind": "person", "name": "kim"}
    assert snapshot.provenance["customer.country"]["label"] == "billing"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"customer.shoe_size": "44"}, "no field"),
        ({"customer.shoe_size": None}, "no field"),
        ({"customer.primary_contact.email": "a@a.com"}, "placeholder"),
        ({"commercial.plan_sku": None}, "required fields"),
        ({"customer.country": "DE"}, "Nothing would change"),
    ],
)
def test_what_makes_no_sense_is_no_request(accept: Accept, fields: dict[str, Any], message: str) -> None:
    run = accept()
    with pytest.raises(Refused, match=message):
        services.request_change(run.pk, fields, actor="kim")
    assert not ChangeRequest.objects.exists()


def test_what_would_leave_required_data_out_is_refused(complete: OnboardingTransaction, tell: Tell) -> None:
    request = tell(customer__domain="").change_request
    assert request
    with pytest.raises(Refused) as refused:
        services.apply_change(request.pk, actor="lee")
    assert [problem.path for problem in refused.value.problems] == ["customer.domain"]


def test_preview_shows_each_steps_effect_without_personal_data(
    complete: OnboardingTransaction, accept: Accept, drain: Drain
) -> None:
    accept(onboarding_transaction_id="pay_2", commercial__order_id="2")
    drain()
    fields = {
        "customer.country": "AT",
        "customer.primary_contact.name": KIM["name"],
        "customer.primary_contact.email": KIM["email"],
    }
    change = services.request_change(complete.pk, fields, actor="kim")
    effects = {each.step: each for each in services.change_preview(change.pk)}
    assert [(key, each.verdict) for key, each in effects.items()] == [
        ("crm.account", "update"),
        ("crm.contact", "another"),
        ("crm.note", "update"),
        ("delivery.handover", "send-again"),
        ("support.users", "look-up"),
        ("welcome.mail", "cannot-be-undone"),
    ]
    assert (
        effects["crm.account"].text
        == "Changes the country of the company in HubSpot, and nothing else. Another run uses it, too."
    )
    assert "One more user is looked up" in effects["support.users"].text
    assert "One user that the data no longer names is left there" in effects["support.users"].text
    assert not any("kim@" in each.text or "jordan@" in each.text for each in effects.values())


def test_other_customers_are_left_alone(
    complete: OnboardingTransaction, accept: Accept, tell: Tell, drain: Drain, sandbox: SandboxControl
) -> None:
    accept(**customer("beta"))
    drain()
    before = {each["id"]: each["body"] for each in sandbox.objects() if "beta" in str(each["body"]).lower()}
    applied(tell(customer__legal_name="Acme Freight", customer__primary_contact=KIM))
    drain()
    after = {each["id"]: each["body"] for each in sandbox.objects() if each["id"] in before}
    assert after == before
