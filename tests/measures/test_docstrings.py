"""The examples in the docstrings of the measures run and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

# By name: `repscope.measures` as an attribute is the function that lists the catalogue.
PACKAGE = importlib.import_module("repscope.measures")
MODULES = [f"repscope.measures.{module.name}" for module in pkgutil.iter_modules(PACKAGE.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    examples = [test.name for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(examples) >= 6
