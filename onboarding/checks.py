"""Start-up checks: a playbook that cannot run is found before a customer is."""

from typing import Any

from django.core.checks import CheckMessage, Error, register

from integrations.providers.http_mapping import MappingError, mappings
from onboarding.engine.playbook import PlaybookError, playbooks
from onboarding.intake import prices
from onboarding.steps import http


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
def prices_are_sound(**_: Any) -> list[CheckMessage]:
    try:
        prices.table()
    except prices.PricesInvalid as error:
        return [Error(str(error), id="onboarding.E003")]
    return []
