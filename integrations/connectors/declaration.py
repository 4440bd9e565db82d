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
    """That of its folder, with hyphens for underscores; connections are stored with it, so that it must never change."""
    title: str
    """As its makers write it, for people."""
    provider: str
    """Its ``Connector`` class, or a ``ProviderInfo``."""
    stand_in: str = ""
    """Its ``Dialect`` class, for the sandbox server alone."""
    payer: str = ""
    """What it delivers of a payment in the sandbox, see ``sandbox.payers``."""

    @property
    def folder(self) -> str:
        """A module's name has no hyphens."""
        return self.name.replace("-", "_")


@cache
def vendors() -> Mapping[str, Vendor]:
    """Every vendor by name, in the order of names. Raises ``ValueError`` for a folder without its declaration."""
    folder = import_module(_FOLDER)
    found = [_declared(each.name) for each in pkgutil.iter_modules(folder.__path__) if each.ispkg]
    return MappingProxyType({each.name: each for each in sorted(found, key=lambda vendor: vendor.name)})


def load(path: str) -> Any:
    """The object at a dotted path. Raises ``ImportError`` or ``AttributeError``."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _declared(folder: str) -> Vendor:
    vendor = getattr(import_module(f"{_FOLDER}.{folder}"), "VENDOR", None)
    if not isinstance(vendor, Vendor) or vendor.folder != folder:
        raise ValueError(f"{_FOLDER}.{folder} needs VENDOR = Vendor(name={folder.replace('_', '-')!r}, …)")
    return vendor
