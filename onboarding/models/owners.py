"""Who implements what: the editable table that gives each run an implementation owner."""

from django.core.validators import MinValueValidator
from django.db import models


class ImplementationOwner(models.Model):
    """A person of the delivery team. An empty list of territories or segments means all of them."""

    external_id = models.CharField(
        "Id in delivery",
        max_length=100,
        unique=True,
        help_text="The user's id in the delivery system, such as Asana's.",
    )
    name = models.CharField(max_length=150)
    email = models.EmailField(blank=True, help_text="Named in the welcome mail.")
    territories = models.CharField(
        max_length=500, blank=True, help_text="Separated by commas, such as emea, apac; empty: every territory."
    )
    segments = models.CharField(
        max_length=500, blank=True, help_text="Separated by commas, such as enterprise; empty: every segment."
    )
    capacity = models.PositiveSmallIntegerField(
        default=10, validators=[MinValueValidator(1)], help_text="Onboardings at a time."
    )
    active = models.BooleanField(default=True, help_text="Gets new onboardings.")

    class Meta:
        ordering = ["name", "pk"]

    def __str__(self) -> str:
        return self.name

    def serves(self, *, territory: str, segment: str) -> bool:
        return _holds(self.territories, territory) and _holds(self.segments, segment)


def _holds(listed: str, value: str) -> bool:
    names = {name.strip().casefold() for name in listed.split(",")} - {""}
    return not names or value.strip().casefold() in names
