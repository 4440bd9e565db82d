"""Start-up checks: a playbook that cannot run is found before a customer is."""

from typing import Any

from django.core.checks import CheckMessage, Error, register

from onboarding.engine.playbook import PlaybookError, playbooks
from onboarding.intake import prices


@register
def playbooks_are_sound(**_: Any) -> list[CheckMessage]:
    try:
        if not playbooks():
            return [Error("There is no playbook.", id="onboarding.E002")]
    except PlaybookError as error:
        return [Error(str(error), id="onboarding.E001")]
    return []


@register
def prices_are_sound(**_: Any) -> list[CheckMessage]:
    try:
        prices.table()
    except prices.PricesInvalid as error:
        return [Error(str(error), id="onboarding.E003")]
    return []
