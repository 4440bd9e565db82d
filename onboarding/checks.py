"""Start-up checks: a playbook that cannot run is found before a customer is."""

from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004

from integrations.providers.http_mapping import MappingError, mappings
from onboarding.engine.playbook import PlaybookError, playbooks
from onboarding.intake import prices
from onboarding.steps import http
from onboarding.steps.registry import HANDLERS


@register
def playbooks_are_sound(**_: Any) -> list[CheckMessage]:
    try:
        if not playbooks():
            return [Error("There is no playbook.", id="onboarding.E002")]
    except PlaybookError as error:
        return [Error(str(error), id="onboarding.E001")]
    return []


@register
def mapped_steps_are_sound(**_: Any) -> list[CheckMessage]:
    """What is wrong with a file itself, the integrations' own check says."""
    try:
        mappings()
    except MappingError:
        return []
    try:
        http.load()
    except MappingError as error:
        return [Error(message, id="onboarding.E004") for message in error.each]
    return []


@register
def mapped_objects_are_kept_up_to_date(**_: Any) -> list[CheckMessage]:
    """A change of the customer's data that reaches no vendor is a person's work: whoever writes the playbook should know."""
    try:
        checked = playbooks()
    except PlaybookError:
        return []
    found: list[CheckMessage] = []
    for playbook in checked.values():
        handlers = {step.key: HANDLERS[step.uses] for step in playbook.steps}
        for key, handler in handlers.items():
            if paths := http.never_updated(handler, handlers.values()):
                message = (
                    f"The playbook {playbook.name}: the step {key} makes its object from {', '.join(paths)}, and no step writes "
                    "them there when they change."
                )
                hint = f"Add a step that uses {handler.name}.update, and an [objects.….update] to the mapping that sends them."
                found.append(Warning(message, hint=hint, id="onboarding.W001"))
    return found


@register
def prices_are_sound(**_: Any) -> list[CheckMessage]:
    try:
        prices.table()
    except prices.PricesInvalid as error:
        return [Error(str(error), id="onboarding.E003")]
    return []
