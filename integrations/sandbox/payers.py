"""Customers who pay in the sandbox: what a billing system would deliver of it, by provider."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from integrations.connectors.declaration import load, vendors
from integrations.sandbox.customers import Payer, SandboxPayment


def _paid(path: str, payer: Payer, secret: str, at: int) -> SandboxPayment:
    made: SandboxPayment = load(path)(payer, secret, at)
    return made


PAYERS: Mapping[str, Callable[[Payer, str, int], SandboxPayment]] = MappingProxyType(
    {name: partial(_paid, vendor.payer) for name, vendor in vendors().items() if vendor.payer}
)
"""Provider -> (who pays, the connection's webhook secret, Unix time) -> the payment, and its signed deliveries."""
