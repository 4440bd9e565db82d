"""DocuSign Connect, by real signed POSTs; what a delivery leaves out is read at the sandbox, over real HTTP."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from exceptions_queue.models import Ticket
from integrations import clock
from integrations.connections.services import set_connection
from integrations.enums import EventState
from integrations.inbound.events import ContractApproved, Ignored, Key, OrderEvent, OrderSigned
from integrations.models import InboundEvent
from integrations.sandbox.control import SandboxControl
from integrations.vendors.docusign.sample_events import ACCOUNT_ID, CUSTOM_FIELDS, RECIPIENTS, Envelope
from integrations.vendors.docusign.sandbox import DocuSign
from integrations.vendors.docusign.webhook import DocuSignWebhook
from tests.support.order_events import DOCUSIGN_SECRET, connect_docusign, post_docusign, told
from tests.support.stripe_events import settle

pytestmark = pytest.mark.django_db(transaction=True)
FIELDS = {"order_id": "1001", "plan_sku": "pro"}


def completed(**changes: Any) -> Envelope:
    return Envelope(completed=int(clock.now().timestamp()), **({"custom_fields": FIELDS} | changes))


def stored() -> InboundEvent:
    return InboundEvent.objects.select_related("connection").get()


def read() -> Any:
    return DocuSignWebhook().read(stored())


class TestSignature:
    @pytest.mark.parametrize(
        "secrets", [(DOCUSIGN_SECRET,), ("other", DOCUSIGN_SECRET), ("other", "third", DOCUSIGN_SECRET)]
    )
    def test_one_of_several_headers_is_enough(self, secrets: tuple[str, ...]) -> None:
        connect_docusign()
        assert told(post_docusign(completed().event(), *secrets)) == "accepted"

    def test_one_of_several_secrets_is_enough(self) -> None:
        connect_docusign()
        kind: dict[str, Any] = {"system": "esign", "provider": "docusign"}
        set_connection("docusign", **kind, secrets={"webhook_secret": ["newer"]}, actor="tests")
        assert told(post_docusign(completed().event(), "newer")) == "accepted"
        assert told(post_docusign(completed().event(), DOCUSIGN_SECRET)) == "accepted"

    def test_any_other_is_refused_and_nothing_is_stored(self) -> None:
        connect_docusign()
        assert post_docusign(completed().event(), "other").status_code == 400
        assert not InboundEvent.objects.exists()


class TestDelivery:
    @pytest.fixture(autouse=True)
    def _connected(self) -> None:
        connect_docusign()

    def test_a_repetition_is_known_though_it_was_generated_anew(self) -> None:
        envelope = completed()
        assert [told(post_docusign(envelope.event(retry=retry))) for retry in range(3)] == [
            "accepted",
            *["duplicate"] * 2,
        ]

    def test_what_can_be_stored_is_acknowledged_whatever_it_means(self) -> None:
        message = completed().event()
        message["data"]["envelopeSummary"] = {"status": ["completed"]}
        assert post_docusign(message).status_code == 200
        settle()
        assert stored().state == EventState.FAILED
        assert Ticket.objects.filter(connection__slug="docusign").unresolved().exists()

    def test_a_legacy_message_is_refused_in_words_for_the_administrator(self) -> None:
        answer = post_docusign({"status": "completed", "envelopeId": "e-1"})
        assert answer.status_code == 400
        assert "Send Individual Messages" in answer.json()["detail"]

    @pytest.mark.parametrize("name", ["recipient-completed", "envelope-sent", "envelope-voided"])
    def test_only_a_completed_envelope_says_something(self, name: str) -> None:
        post_docusign(completed().event(name))
        assert isinstance(read(), Ignored)

    def test_an_envelope_of_another_account_starts_nothing(self) -> None:
        connect_docusign(account_id="00000000-0000-4000-8000-000000000000")
        post_docusign(completed().event())
        assert "does not take" in read().reason


class TestReading:
    @pytest.fixture(autouse=True)
    def _connected(self) -> None:
        connect_docusign()

    def read(self, envelope: Envelope) -> OrderEvent:
        post_docusign(envelope.event())
        event = read()
        assert isinstance(event, OrderEvent)
        return event

    def test_a_signed_order(self) -> None:
        event = self.read(completed(list_fields={"deal_id": "77"}, form=[("Company", "Acme Logistics")]))
        assert type(event) is OrderSigned
        assert set(event.keys) == {Key("deal", "77"), Key("order", "1001")}
        assert event.metadata == {"order_id": "1001", "plan_sku": "pro", "deal_id": "77"}
        assert event.custom_fields == (("Company", "Acme Logistics"),)
        assert (event.contact_name, event.email) == ("Jordan Lee", "jordan@acme-logistics.com")

    def test_an_approved_contract_by_its_custom_field(self) -> None:
        event = self.read(completed(list_fields={"firstvalue_event": "contract-approved"}))
        assert type(event) is ContractApproved

    def test_an_approved_contract_by_the_connections_option(self) -> None:
        connect_docusign(completed_envelope="contract-approved")
        assert type(self.read(completed())) is ContractApproved

    def test_a_signer_in_another_role_is_not_the_contact(self) -> None:
        assert self.read(completed(role="Witness")).contact_name == ""

    @pytest.mark.parametrize("include", [(), (RECIPIENTS,)])
    def test_without_custom_fields_and_without_a_key_a_person_is_told(self, include: tuple[str, ...]) -> None:
        post_docusign(completed(include=include).event())
        settle()
        assert stored().state == EventState.FAILED
        assert "Include Data" in stored().outcome


class TestWhatIsLeftOut:
    """It is read at DocuSign, as the user whom the app impersonates."""

    @pytest.fixture(autouse=True)
    def key(self, sandbox: SandboxControl) -> rsa.RSAPrivateKey:
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = made.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        sandbox.configure("docusign", public_key=public.decode())
        self.connect(sandbox, made)
        return made

    def connect(self, sandbox: SandboxControl, key: rsa.RSAPrivateKey, **options: str) -> None:
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        set_connection(
            "docusign",
            system="esign",
            provider="docusign",
            environment="sandbox",
            base_url=f"{sandbox.base_url}/docusign",
            secrets={"webhook_secret": [DOCUSIGN_SECRET], "token": [base64.b64encode(pem).decode()]},
            options={**DocuSign.options, **options},
            actor="tests",
        )

    def deliver(self, sandbox: SandboxControl, envelope: Envelope) -> None:
        sandbox.seed("docusign", "envelopes", [envelope.stored()])
        post_docusign(envelope.event())

    @pytest.mark.parametrize("include", [(), (RECIPIENTS,), (CUSTOM_FIELDS,), (CUSTOM_FIELDS, RECIPIENTS)])
    def test_it_is_read(self, include: tuple[str, ...], sandbox: SandboxControl) -> None:
        self.deliver(sandbox, completed(include=include, form=[("Company", "Acme Logistics")]))
        event = read()
        assert event.keys == (Key("order", "1001"),)
        assert event.custom_fields == (("Company", "Acme Logistics"),)

    def test_what_was_delivered_is_not_asked_for(self, sandbox: SandboxControl) -> None:
        self.deliver(sandbox, completed(form=[("Company", "Acme Logistics")]))
        read()
        assert sandbox.requests("docusign") == []

    def test_a_session_is_used_until_it_is_refused(self, sandbox: SandboxControl) -> None:
        self.deliver(sandbox, completed(include=()))
        read()
        read()
        assert [each["path"] for each in sandbox.requests("docusign")].count("/oauth/token") == 1

    @pytest.mark.parametrize(
        ("setting", "said"), [({"consented": False}, "consent"), ({"public_key": ""}, "no_valid_keys")]
    )
    def test_a_refused_sign_in_says_why_and_is_tried_again(
        self, setting: dict[str, Any], said: str, sandbox: SandboxControl
    ) -> None:
        sandbox.configure("docusign", **setting)
        self.deliver(sandbox, completed(include=()))
        settle()
        event = stored()
        assert (event.state, said in event.outcome, event.due_at is not None) == (EventState.FAILED, True, True)

    def test_an_account_that_does_not_answer_is_asked_again_and_a_person_is_told(self, sandbox: SandboxControl) -> None:
        sandbox.add_fault("docusign", "error_before", count=6)
        self.deliver(sandbox, completed(include=()))
        for _ in range(6):
            settle()
            clock.shift((stored().due_at or clock.now()) - clock.now())
        assert stored().state == EventState.FAILED
        assert Ticket.objects.filter(connection__slug="docusign").unresolved().exists()
        settle()
        assert stored().state == EventState.HELD
        assert not Ticket.objects.filter(connection__slug="docusign").unresolved().exists()

    def test_an_envelope_of_another_account_is_not_read(self, sandbox: SandboxControl) -> None:
        assert completed().account_id == ACCOUNT_ID
        self.deliver(sandbox, completed(include=(), account_id="00000000-0000-4000-8000-000000000000"))
        settle()
        assert stored().state == EventState.FAILED
