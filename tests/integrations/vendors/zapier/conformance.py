"""Zapier's hand-overs, for the conformance suite."""

from integrations.connectors.objects import HandOver
from integrations.errors import Kind
from tests.integrations.vendors.conformance import Bench, Case


def hand_over(_: Bench, name: str) -> HandOver:
    return HandOver(
        hand_over="pay_1/territory/0",
        transaction_id="pay_1",
        step="territory",
        minutes=60,
        payload={"customer": {"legal_name": name}},
    )


CASES = [
    Case(
        "zapier", "hand-over", "hand-overs", hand_over, lambda *_: (),
        error_kinds={404: Kind.AUTH},
        probes_by_a_call=False,
    )
]  # fmt: skip
