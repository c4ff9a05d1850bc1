"""Words of messages and tables: one behaviour wherever they are used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from repscope._words import did_you_mean, first_line, nearest_or_all, shorten

PACKAGE = Path(__file__).parents[1] / "src" / "repscope"


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("con1", ["conv1", "conv2", "fc"], " Did you mean 'conv1'?"),
        ("conv9", ["conv1", "fc", "conv2", "conv1"], " Did you mean 'conv2' or 'conv1'?"),
        ("conv9", [f"conv{i}" for i in range(9)], " Did you mean 'conv8' or 'conv7' or 'conv6'?"),
        ("zzz", ["conv1"], ""),
        (3, ["conv1"], ""),
        ("zzz", [], ""),
    ],
)
def test_the_nearest_names_are_proposed_those_that_are_equally_near_together(word, known, said):
    assert did_you_mean(word, known) == said


def test_where_none_is_near_the_first_ones_are_listed_each_once():
    assert nearest_or_all("con1", ["conv1"]) == " Did you mean 'conv1'?"
    assert nearest_or_all("zz", ["a", "b", "a"]) == " There are: 'a', 'b'."
    assert nearest_or_all("zz", list("abcdefghij")) == (
        " There are: 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h' and 2 more."
    )


def test_a_long_name_keeps_both_ends_and_more_of_the_last():
    assert shorten("layer1.0.conv1", 14) == "layer1.0.conv1"
    assert shorten("layer1.0.conv1", 9) == "lay…conv1"
    assert shorten("layer1.0.conv1", 8) == "la…conv1"
    assert shorten("layer1.0.conv1", 9, head=5) == "layer…nv1"
    assert shorten("conv12", 2) == "…2"
    assert shorten("conv12", 1) == "…"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n  no such file.\nTraceback"), "no such file"),
        (RuntimeError(""), "RuntimeError"),
        (KeyError("a"), "'a'"),
    ],
)
def test_what_an_exception_says_first(error, line):
    assert first_line(error) == line


def test_nobody_looks_for_near_names_in_another_way():
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom) and "difflib" in ast.unparse(node)
    }
    assert found == {"_words.py"}
