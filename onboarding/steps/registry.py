"""The handlers by name."""

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
