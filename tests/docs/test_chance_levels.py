"""The documentation lists the measures whose chance level has a closed form: those of which compare gives one."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest

import repscope
from tests.docs.pages import DOCS
from tests.measures.examples import ALL, fitting, label

_ROW = re.compile(
    r"^\| (?P<ids>`\w+`(?:, `\w+`)*) \| (?P<only>[^|]*) \| (?P<moments>yes|no) \| (?P<p>yes|no) \|$", re.M
)
ROWS = {
    name: row
    for row in _ROW.finditer((DOCS / "statistics.md").read_text("utf-8"))
    for name in re.findall(r"\w+", row["ids"])
}
"""Rows of the table by the id of the measure."""


def listed(measure) -> tuple[bool, bool]:
    """Whether the table promises mean and deviation, and p values."""
    row = ROWS.get(measure.id)
    if row is None:
        return False, False
    only = re.fullmatch(r"`(\w+)=(.+)`", row["only"])
    fits = only is None or measure.options[only[1]] == ast.literal_eval(only[2])
    return fits and row["moments"] == "yes", fits and row["p"] == "yes"


@pytest.mark.parametrize("measure", ALL, ids=label)
@pytest.mark.filterwarnings("ignore::repscope.errors.RepscopeWarning")
def test_compare_gives_the_chance_levels_that_are_listed_and_no_others(measure):
    rng = np.random.default_rng(0)
    n = fitting(measure, 30)
    result = repscope.compare({"x": rng.normal(size=(n, 5))}, {"y": rng.normal(size=(n, 4))}, measure=measure)
    given = [value is not None and bool(np.isfinite(value).all()) for value in (result.null_mean, result.p_values)]
    assert tuple(given) == listed(measure)
    assert (result.null_sd is not None) == given[0]
    assert ("no closed form" in result.conventions["null"]) != given[0]


def test_the_docstring_of_compare_names_the_same_measures():
    returns = repscope.compare.__doc__.partition("Returns:")[2].partition("it holds the chance level")[0]
    assert set(re.findall(r"``(\w+)``", returns)) == set(ROWS)


@pytest.mark.parametrize("page", ["../README.md", "guides/chance.md", "measures/index.md"])
def test_pages_that_speak_of_chance_levels_refer_to_the_list(page):
    assert "statistics.md#chance-levels)" in (DOCS / page).read_text("utf-8")
