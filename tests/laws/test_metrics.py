"""A function of the scores that is declared to be a metric is one; where none is declared, the likely ones break."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from repscope.measures.catalog import configure
from tests.laws.test_catalogue import MEASURES, triples
from tests.measures.examples import label

FORMS = {
    "the score": lambda score: score,
    "arccos of the score": lambda score: math.acos(min(1.0, max(-1.0, score))),
    "square root of the score": lambda score: math.sqrt(max(0.0, score)),
}


def excess(measure, form, given):
    """How far the longest way between two of three representations exceeds the other two; positive breaks the law."""
    sides = sorted(FORMS[form](float(measure(a, b))) for a, b in itertools.combinations(given, 2))
    return sides[2] - sides[1] - sides[0]


@pytest.mark.parametrize("measure", [m for m in MEASURES if m.facts.metric_form], ids=label)
def test_what_is_declared_a_metric_obeys_the_triangle_inequality(measure):
    x = np.random.default_rng(0).normal(size=(20, 3))
    # A root or an arc cosine turns an error of 1e-15 into one of 5e-8.
    assert FORMS[measure.facts.metric_form](float(measure(x, x))) < 1e-7
    for given in triples(60):
        assert excess(measure, measure.facts.metric_form, given) < 1e-7


BREAKING = (
    (configure("procrustes", kind="squared"), "the score"),
    (configure("gulp"), "the score"),
    (configure("cca"), "arccos of the score"),
    (configure("cca", summary="mean"), "arccos of the score"),
)


@pytest.mark.parametrize(("measure", "form"), BREAKING, ids=lambda value: label(value) or value)
def test_what_is_not_declared_a_metric_breaks_it_on_a_witness(measure, form):
    assert measure.facts.metric_form != form
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(20, 2)))[0]
    basis = np.linalg.qr(basis - basis.mean(axis=0))[0]
    nested = [basis[:, :1], basis, basis[:, 1:]]
    turns = [np.cos(t) * basis[:, :1] + np.sin(t) * basis[:, 1:] for t in (0.0, 0.5, 1.0)]
    assert max(excess(measure, form, given) for given in (nested, turns)) > 1e-3
