"""The fixed words of the contract that the outside world's side of the house uses."""

from django.db.models import TextChoices

from integrations.connectors.declaration import vendors


class System(TextChoices):
    BILLING = "billing", "Billing"
    ESIGN = "esign", "E-signature"
    CRM = "crm", "CRM"
    ERP = "erp", "ERP"
    DELIVERY = "delivery", "Delivery"
    SUPPORT = "support", "Support"
    IDENTITY = "identity", "Identity"
    PRODUCT = "product", "Product"
    SCHEDULING = "scheduling", "Scheduling"
    EMAIL = "email", "Email"
    CHAT = "chat", "Chat"
    WORKFLOW = "workflow", "Workflow"
    REGISTER = "register", "Register"
    """An official register of companies or tax ids, which is only asked."""


class Environment(TextChoices):
    SANDBOX = "sandbox", "Sandbox"
    PRODUCTION = "production", "Production"


class Breaker(TextChoices):
    CLOSED = "closed", "Closed"
    OPEN = "open", "Open"
    HALF_OPEN = "half-open", "Half-open"
    """One real step at a time may go through, to see whether the vendor works again."""


STOPPED = (Breaker.OPEN, Breaker.HALF_OPEN)
"""What needs such a connection is parked, and covered by the connection's ticket."""


class BreakerCause(TextChoices):
    """Why a breaker opened; the values are those of the failure categories that its ticket has."""

    AUTH = "auth-error", "Credentials refused"
    SERVER = "server-error", "The vendor does not answer"


class EventState(TextChoices):
    RECEIVED = "received", "Received"
    HELD = "held", "Held"
    PROCESSED = "processed", "Processed"
    IGNORED = "ignored", "Ignored"
    FAILED = "failed", "Failed"


def vendor_name(provider: str) -> str:
    """As its makers write it, for people."""
    known = vendors().get(provider)
    return known.title if known else provider.title()
