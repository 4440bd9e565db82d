"""Which vendors there are: each folder in ``integrations.vendors`` declares itself, and is gone once it is deleted.

Read by the sandbox too, which runs without Django: a declaration names what is in its folder and imports none of it.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any

_FOLDER = "integrations.vendors"


@dataclass(frozen=True)
class Vendor:
    """What a vendor's folder holds, each part as the dotted path of an object in it; empty for what it does not have."""

    name: str
    """That of its folder; connections are stored with it, so that it must never change."""
    title: str
    """As its makers write it, for people."""
    provider: str
    """Its ``Connector`` class, or a ``ProviderInfo``."""
    stand_in: str = ""
    """Its ``Dialect`` class, for the sandbox server alone."""
    payer: str = ""
    """What it delivers of a payment in the sandbox, see ``sandbox.payers``."""


@cache
def vendors() -> Mapping[str, Vendor]:
    """Every vendor by name, in the order of names. Raises ``ValueError`` for a folder without its declaration."""
    folder = import_module(_FOLDER)
    found = {each.name: _declared(each.name) for each in pkgutil.iter_modules(folder.__path__) if each.ispkg}
    return MappingProxyType(dict(sorted(found.items())))


def load(path: str) -> Any:
    """The object at a dotted path. Raises ``ImportError`` or ``AttributeError``."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _declared(name: str) -> Vendor:
    vendor = getattr(import_module(f"{_FOLDER}.{name}"), "VENDOR", None)
    if not isinstance(vendor, Vendor) or vendor.name != name:
        raise ValueError(f"{_FOLDER}.{name} needs VENDOR = Vendor(name={name!r}, …)")
    return vendor
