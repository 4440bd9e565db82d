"""Invoice readiness: the order is at the ERP with all that an invoice is made from, and has been confirmed there."""

from collections.abc import Mapping
from typing import Any

from integrations.connectors.base import Connector
from integrations.connectors.erp import ErpConnector, OrderOnRecord, OrderState
from integrations.enums import System
from integrations.errors import Kind, ProviderError
from onboarding.sla_targets import INVOICE
from onboarding.steps.base import Facts, StepHandler
from onboarding.steps.erp import tax_ids
from onboarding.steps.erp.lines import bought
from onboarding.steps.erp.tables import CustomerTables
from onboarding.steps.handler import Preview, R, View, Work, digest_of
from onboarding.steps.registry import register


@register
class InvoiceReady(StepHandler):
    """Finance confirms the order at the ERP; it is polled until then. Nothing is written."""

    name = INVOICE
    system = System.ERP
    title = "see the order confirmed for invoicing"
    reads = (
        "customer.tax_id",
        "customer.country",
        "commercial.currency",
        "commercial.payment_terms",
        "commercial.amount",
    )
    needs = ("erp.customer", "erp.order")
    provisions = False
    awaits_vendor = True

    def check_options(self, options: Mapping[str, Any]) -> None:
        """As the order has them: its tables say how the ERP calls the payment terms."""
        CustomerTables.of(options)

    def execute(self, work: Work[R]) -> R:
        order = self._order(work.connector, work.facts)
        if order.state is OrderState.OPEN:
            return work.awaited()
        if order.state is OrderState.CANCELLED:
            raise ProviderError(Kind.CONFLICT, f"The order {order.label} was cancelled at the ERP.", ours=True)
        if lacking := _lacking(order, work.facts):
            told = f"The order {order.label} is confirmed, and cannot be invoiced as it is: {'; '.join(lacking)}."
            raise ProviderError(Kind.INVALID, told, ours=True)
        return work.checked(f"The order {order.label} can be invoiced.")

    def is_news(self, connector: Connector, facts: Facts) -> bool:
        try:
            return self._order(connector, facts).state is not OrderState.OPEN
        except ProviderError as error:
            if error.kind is Kind.NOT_FOUND:
                return True
            raise

    @staticmethod
    def _order(connector: Connector, facts: Facts) -> OrderOnRecord:
        """Raises ``ProviderError``."""
        if not isinstance(connector, ErpConnector):
            message = f"{connector.provider} does not tell whether an order can be invoiced: leave this step out."
            raise ProviderError(Kind.NOT_CONFIGURED, message)
        order_id = facts.related[ORDER]
        order = connector.order_on_record(order_id)
        if order is None:
            raise ProviderError(Kind.NOT_FOUND, f"The order {order_id} is not at the ERP any more.", ours=True)
        return order

    def preview(self, view: View) -> Preview:  # noqa: ARG002
        return Preview("look-up", "The ERP is asked whether the order can be invoiced; nothing is written.", waits=True)

    def digest(self, facts: Facts) -> str:
        return digest_of({"order": facts.related[ORDER]})


CUSTOMER, ORDER = InvoiceReady.needs


def _lacking(order: OrderOnRecord, facts: Facts) -> list[str]:
    """What an invoice of it would lack, or have otherwise than was bought; each as part of a sentence."""
    terms = CustomerTables.of(facts.options).terms(facts.get("commercial.payment_terms"))
    currency, tax_id = facts.get("commercial.currency").upper(), facts.get("customer.tax_id")
    number = tax_ids.normal(facts.get("customer.country"), tax_id)
    is_sold = any(each.amount for each in bought(facts))
    checks = {
        "it is another customer's": order.customer_id == facts.related[CUSTOMER],
        "it has no lines": order.lines > 0,
        "its lines have no price": order.total > 0 or not is_sold,
        f"its currency is {order.currency or 'not set'}, not {currency}": order.currency.upper() == currency,
        "it has no payment terms": bool(order.payment_terms) or not terms,
        "its customer has no tax id, or another one": not number or _is_same(order.tax_id, number),
    }
    return [lack for lack, is_there in checks.items() if not is_there]


def _is_same(there: str, number: str) -> bool:
    """ERPs keep tax ids with separators or without, and with their country's letters or without."""
    plain = "".join(character for character in there.upper() if character.isalnum())
    return bool(plain) and (plain == number or plain == number[2:] or plain[2:] == number)
