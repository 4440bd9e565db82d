"""Whom a playbook serves, by plan, segment and amount, and which of several goes first."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, Protocol

from onboarding.payload.schema import get
from onboarding.playbooks.conditions import Content, range_in_words, within

ANY = ""
"""Stands for every plan, segment or currency that no playbook names."""


class Scoped(Protocol):
    """What the choice knows of a playbook. Empty serves all."""

    @property
    def name(self) -> str: ...

    @property
    def plans(self) -> Sequence[str]: ...

    @property
    def segments(self) -> Sequence[str]: ...

    @property
    def priority(self) -> int: ...

    @property
    def is_built_in(self) -> bool: ...

    @property
    def amounts(self) -> Mapping[str, Mapping[str, Any]]:
        """Bounds by currency, in its major units: a payload in another currency, or without an amount, is not served."""


@dataclass(frozen=True)
class Case:
    """What is chosen by, of a payload."""

    plan: str = ANY
    segment: str = ANY
    currency: str = ANY
    amount: float | None = None

    @classmethod
    def of(cls, content: Content) -> "Case":
        plan, segment, currency = (
            str(get(content, path) or "") for path in ("commercial.plan_sku", "customer.segment", "commercial.currency")
        )
        return cls(plan, segment, currency, get(content, "commercial.amount", default=None))

    @property
    def words(self) -> str:
        money = f" for {self.amount:,} {self.currency}" if self.currency and self.amount is not None else ""
        return in_words([self.plan] if self.plan else [], [self.segment] if self.segment else []) + money


def serves(playbook: Scoped, case: Case) -> bool:
    """Names are compared without regard to case and to spaces around them: people type them."""
    return (
        _holds(playbook.plans, case.plan)
        and _holds(playbook.segments, case.segment)
        and (not playbook.amounts or _has_amount(playbook.amounts, case))
    )


def rank(playbook: Scoped) -> tuple[int, int, bool]:
    """Of two that serve a payload, the higher one goes first: by priority, then by how much of plan, segment, amount it names.

    Of two that name as much, a company's own goes before a built-in one: that must not stand in the way of what they set up.
    """
    named = bool(playbook.plans) + bool(playbook.segments) + bool(playbook.amounts)
    return playbook.priority, named, named > 0 and not playbook.is_built_in


def best(among: Iterable[Scoped], case: Case) -> list[Any]:
    """Of the playbooks that serve it, those that no other goes before: none, one, or several that tie."""
    serving = [each for each in among if serves(each, case)]
    highest = max(map(rank, serving), default=None)
    return [each for each in serving if rank(each) == highest]


def scope(playbook: Scoped) -> str:
    """Whom it serves, in words."""
    money = " or ".join(f"{range_in_words(bounds)} {currency}" for currency, bounds in playbook.amounts.items())
    return in_words(playbook.plans, playbook.segments) + (f" for {money}" if money else "")


def problems(among: Iterable[Scoped], files: Mapping[str, str]) -> list[str]:
    """Pairs of which neither goes before the other, and playbooks that others go before in every case."""
    books = list(among)
    tied: dict[tuple[str, str], str] = {}
    reached: set[str] = set()
    for case in _cases(books):
        first = best(books, case)
        reached |= {each.name for each in first}
        for one, other in pairwise(first):
            tied.setdefault(
                (one.name, other.name),
                f"{files[other.name]}: serves {case.words}, and so does {files[one.name]}: name plans, segments or amounts so that "
                f"one of them does, or call this one {one.name} to replace that one",
            )
    unreached = [
        f"{files[each.name]}: is never chosen, as others go before it wherever it serves"
        for each in books
        if each.name not in reached and not each.is_built_in
    ]
    return [*tied.values(), *unreached]


def _cases(books: Sequence[Scoped]) -> Iterable[Case]:
    """One case of each kind that the playbooks can tell apart. Ranges are half-open: their bounds stand for what is between."""
    plans = [ANY, *sorted({plan.strip().casefold() for book in books for plan in book.plans})]
    segments = [ANY, *sorted({segment.strip().casefold() for book in books for segment in book.segments})]
    bounds: dict[str, set[float]] = {}
    for book in books:
        for currency, between in book.amounts.items():
            bounds.setdefault(currency, {0}).update(between.values())
    money = [(ANY, None), *((currency, at) for currency, some in bounds.items() for at in sorted(some))]
    for plan, segment, (currency, amount) in product(plans, segments, money):
        yield Case(plan, segment, currency, amount)


def _holds(named: Sequence[str], value: str) -> bool:
    return not named or _folded(value) in map(_folded, named)


def _has_amount(amounts: Mapping[str, Mapping[str, Any]], case: Case) -> bool:
    return any(
        _folded(currency) == _folded(case.currency) and within(case.amount, bounds)
        for currency, bounds in amounts.items()
    )


def _folded(name: str) -> str:
    return name.strip().casefold()


def in_words(plans: Sequence[str], segments: Sequence[str]) -> str:
    of_plan = f"the plan {either(plans)}" if plans else "every plan"
    return f"{of_plan} and {f'the segment {either(segments)}' if segments else 'every segment'}"


def either(names: Iterable[str]) -> str:
    return " or ".join(f"“{name}”" for name in names)
