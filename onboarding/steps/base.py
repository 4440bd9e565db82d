"""The handlers that a step's own is derived from: what stands for an object of a customer or of a run, and what updates one."""

from abc import abstractmethod

from integrations.connectors.base import MatchKey
from integrations.connectors.objects import VendorObject
from integrations.domains import same_address
from integrations.failpoints import failpoint
from onboarding.payload.plausibility import customer_domain, normal_name
from onboarding.steps.handler import (
    LONGEST_ITEM,
    Content,
    Facts,
    Preview,
    R,
    StepHandler,
    View,
    Work,
    bounded,
    digest_of,
)
from onboarding.steps.previews import preview_object, preview_update

__all__ = [
    "LONGEST_ITEM",
    "Content",
    "CustomerHandler",
    "EnsureHandler",
    "Facts",
    "RunHandler",
    "StepHandler",
    "UpdateHandler",
    "bounded",
]


class EnsureHandler(StepHandler):
    """A step that stands for an object (or one an item): find it, or create it once."""

    makes_objects = True
    updates = True

    def execute(self, work: Work[R]) -> R:
        return work.ensure(self)

    def preview(self, view: View) -> Preview:
        return preview_object(self, view)

    @abstractmethod
    def match_key(self, facts: Facts) -> str: ...

    @abstractmethod
    def reference(self, facts: Facts) -> str: ...

    @abstractmethod
    def keys(self, facts: Facts, reference: str) -> list[MatchKey]: ...

    @abstractmethod
    def wanted(self, facts: Facts) -> VendorObject: ...


class CustomerHandler(EnsureHandler):
    """An object that a customer has once, whatever they buy: matched by domain, else by legal name and billing email."""

    shared = True

    def match_key(self, facts: Facts) -> str:
        if domain := customer_domain(facts.content):
            return bounded(f"domain:{domain}")
        name, email = normal_name(facts.get("customer.legal_name")), same_address(facts.get("commercial.billing_email"))
        return bounded(f"name:{name}|{email}")

    def reference(self, facts: Facts) -> str:
        return f"firstvalue:{self.match_key(facts)}"


class RunHandler(EnsureHandler):
    """An object (or one an item) that each run has of its own."""

    def match_key(self, facts: Facts) -> str:
        return bounded(f"run:{facts.run_id}{f'/{facts.item}' if facts.item else ''}")

    def reference(self, facts: Facts) -> str:
        return bounded(f"firstvalue:{facts.run_id}{f'/{facts.item}' if facts.item else ''}")

    def keys(self, facts: Facts, reference: str) -> list[MatchKey]:  # noqa: ARG002
        return [MatchKey("reference", reference)]


class UpdateHandler(StepHandler):
    """A step that writes into an object which another step stands for. Writing it twice changes nothing."""

    def execute(self, work: Work[R]) -> R:
        """No intent is needed: written twice, it says the same."""
        connector, wanted = work.connector, self.wanted(work.facts)
        failpoint("before-update")
        connector.update(work.facts.related[self.target], wanted)
        failpoint("after-update")
        return work.written(digest_of(wanted.given()))

    def preview(self, view: View) -> Preview:
        return preview_update(self, view)

    @abstractmethod
    def wanted(self, facts: Facts) -> VendorObject: ...
