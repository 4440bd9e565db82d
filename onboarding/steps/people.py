"""The people of a customer whom a payload names: the contact, and everybody under ``users`` with an address."""

import hashlib

from integrations.domains import same_address
from onboarding.steps.handler import Facts

READS = ("customer.primary_contact.name", "customer.primary_contact.email", "users")
"""Payload paths."""


def people(facts: Facts) -> dict[str, dict[str, str]]:
    """``{"email", "name"}`` of each, by a digest of the address: an item's key stands where no personal data may."""
    found: dict[str, dict[str, str]] = {}
    listed = facts.get("users", [])
    for person in [facts.get("customer.primary_contact", {}), *(listed if isinstance(listed, list) else [])]:
        email = same_address(str(person.get("email") or ""))
        key = hashlib.sha256(email.encode()).hexdigest()[:32]
        if email and key not in found:
            found[key] = {"email": email, "name": str(person.get("name") or "").strip() or email.partition("@")[0]}
    return found
