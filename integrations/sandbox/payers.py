"""Customers who pay in the sandbox: what a billing system would deliver of it, by provider."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from integrations.sandbox import stripe
from integrations.sandbox.customers import Payer, SandboxPayment

PAYERS: Mapping[str, Callable[[Payer, str, int], SandboxPayment]] = MappingProxyType({"stripe": stripe.pay})
"""Provider -> (who pays, the connection's webhook secret, Unix time) -> the payment, and its signed deliveries."""
