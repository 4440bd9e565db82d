"""What is asked of an ERP beyond its objects: how far an order is, and what an invoice of it would be made from."""

from abc import abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import ClassVar

from integrations.connectors.base import HttpConnector


class OrderState(Enum):
    OPEN = "open"
    """Nobody has confirmed it yet, or nothing of it can be invoiced yet."""
    INVOICEABLE = "invoiceable"
    """What ``ErpConnector.invoiceable_when`` says holds."""
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class OrderOnRecord:
    """An order as the ERP has it. Empty texts: the ERP has none."""

    state: OrderState
    label: str
    customer_id: str = ""
    tax_id: str = ""
    """Of the customer."""
    currency: str = ""
    """ISO 4217."""
    payment_terms: str = ""
    """As the ERP calls them."""
    lines: int = 0
    """Those that are invoiced: notes do not count."""
    total: Decimal = Decimal(0)
    """Before tax."""


class ErpConnector(HttpConnector):
    """An ERP can tell whether an order may be invoiced."""

    invoiceable_when: ClassVar[str]
    """What its documentation asks of an order before it can be invoiced, in words."""

    @abstractmethod
    def order_on_record(self, external_id: str) -> OrderOnRecord | None:
        """None where there is no such order (any more). Raises ``ProviderError``."""
