"""The gallery shows every function of repscope.plot, each script in its place.

``make docs`` runs the scripts; here only what can be read from them.
"""

from __future__ import annotations

import ast

import pytest

from tests.docs.pages import DOCS

plot = pytest.importorskip("repscope.plot")

EXAMPLES = DOCS / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("plot_*.py"))
SIZES = {"COLUMN", "PAGE"}
"""What is no function."""


def names_called(source):
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {function.attr for function in calls if isinstance(function, ast.Attribute)}


def test_every_picture_is_shown():
    shown = set().union(*(names_called((EXAMPLES / script).read_text("utf-8")) for script in SCRIPTS))
    assert set(plot.__all__) - SIZES - {"heatmap"} <= shown
    assert "plot" in shown  # Comparison.plot is the heat map


def test_the_order_names_every_script():
    source = (DOCS / "_extensions" / "gallery_order.py").read_text("utf-8")
    names: dict[str, object] = {}
    exec(compile(source, "gallery_order.py", "exec"), names)
    assert list(names["ORDER"]) == sorted(SCRIPTS, key=names["ByQuestion"](""))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_begins_with_its_question(script):
    title, line, *_ = (ast.get_docstring(ast.parse((EXAMPLES / script).read_text("utf-8"))) or "").splitlines()
    assert len(title) == len(line)
    assert set(line) == {"="}
