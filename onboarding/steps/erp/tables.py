"""What a playbook gives the ERP steps (``with``): its tables of entities, payment terms and bundles."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from onboarding.steps.tables import Table, Words

Part = Literal["software", "implementation", "managed-support"]
_WHOLE = Decimal(100)


class Entity(Table):
    """A row: for which country, currency and product it holds (an empty one holds for all), and what it says then."""

    country: Words = ()
    currency: Words = ()
    product: Words = ()
    subsidiary: str = ""
    cost_centre: str = ""
    business_unit: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.subsidiary or self.cost_centre or self.business_unit):
            raise ValueError("a row must name a subsidiary, a cost_centre or a business_unit")
        return self

    def holds(self, country: str, currency: str, product: str) -> bool:
        given = ((self.country, country), (self.currency, currency), (self.product, product))
        return all(not named or value.casefold() in {each.casefold() for each in named} for named, value in given)


class BundlePart(Table):
    """``days``: for so long it is delivered, from the first day of revenue on; 0: for the whole term."""

    part: Part
    product: Annotated[str, Field(min_length=1, max_length=64)]
    share: Annotated[Decimal, Field(gt=0, le=100)]
    """Per cent of the bundle's amount."""
    description: str = ""
    days: Annotated[int, Field(ge=0, le=3650)] = 0


class Bundle(Table):
    product: Annotated[str, Field(min_length=1)]
    """As the order calls it: its plan, or a line's product."""
    parts: Annotated[tuple[BundlePart, ...], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (total := sum((each.share for each in self.parts), Decimal(0))) != _WHOLE:
            raise ValueError(f"the shares of {self.product} are {total} per cent together, not 100")
        return self


class CustomerTables(Table):
    payment_terms: dict[str, str] = {}
    """As the payload calls them -> as the ERP does."""
    entities: Annotated[tuple[Entity, ...], Field(max_length=500)] = ()

    def terms(self, given: str) -> str:
        """As the ERP calls them; what no row names is taken as it is."""
        names = {name.strip().casefold(): value for name, value in self.payment_terms.items()}
        return names.get(given.strip().casefold(), given.strip())

    def entity(self, country: str, currency: str, product: str) -> dict[str, str]:
        """Of each of subsidiary, cost centre and business unit what the first row that fits says."""
        fitting = [row for row in self.entities if row.holds(country, currency, product)]
        names = ("subsidiary", "cost_centre", "business_unit")
        return {name: next((value for row in fitting if (value := getattr(row, name))), "") for name in names}

    @property
    def names_subsidiaries(self) -> bool:
        return any(row.subsidiary for row in self.entities)


class OrderTables(CustomerTables):
    bundles: Annotated[tuple[Bundle, ...], Field(max_length=500)] = ()

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        names = [bundle.product.casefold() for bundle in self.bundles]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the bundle {twice[0]} is listed twice")
        return self

    def parts(self, product: str) -> Sequence[BundlePart]:
        """What a product is made of; empty for one that is no bundle."""
        return next((each.parts for each in self.bundles if each.product.casefold() == product.casefold()), ())
