"""Rules about the code itself: who imports whom, what loads when, what a test may look like, what is documented."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import repscope
from repscope.measures.catalog import CATALOG
from tests.measures.examples import ALL
from tests.reference.table import REFERENCES

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "repscope"
TESTS = ROOT / "tests"

# The rooms and the others that they may use; never upwards. Rooms that are not named stand beside `compare`.
ALLOWED = {
    "errors": set(),
    "measures": {"errors", "_words"},
    "engine": {"errors", "measures", "_rows", "_words"},
    "inference": {"errors", "measures", "engine", "_student"},
    "capture": {"errors", "store", "_progress", "_rows", "_undisturbed", "_words"},
    "store": {"errors", "_undisturbed"},
    "comparison": {
        "errors",
        "_container",
        "_details",
        "_fields",
        "_frames",
        "_labels",
        "_matches",
        "_picking",
        "_student",
        "_text",
    },
    "_allocator": set(),
    "_details": set(),
    "_fields": {"errors"},
    "_labels": set(),
    "_matches": {"comparison"},
    "_picking": {"errors", "_words"},
    "_rows": set(),
    "_text": {"comparison", "_words"},
    "_undisturbed": set(),
    "_words": set(),
    "_pairs": {"errors", "comparison"},
    "plot": {"errors", "comparison", "_pairs", "_words"},
    "report": {"errors", "comparison", "plot", "_container"},
}
ABOVE_COMPARE = {"studies", "cli", "loading", "weights", "__main__"}
DEFERRED = {"comparison": {"plot", "report"}}
"""Methods such as Comparison.plot may reach up, when they are called."""


def imported_rooms(source: str) -> Iterator[tuple[str, bool]]:
    """Rooms of repscope that a module imports, and whether inside a function."""
    tree = ast.parse(source)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which room is meant"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "repscope" and len(parts) > 1:
                yield parts[1], id(node) in inside


def forbidden_imports(room: str, source: str) -> list[str]:
    """Rooms that this module imports and may not."""
    if room in ABOVE_COMPARE and room != "studies":
        return []
    found = []
    for other, deferred in imported_rooms(source):
        allowed = ALLOWED.get(room)
        if other == room or (deferred and other in DEFERRED.get(room, ())):
            continue
        if other in ABOVE_COMPARE - {room} if allowed is None else other not in allowed:
            found.append(other)
    return found


def rooms() -> list[tuple[str, Path]]:
    return [
        (path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path)
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != PACKAGE / "__init__.py"
    ]


def test_nobody_imports_upwards():
    assert {room: found for room, path in rooms() if (found := forbidden_imports(room, path.read_text("utf-8")))} == {}


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("errors", "import repscope.measures"),
        ("measures", "from repscope.engine import plan"),
        ("measures", "def f():\n    from repscope.comparison import Comparison"),
        ("engine", "from repscope.capture.torch import trace"),
        ("capture", "from repscope.measures.kernels import RBF"),
        ("comparison", "from repscope.plot import heatmap"),
        ("plot", "import repscope.engine.plan"),
        ("compare", "from repscope.studies import digits"),
        ("compare", "from repscope import cli"),
        ("studies", "from repscope.cli import main"),
    ],
)
def test_the_import_check_can_fail(room, line):
    assert forbidden_imports(room, line)


def test_the_import_check_can_pass():
    assert not forbidden_imports("measures", "import numpy as np\nfrom repscope.errors import InputError")
    assert not forbidden_imports("comparison", "def plot():\n    from repscope.plot import heatmap")
    assert {"errors", "measures", "engine", "capture", "comparison", "studies"} <= {room for room, _ in rooms()}


HEAVY = ("torch", "matplotlib", "scipy", "jax", "pandas", "xarray", "sklearn", "PIL", "transformers")


def heavy_modules(code: str) -> list[str]:
    """Heavy packages that are loaded after running ``code`` in a fresh interpreter."""
    report = f"import sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    command = [sys.executable, "-c", f"{code}\n{report}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_importing_the_package_loads_nothing_heavy():
    assert heavy_modules("import repscope") == []


MATCHING = ("permutation_procrustes", "correlation_matching", "soft_matching")
"""Measures that are scipy's to solve."""


def test_scoring_numpy_arrays_loads_nothing_heavy():
    lines = "import numpy as np, repscope\nx = np.random.default_rng(0).normal(size=(30, 3))"
    score = "repscope.score(name, x, x[:, ::-1])"
    light = sorted(set(repscope.measures()) - {*MATCHING, "rtd"})
    assert heavy_modules(f"{lines}\nfor name in {light!r}: {score}") == []
    for name in MATCHING:
        assert heavy_modules(f"{lines}\nname = {name!r}\n{score}") == ["scipy"]
    assert {"scipy", "sklearn"} <= set(heavy_modules(f"{lines}\nname = 'rtd'\n{score}"))


def test_the_check_for_heavy_modules_can_fail():
    pytest.importorskip("scipy")
    assert heavy_modules("import repscope, scipy") == ["scipy"]


def bare_claims(source: str) -> list[int]:
    """Lines on which a claim is computed and thrown away, such as ``np.allclose(a, b)`` without ``assert``."""
    claims = {"allclose", "isclose", "array_equal", "array_equiv", "isfinite", "isnan", "all", "any", "equal"}
    lines = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Expr):
            continue
        if isinstance(node.value, ast.Compare | ast.BoolOp):
            lines.append(node.lineno)
        elif isinstance(node.value, ast.Call):
            function = node.value.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name in claims:
                lines.append(node.lineno)
    return lines


def test_no_test_computes_a_claim_and_throws_it_away():
    found = {str(path.relative_to(ROOT)): bare_claims(path.read_text("utf-8")) for path in TESTS.rglob("*.py")}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    ["np.allclose(a, b)", "torch.equal(a, b)", "math.isclose(a, b)", "all(a)", "a == b", "a == b and b == c"],
)
def test_the_scan_for_thrown_away_claims_can_fail(line):
    assert bare_claims(f"def test():\n    {line}\n") == [2]
    assert bare_claims(f"def test():\n    assert {line}\n") == []


def test_every_row_of_the_catalogue_has_a_reference_and_stands_in_the_law_tests():
    assert set(CATALOG) == set(REFERENCES) == {measure.id for measure in ALL}


def test_references_share_no_code_with_the_package():
    for path in (TESTS / "reference").glob("*.py"):
        assert not list(imported_rooms(path.read_text("utf-8")))
        assert "repscope" not in path.read_text("utf-8")


MEASURES = [*CATALOG, "canonical_correlations"]


@pytest.mark.parametrize("name", repscope.__all__)
def test_public_names_are_documented(name):
    value = getattr(repscope, name)
    if not callable(value):
        return
    text = inspect.getdoc(value)
    assert text, f"{name} has no docstring"
    assert text.splitlines()[0].endswith("."), f"{name}: the first line is one sentence"
    if inspect.isfunction(value):
        parameters = inspect.signature(value).parameters
        needed = ["Raises:"] if parameters else []
        if len(parameters) > 1:
            needed += ["Args:"]
        if name in MEASURES:
            needed += ["Range:", "Args:", "Returns:", "References:"]
        missing = [section for section in needed if section not in text]
        assert not missing, f"{name} lacks {missing}"


@pytest.mark.parametrize("name", MEASURES)
def test_every_argument_of_a_measure_is_documented(name):
    function = getattr(repscope, name)
    for parameter in inspect.signature(function).parameters:
        assert f"\n    {parameter}: " in inspect.getdoc(function), f"{name}: {parameter} is not documented"


def test_all_names_are_there_once():
    assert len(set(repscope.__all__)) == len(repscope.__all__)
    for name in repscope.__all__:
        assert hasattr(repscope, name)
