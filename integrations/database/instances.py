"""Instances of models without what making them costs: some hundred are made for each onboarding."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, models
from django.db.models.base import ModelState

M = TypeVar("M", bound=models.Model)


def instance_of(model: type[M], values: Mapping[str, Any], *, is_new: bool = True) -> M:
    """As ``model(**values)``, without signals. ``values``: by the names of columns, ``step_id`` and not ``step``; what is missing
    gets its default. Raises ``TypeError`` for a name that is none.

    ``is_new``: its row is yet to be inserted.
    """
    fixed, called = _defaults(model)
    row = model.__new__(model)
    kept = row.__dict__
    kept.update(fixed)
    kept.update(values)
    if len(kept) != len(fixed):
        raise TypeError(f"{model.__name__} has no {', '.join(sorted(kept.keys() - fixed.keys()))}.")
    for name, default in called.items():
        if name not in values:
            kept[name] = default()
    row._state = _state(is_new=is_new)
    return row


def copied(row: M) -> M:
    """As ``copy.copy``: an instance of one's own, with the same values and the same related instances."""
    mine = type(row).__new__(type(row))
    mine.__dict__.update(row.__dict__)
    mine._state = _state(is_new=row._state.adding)
    mine._state.db = row._state.db
    mine._state.fields_cache = dict(row._state.fields_cache)
    return mine


def _state(*, is_new: bool) -> ModelState:
    state = ModelState()
    state.adding, state.db = is_new, None if is_new else DEFAULT_DB_ALIAS
    return state


@cache
def _defaults(model: type[models.Model]) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """By column: the default, and what makes a new one for each instance."""
    fields = {field.attname: field for field in model._meta.concrete_fields}
    called = {name: field.get_default for name, field in fields.items() if callable(field.default)}
    return {name: None if name in called else field.get_default() for name, field in fields.items()}, called
