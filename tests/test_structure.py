"""The shape of the product: no module needs itself through others, and no file or folder is too large to take in."""

import ast
import re
from collections import Counter
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
APPS = ("integrations", "onboarding", "exceptions_queue")
MOST_LINES = 500
MOST_MODULES = 14


def modules() -> list[Path]:
    found = [path for app in APPS for path in (ROOT / app).rglob("*.py")]
    return [path for path in found if path.name != "__init__.py" and path.parent.name != "migrations"]


def test_no_module_imports_itself_through_others() -> None:
    """Imports inside functions count too."""
    graph = grimp.build_graph(*APPS, exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while ends := {module for module, wanted in imports.items() if not wanted}:
        imports = {module: wanted - ends for module, wanted in imports.items() if module not in ends}
    assert sorted(imports) == [], "these are in a cycle, or import one"


def test_no_module_is_too_long() -> None:
    assert [str(path) for path in modules() if len(path.read_text().splitlines()) > MOST_LINES] == []


def test_no_folder_holds_too_many_modules() -> None:
    counts = Counter(path.parent.relative_to(ROOT) for path in modules())
    assert {str(folder): count for folder, count in counts.items() if count > MOST_MODULES} == {}


LOCKS_RUNS = {
    "onboarding/engine/locks.py": "the one way to change a run",
    "onboarding/archive/archiving.py": "locks many at once, and deletes them",
    "onboarding/audit/verification.py": "reads a chain that nobody may append to meanwhile",
}
SAVES_RUNS = {"onboarding/engine/locks.py"}


def test_runs_are_locked_and_saved_in_one_place() -> None:
    """A run is changed inside ``locked_run``, which saves it: nobody can forget that, or save a stale copy."""
    locking, saving = set(), set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            called_on, name = ast.unparse(node.func.value), str(path.relative_to(ROOT))
            if node.func.attr == "select_for_update" and re.search(r"OnboardingTransaction|\bruns?\b", called_on):
                locking.add(name)
            if node.func.attr in ("save", "bulk_update") and re.search(r"(run|runs|transaction)$", called_on):
                saving.add(name)
    assert locking == LOCKS_RUNS.keys()
    assert saving == SAVES_RUNS
