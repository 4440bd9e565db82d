"""The handlers by name."""

from collections.abc import Iterable
from typing import TypeVar

from onboarding.steps.base import StepHandler

HANDLERS: dict[str, StepHandler] = {}
H = TypeVar("H", bound=type[StepHandler])


def register(handler: H) -> H:
    """Class decorator. Raises ``ValueError`` for a name that is taken."""
    if handler.name in HANDLERS:
        raise ValueError(f"two step handlers are called {handler.name}")
    HANDLERS[handler.name] = handler()
    return handler


def replace_all(prefix: str, made: Iterable[StepHandler]) -> None:
    """Put these in place of all whose names begin with ``prefix``."""
    for name in [name for name in HANDLERS if name.startswith(prefix)]:
        del HANDLERS[name]
    HANDLERS.update({handler.name: handler for handler in made})
