"""The demo's sample customers: what each one pays with, what is done to it, and how it must end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from integrations.sandbox.control import SandboxControl
from integrations.vendors.stripe.sample_events import Payment

COMPLETE = "complete"
PASSWORD = "firstvalue-demo"  # noqa: S105  (sample logins on loopback)
PEOPLE = {
    "sales": ("sales-ops", "Sam Sales", "missing data and ambiguous matches"),
    "support": ("support-ops", "Sue Support", "support provisioning"),
    "engineer": ("revenue-operations", "Eli Engineer", "credentials and API failures"),
    "finance": ("finance", "Fay Finance", "payments without a system, cancellations"),
    "lead": ("leads", "Lea Lead", "every queue"),
    "admin": ("", "Ada Admin", "everything"),
}
DEAL_OWNER = "u_789"
"""The CRM owner that is our sales login."""
OWNERS = (("u_456", "Kim Sato", "emea, apac", 8), ("1000000000000003", "Ines Costa", "", 12))
"""Implementation owners, whom the sandbox's Asana knows: id, name, territories, capacity."""
ENTERPRISE = {"segment": "enterprise", "tax_id": "DE136695976"}
"""What Stripe knows of an enterprise."""
PAUSE = "pause"
"""Among a customer's events: a while in which Stripe tells nothing."""
PAUSE_SECONDS = 2.0


@dataclass
class Customer:
    """``expected``: ``complete``, or the category of the ticket that must cover it."""

    name: str
    domain: str
    what: str
    expected: str
    metadata: dict[str, Any] = field(default_factory=dict)
    email: str = ""
    deliveries: int = 1
    events: tuple[str, ...] = ("session", "invoice")
    linked: bool = True
    """Whether Stripe's objects name each other, as those of later API versions do."""
    prepare: Callable[[SandboxControl], None] | None = None
    payment: Payment | None = None

    def pay(self, now: int) -> Payment:
        contact = self.metadata.get("contact_name", "Jordan Lee")
        metadata = {"crm_owner_id": DEAL_OWNER, "domain": self.domain, **self.metadata}
        self.payment = Payment(
            created=now,
            email=self.email or f"jordan@{self.domain}",
            linked=self.linked,
            contact=contact,
            business=self.name,
            metadata={key: value for key, value in metadata.items() if value},
        )
        return self.payment

    @property
    def keys(self) -> list[str]:
        """By which of the payment's names its run can be found."""
        paid = self.payment
        return [paid.session_id, paid.invoice_id, paid.intent_id, paid.subscription_id] if paid else []


def _two_accounts(sandbox: SandboxControl) -> None:
    sandbox.seed(
        "hubspot",
        "companies",
        [
            {"name": "Cobalt Freight", "domain": "cobalt-freight.com", "city": "Hamburg", "hubspot_owner_id": "u_789"},
            {"name": "Cobalt Freight GmbH (old)", "domain": "cobalt-freight.com", "city": "Bremen"},
        ],
    )


def _known_to_the_crm(sandbox: SandboxControl) -> None:
    sandbox.seed(
        "hubspot",
        "companies",
        [{"name": "Delta Robotics", "domain": "delta-robotics.com", "hubspot_owner_id": DEAL_OWNER}],
    )


def _fail_after_the_write(sandbox: SandboxControl) -> None:
    sandbox.add_fault("asana", "error_after", method="POST", path="*/instantiateProject", count=1)


def _namesake_at_the_help_desk(sandbox: SandboxControl) -> None:
    sandbox.seed("zendesk", "organizations", [{"name": "Maple Robotics", "domain_names": []}])


def _answer_nonsense(sandbox: SandboxControl) -> None:
    sandbox.add_fault("hubspot", "malformed", method="POST", path="*/companies/batch/upsert", count=1)


def _slow_down(sandbox: SandboxControl) -> None:
    sandbox.add_fault("zendesk", "rate_limit", count=4, retry_after=1)


def _expire_identity_token(sandbox: SandboxControl) -> None:
    sandbox.set_tokens("scim", ["rotated-by-the-vendor"])


def _expire_support_token(sandbox: SandboxControl) -> None:
    sandbox.set_tokens("zendesk", ["rotated-by-the-vendor"])


def waves() -> list[list[Customer]]:
    """The customers in the order in which they pay; a wave starts when the one before rests, as its faults hit all alike."""
    return [
        [
            Customer(
                "Birch Analytics", "birch-analytics.com", "Asana answers 500 after it has made the project", COMPLETE,
                prepare=_fail_after_the_write,
            ),
        ],
        [
            Customer(
                "Lumen Labs", "lumen-labs.com", "HubSpot makes the account and answers HTML", COMPLETE,
                prepare=_answer_nonsense,
            ),
        ],
        [
            Customer("Acme Logistics", "acme-logistics.com", "nothing: a clean payment", COMPLETE),
            Customer(
                "Evergreen Foods", "evergreen-foods.com", "session, invoice and intent, each delivered twice", COMPLETE,
                events=("intent", "session", "invoice"), deliveries=2,
            ),
            Customer(
                "Kestrel Media", "kestrel-media.com", "its intent comes first, checkout and invoice 2 s later", COMPLETE,
                events=("intent", PAUSE, "session", "invoice"), linked=False,
            ),
            Customer("Juniper Energy", "juniper-energy.com", "two payments by one new customer …", COMPLETE),
            Customer("Juniper Energy", "juniper-energy.com", "… at the same moment", COMPLETE),
            Customer(
                "Delta Robotics", "delta-robotics.com", "no owner in the payment; the CRM knows it", COMPLETE,
                metadata={"crm_owner_id": ""}, prepare=_known_to_the_crm,
            ),
            Customer(
                "Quartz Aerospace", "quartz-aerospace.com", "an enterprise: ERP, identity, product and all others side by side",
                COMPLETE, metadata=ENTERPRISE,
            ),
            Customer(
                "Onyx Legal", "onyx-legal.com", "its terms are nonstandard: finance approves first", "approval-overdue",
                metadata={"nonstandard_terms": "true"},
            ),
            Customer(
                "Fjord Shipping", "fjord-shipping.com", "the payer gave “TBD” as the contact's name", "missing-data",
                metadata={"contact_name": "TBD"},
            ),
            Customer(
                "Iris Dental", "", "paid from a Gmail address, without a domain", "missing-data",
                email="iris.dental@gmail.com",
            ),
            Customer(
                "Cobalt Freight", "cobalt-freight.com", "the CRM has two accounts on its domain", "ambiguous-match",
                prepare=_two_accounts,
            ),
            Customer(
                "Maple Robotics", "maple-robotics.com", "the help desk has a namesake, whose is unclear", "ambiguous-match",
                prepare=_namesake_at_the_help_desk,
            ),
        ],
        [
            Customer(
                "Harbor Optics", "harbor-optics.com", "Zendesk asks to slow down: 429 four times", COMPLETE,
                prepare=_slow_down,
            ),
        ],
        [
            Customer(
                "Sable Energy", "sable-energy.com", "an enterprise whose identity system refuses our token", "auth-error",
                metadata=ENTERPRISE, prepare=_expire_identity_token,
            ),
        ],
        [
            Customer(
                "Granite Insurance", "granite-insurance.com", "the support token has expired", "auth-error",
                prepare=_expire_support_token,
            ),
        ],
    ]  # fmt: skip
