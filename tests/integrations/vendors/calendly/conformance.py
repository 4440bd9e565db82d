"""Calendly's objects, for the conformance suite. A link is not listed: what cannot be looked up has no keys."""

from collections.abc import Sequence

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import SchedulingLink, VendorObject
from tests.integrations.vendors.conformance import Bench, Case


def link(_: Bench, name: str) -> SchedulingLink:
    return SchedulingLink(transaction_id=name)


def no_keys(_: VendorObject, __: str) -> Sequence[MatchKey]:
    return ()


CASES = [Case("calendly", "scheduling-link", "links", link, no_keys)]
