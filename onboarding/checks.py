"""Start-up checks: a playbook that cannot run is found before a customer is."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004

from integrations.connections.people import Listed, lists_people
from integrations.connections.uses import Use, lists_uses
from integrations.declarative.mapping import MappingError, mappings
from integrations.enums import System
from onboarding.intake import prices
from onboarding.models import ImplementationOwner
from onboarding.playbooks.playbook import PlaybookError, playbooks
from onboarding.steps import declarative, kickoff
from onboarding.steps.registry import HANDLERS


@register
def the_folder_of_a_companys_own_files_is_there(**_: Any) -> list[CheckMessage]:
    """Without it everything in it would silently not count."""
    folder = settings.CONFIG_DIR
    if folder and not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        return [Error(f"CONFIG_DIR: {folder} {what}.", hint="Make it, or unset CONFIG_DIR.", id="onboarding.E005")]
    return []


@register
def playbooks_are_sound(**_: Any) -> list[CheckMessage]:
    try:
        if not playbooks():
            return [Error("There is no playbook.", id="onboarding.E002")]
    except PlaybookError as error:
        return [Error(message, id="onboarding.E001") for message in error.each]
    return []


@register
def mapped_steps_are_sound(**_: Any) -> list[CheckMessage]:
    """What is wrong with a file itself, the integrations' own check says."""
    try:
        mappings()
    except MappingError:
        return []
    try:
        declarative.load()
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
            if paths := declarative.never_updated(handler, handlers.values()):
                message = (
                    f"The playbook {playbook.name}: the step {key} makes its object from {', '.join(paths)}, and no step writes "
                    "them there when they change."
                )
                hint = f"Add a step that uses {handler.name}.update, and an [objects.….update] to the mapping that sends them."
                found.append(Warning(message, hint=hint, id="onboarding.W001"))
    return found


@lists_uses
def what_playbooks_use() -> Iterator[Use]:
    """The kinds of object that the playbooks' steps create or update, for ``manage.py doctor`` and the check below."""
    for playbook in playbooks().values():
        for step in playbook.steps:
            handler = HANDLERS[step.uses]
            if handler.kind:
                where = f"The step {step.key} of the playbook {playbook.name}"
                yield Use(where, handler.system, handler.provider, handler.kind, updates=bool(handler.target))


@register
def playbooks_ask_for_what_vendors_have(**_: Any) -> list[CheckMessage]:
    """As far as it is known without the connections: where none of a system's vendors can do a step. ``doctor`` knows the rest."""
    try:
        uses = list(what_playbooks_use())
    except PlaybookError:
        return []
    found: list[CheckMessage] = []
    for use in uses:
        candidates = use.candidates()
        problems = [use.problem(info) for info in candidates]
        if not candidates:
            message = f"{use.where} needs a {use.system.label} system, and no vendor of this installation is one."
            found.append(Warning(message, hint="Leave the step out, or add a vendor.", id="onboarding.W002"))
        elif all(problems):
            hint = "Leave the step out, or use a vendor that has it: docs/vendors.md."
            found.append(Error(" ".join(problems), hint=hint, id="onboarding.E007"))
    return found


@register
def prices_are_sound(**_: Any) -> list[CheckMessage]:
    try:
        prices.table()
    except prices.PricesInvalid as error:
        return [Error(str(error), id="onboarding.E003")]
    return []


@register
def the_welcome_mail_can_be_written(**_: Any) -> list[CheckMessage]:
    """A template that fails would only show once a customer is to be written to."""
    return [Error(message, id="onboarding.E006") for message in kickoff.welcome_problems()]


@lists_people
def implementation_owners() -> Iterator[Listed]:
    """For ``manage.py doctor``."""
    for owner in ImplementationOwner.objects.filter(active=True):
        yield f"Implementation owner {owner.name}", System.DELIVERY, owner.external_id
