"""What an action on a run or a step is: one declaration, from which button, confirmation, endpoint and permissions follow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from exceptions_queue.roles import Actor
from exceptions_queue.tickets import forms, naming
from exceptions_queue.tickets.declaration import Data, Permission, Preview
from exceptions_queue.tickets.forms import Form
from onboarding.models import ObjectMapping, OnboardingTransaction, Step


@dataclass(frozen=True)
class Target:
    """What an action is done to: the run, and where it is about a step, that step and its object."""

    run: OnboardingTransaction
    step: Step | None = None
    mapping: ObjectMapping | None = None
    """The object in question; None where the step has none of that item."""
    item: str = ""

    @property
    def title(self) -> str:
        return naming.title(self.step) if self.step else ""

    @property
    def customer(self) -> str:
        return self.run.customer_name or self.run.onboarding_transaction_id

    @property
    def the_step(self) -> Step:
        """Of an action on a step."""
        if self.step is None:
            raise ValueError("This action needs a step.")
        return self.step


@dataclass(frozen=True)
class Confirmation:
    """How the console asks: ``asks`` is the question, ``tells`` what will happen, ``done`` the message afterwards."""

    asks: Callable[[Target], str]
    tells: Sequence[str]
    done: str
    icon: str
    is_dangerous: bool = False
    is_skipped: bool = False
    """The button on the run's page does it at once."""
    warns: Callable[[Target], Sequence[str]] = lambda _: ()
    """What is told besides, as things stand for this target."""


@dataclass(frozen=True)
class Endpoint:
    """How the API offers it: ``POST /api/v1/onboardings/{id}/NAME/``, as its schema describes that."""

    summary: str
    example: Data = field(default_factory=dict)


@dataclass(frozen=True)
class RunAction:
    """What a person or a key may do to a run, or to one step of it.

    ``service`` does it, and may raise ``Refused``. ``obstacle`` says why it is not possible for the target as it is now, by the
    service's own rule; empty where it is possible.
    """

    name: str
    label: str
    permission: Permission
    service: Callable[[Target, Actor, Data], None]
    obstacle: Callable[[Target], str]
    confirmation: Confirmation
    form: Form = forms.NOTHING
    of_step: bool = False
    preview: Callable[[Target], Preview] | None = None
    """What it would do, step by step or object by object: exactly that is confirmed. Raises ``Refused``."""
    is_useful: Callable[[Target], bool] = lambda _: True
    """Whether the run's page offers what is possible: what has another effect than people expect there is left to tickets."""
    endpoint: Endpoint | None = None
    """None where the API does not offer it."""

    def is_offered(self, target: Target) -> bool:
        return not self.obstacle(target) and self.is_useful(target)

    def allows(self, actor: Actor, target: Target) -> bool:
        return actor.may(self.permission.codename, target.step or target.run)
