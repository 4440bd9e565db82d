"""The handlers by name."""

from collections.abc import Iterable
from typing import TypeVar

from integrations.enums import System
from integrations.errors import Kind, ProviderError
from onboarding.payload.gate import CONFIRMED_WITH
from onboarding.steps.handler import Preview, R, StepHandler, View, Work


class Missing(StepHandler):
    """Stands for a handler that runs still name and nobody provides any more, such as one of a mapping that was removed."""

    name = ""
    system = System.WORKFLOW
    title = "do a step that nothing here can do any more"
    reads = ()

    def __init__(self, uses: str) -> None:
        self.why = f"Nothing here does “{uses}” any more: put its provider mapping back, or skip the step."

    def execute(self, work: Work[R]) -> R:  # noqa: ARG002
        raise ProviderError(Kind.NOT_CONFIGURED, self.why)

    def compensate(self, work: Work[R]) -> R:  # noqa: ARG002
        raise ProviderError(Kind.NOT_CONFIGURED, self.why)

    def preview(self, view: View) -> Preview:  # noqa: ARG002
        return Preview("by-hand", self.why, waits=True)


class _Handlers(dict[str, StepHandler]):
    """``in`` and ``get`` tell what is there; ``[]`` never fails, as a run under way must not break with its playbook."""

    def __missing__(self, name: str) -> StepHandler:
        return Missing(name)


HANDLERS: dict[str, StepHandler] = _Handlers()
H = TypeVar("H", bound=type[StepHandler])


def register(handler: H) -> H:
    """Class decorator. Raises ``ValueError`` for a name that is taken."""
    if handler.name in HANDLERS:
        raise ValueError(f"two step handlers are called {handler.name}")
    HANDLERS[handler.name] = handler()
    for path in handler.confirmable:
        CONFIRMED_WITH[path] = CONFIRMED_WITH.get(path, frozenset()).union(handler.reads)
    return handler


def replace_all(prefix: str, made: Iterable[StepHandler]) -> None:
    """Put these in place of all whose names begin with ``prefix``."""
    for name in [name for name in HANDLERS if name.startswith(prefix)]:
        del HANDLERS[name]
    HANDLERS.update({handler.name: handler for handler in made})
