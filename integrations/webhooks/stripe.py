"""Stripe's webhooks."""

from datetime import datetime
from typing import Any

from django.http import HttpRequest

from integrations.providers.stripe import BadSignature, verify
from integrations.webhooks import NotVerified, register


def verifier(request: HttpRequest, raw: bytes, secrets: list[str], now: datetime) -> dict[str, Any]:
    try:
        return verify(raw, request.headers.get("Stripe-Signature", ""), secrets, now)
    except BadSignature as problem:
        raise NotVerified(str(problem)) from None


register("stripe", verifier)
