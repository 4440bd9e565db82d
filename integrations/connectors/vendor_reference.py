"""What providers can do, in words: for ``manage.py doctor`` and the documentation's page of vendors."""

from collections.abc import Iterable, Sequence

from integrations.connectors.base import Capability
from integrations.connectors.declaration import vendors
from integrations.connectors.options import Option, Secret
from integrations.connectors.provider_info import ProviderInfo
from integrations.connectors.registry import PROVIDERS
from integrations.enums import System

HEAD = """# Vendors: what each can do

Made by `manage.py vendor_reference` from the vendors' declarations; a test compares. What to set up at a vendor stands in its
folder's `README.md`. **Creates** says what protects a create that is sent again: `idempotency-key` (the same key answers with the
same object), `unique-upsert` (a unique field carries our reference) or `neither` (an indeterminate outcome is searched for, then a
person decides).
"""


def page() -> str:
    """The vendors that have a folder; what a mapping describes stands in its file."""
    return "\n".join([HEAD, *(_section(vendor.title, PROVIDERS[name]) for name, vendor in vendors().items())])


def can_do(info: ProviderInfo) -> list[str]:
    """One line a kind of object, one of the webhook."""
    lines = [
        f"{each.kind}: created by {each.safety.value}{_depends(each)}; "
        f"{'rollback: ' if each.reversible else 'no rollback: '}{each.rollback}"
        for each in info.kinds
    ]
    return [*lines, f"webhook: {', '.join(_neutral(info))}"] if info.webhook else lines


def _section(title: str, info: ProviderInfo) -> str:
    systems = ", ".join(sorted(System(each).label for each in info.systems))
    parts = [f"## {title}\n", f"`--provider {info.name}` for {systems}. `manage.py doctor` checks {info.probes}.\n"]
    if info.kinds:
        parts.append(_table(("Object", "Creates", "Search lag", "Updates", "Tied to", "On rollback"), _kinds(info)))
    if info.webhook:
        rows = (
            (f"`{type_}`", ", ".join(each.__name__ for each in events)) for type_, events in info.webhook.events.items()
        )
        parts.append(_table(("Webhook's event", "Becomes"), rows))
    if info.options:
        parts.append(_table(("Option", "Type", "Default", "What it is for"), map(_option, info.options)))
    if info.secrets:
        parts.append(_table(("Secret", "Required", "What it is"), map(_secret, info.secrets)))
    return "\n".join(parts)


def _kinds(info: ProviderInfo) -> Iterable[Sequence[str]]:
    for each in info.kinds:
        lag = f"option `{each.search_lag_option}`" if each.search_lag_option else f"{each.search_lag:g} s"
        yield (
            each.kind,
            f"`{each.safety.value}`{_depends(each)}",
            lag,
            "yes" if each.updatable else "no",
            ", ".join(each.associations),
            each.rollback if each.reversible else f"**stays**: {each.rollback}",
        )


def _option(option: Option) -> Sequence[str]:
    help_ = f"**Required.** {option.help}" if option.required else option.help
    empty = f" Empty: {option.empty}." if option.empty else ""
    return f"`{option.name}`", option.must_be, f"`{option.default}`" if option.default else "", help_ + empty


def _secret(secret: Secret) -> Sequence[str]:
    return f"`{secret.name}`", "yes" if secret.required else "", f"{secret.label}. {secret.help}".strip()


def _depends(capability: Capability) -> str:
    return f" ({capability.safety_depends})" if capability.safety_depends else ""


def _neutral(info: ProviderInfo) -> list[str]:
    events = info.webhook.events.values() if info.webhook else ()
    return sorted({event.__name__ for listed in events for event in listed})


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
