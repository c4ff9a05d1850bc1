"""Who may import whom, what `import repscope` loads, and that no test asserts nothing. Each check is shown to fail."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import repscope
from repscope.measures.catalog import CATALOG
from tests.reference.table import REFERENCES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "repscope"

# A room may import the rooms named here and itself; helpers are private modules that any room may use.
EVERYWHERE = {"errors", "_container", "_progress"}
ALLOWED = {
    "errors": set(),
    "_container": {"errors"},
    "_progress": {"errors"},
    "_frames": {"comparison", "errors"},
    "measures": set(),
    "engine": {"measures"},
    "capture": {"store"},
    "store": set(),
    "comparison": {"_frames", "plot"},
    "plot": {"comparison"},
    "studies": {"compare", "comparison", "measures", "capture", "plot", "engine"},
}
NEVER = {"torch": {"comparison", "plot", "errors"}, "matplotlib": {"measures", "engine", "capture"}}


def room(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(source: str) -> set[str]:
    """Modules that a source imports where it is loaded or run, type-checking blocks left out."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = node.module == "repscope"
            found |= {f"repscope.{alias.name}" for alias in node.names} if whole else {node.module}
    return found


def violations(name: str, source: str) -> list[str]:
    """Imports of a room that go upwards."""
    if name not in ALLOWED:
        return []
    allowed = ALLOWED[name] | EVERYWHERE | {name}
    found = []
    for module in imports(source):
        parts = module.split(".")
        if parts[0] == "repscope" and len(parts) > 1 and parts[1] not in allowed:
            found.append(module)
        if name in NEVER.get(parts[0], ()) and parts[0] != "repscope":
            found.append(module)
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_never_go_upwards(path):
    assert violations(room(path), path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("measures", "from repscope.engine import plan"),
        ("engine", "def f():\n    from repscope.capture import Capture"),
        ("capture", "import repscope.measures.cka"),
        ("plot", "from repscope import compare"),
        ("engine", "import matplotlib.pyplot"),
    ],
)
def test_the_check_of_imports_can_fail(name, source):
    assert violations(name, source)


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(sys.modules))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in finished.stdout.split()}


def test_importing_repscope_loads_no_optional_library():
    heavy = {"torch", "matplotlib", "scipy", "jax", "pandas", "xarray", "zarr", "rich", "typer"}
    assert not heavy & loaded_by("import repscope")
    assert heavy & loaded_by("import repscope, matplotlib")  # the check can fail


def unasserted(source: str) -> list[int]:
    """Lines where the result of a comparison is thrown away."""
    pattern = re.compile(r"^\s*(np|numpy|torch|xp)\.(allclose|array_equal|isclose)\(")
    return [number for number, line in enumerate(source.splitlines(), 1) if pattern.match(line)]


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.name)
def test_no_test_throws_a_comparison_away(path):
    assert unasserted(path.read_text(encoding="utf-8")) == []


def test_the_scan_for_thrown_away_comparisons_can_fail():
    assert unasserted("def test():\n    np.allclo" + "se(a, b)\n") == [2]


@pytest.mark.parametrize("measure", CATALOG)
def test_every_measure_has_a_reference_and_documentation(measure):
    row = CATALOG[measure]
    assert measure in REFERENCES
    assert getattr(repscope, measure) is row.function
    text = row.function.__doc__ or ""
    for section in ("Range:", "Args:", "Returns:", "Raises:", "References:"):
        assert section in text, f"{measure} lacks {section}"
    assert row.references
    assert row.formula
    assert row.cost


def test_every_public_name_exists_and_is_documented():
    for name in repscope.__all__:
        assert getattr(repscope, name).__doc__, name
    assert sorted(repscope.__all__) == sorted(set(repscope.__all__))
