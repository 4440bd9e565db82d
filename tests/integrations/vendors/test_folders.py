"""A vendor is one folder that declares itself; nothing else of the product names it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from integrations.connectors import declaration
from integrations.connectors.declaration import Vendor, load, vendors
from integrations.connectors.registry import PROVIDERS
from integrations.sandbox.dialect import Dialect

ROOT = Path(__file__).resolve().parents[3]
PRODUCT = ("integrations", "onboarding", "exceptions_queue")


def test_every_folder_is_a_vendor_and_every_vendor_is_registered() -> None:
    folders = {each.name for each in (ROOT / "integrations" / "vendors").iterdir() if (each / "__init__.py").exists()}
    assert {vendor.folder for vendor in vendors().values()} == folders
    assert set(vendors()) <= set(PROVIDERS)


@pytest.mark.parametrize("name", vendors())
def test_every_vendor_says_what_to_set_up_and_what_a_rollback_takes_back(name: str) -> None:
    text = (ROOT / "integrations" / "vendors" / vendors()[name].folder / "README.md").read_text()
    for part in ("**Set up", "**Permissions.**", "**Limits.**", "**Rollback**"):
        assert part in text


def test_each_declared_part_exists_under_the_vendors_name() -> None:
    for name, vendor in vendors().items():
        provider = load(vendor.provider)
        assert getattr(provider, "provider", None) == name or provider.name == name
        if vendor.stand_in:
            stand_in = load(vendor.stand_in)
            assert issubclass(stand_in, Dialect)
            assert stand_in.name == name
        if vendor.payer:
            assert callable(load(vendor.payer))


def test_a_folder_without_its_declaration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.vendors.asana.VENDOR", Vendor(name="other", title="Other", provider=""))
    with pytest.raises(ValueError, match="asana needs VENDOR"):
        declaration._declared("asana")


def test_no_module_outside_a_vendors_folder_imports_from_it() -> None:
    """Whatever does would fail once the folder is deleted."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for app in PRODUCT
        for path in sorted((ROOT / app).rglob("*.py"))
        for module in imported(path)
        if module.startswith("integrations.vendors.") and not path.is_relative_to(ROOT / Path(*module.split(".")[:3]))
    ]
    assert wrong == []


def test_reading_the_declarations_needs_no_django() -> None:
    """The sandbox runs without it, so that nothing that happens to Firstvalue takes the vendors' truth with it."""
    code = (
        "import sys; from integrations.connectors.declaration import load, vendors;"
        "[load(each.stand_in) for each in vendors().values() if each.stand_in]; sys.exit('django' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = {each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return found
