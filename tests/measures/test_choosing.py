"""What is recommended fits the answers, by the declared facts, and what is not has a reason that is true."""

from __future__ import annotations

import itertools

import pytest

import repscope
from repscope.measures.catalog import CATALOG
from repscope.measures.choosing import INVARIANCES, LIKE_CHANCE
from repscope.measures.measure import Invariance

CASES = [
    (invariance, n, width, metric)
    for invariance, (n, width), metric in itertools.product(
        INVARIANCES, [(2, 1), (5, 3), (64, 512), (513, 512), (600, 512), (2000, 512), (100_000, 64)], [False, True]
    )
]


@pytest.mark.parametrize(("invariance", "n", "width", "metric"), CASES)
def test_suggestions_fit_and_all_others_have_a_reason(invariance, n, width, metric):
    found = repscope.recommend(invariance, n, width, metric=metric)
    assert (found.invariance, found.examples, found.width, found.metric) == (invariance, n, width, metric)
    suggested = [one.measure.id for one in found.suggestions]
    assert sorted([*suggested, *found.excluded]) == sorted(CATALOG)
    assert all(reason.endswith(".") for reason in found.excluded.values())
    for one in found.suggestions:
        facts = one.measure.facts
        for side in (facts.invariances_x, facts.invariances_y):
            assert INVARIANCES[invariance] in side
            assert (Invariance.INVERTIBLE_LINEAR in side) == (invariance == "linear")
            assert (Invariance.ORTHOGONAL in side) == (invariance != "permutation")
        assert n >= facts.minimum_examples
        assert facts.metric_form is not None or not metric
        assert facts.chance is None or facts.chance.level(n, width, width) < LIKE_CHANCE
        assert one.reasons
        assert all(sentence.endswith(".") for sentence in (*one.reasons, *one.cautions))


def reason(name, *answers, **options):
    return repscope.recommend(*answers, **options).excluded[name]


def test_what_cca_is_refused_for():
    assert "512 features and one: it says the same of any two layers (Theorem 1" in reason("cca", "linear", 513, 512)
    assert reason("cca", "linear", 1024, 512).startswith("1024 examples are not well above the width of 512")
    found = repscope.recommend("linear", 1026, 512)
    assert found.suggestions[0].measure.id in ("cca", "eigenspace_overlap")
    assert "Unrelated layers score max(p, q)/(n−1) = 0.50 on average: hold scores" in " ".join(
        next(one for one in found.suggestions if one.measure.id == "cca").cautions
    )
    assert "variance would not count" in reason("cca", "orthogonal", 2000, 64)
    assert "a single unit would not count" in reason("cca", "permutation", 2000, 64)
    assert "is declared to be a metric" in reason("cca", "linear", 2000, 64, metric=True)


def test_what_others_are_refused_for():
    assert reason("pwcca", "linear", 2000, 64) == (
        "It is directed: invariant to permutation maps of x and to invertible linear maps of y."
    )
    assert "√(pq / ((n+p)(n+q))) = 0.89 on average: most" in reason("angular_cka", "orthogonal", 64, 512)
    assert "cosine of at least √(pq / (pq + n(p+q))) = 0.89 on" in reason("procrustes", "orthogonal", 64, 512)
    assert reason("soft_matching", "orthogonal", 2000, 64) == "It changes under rotations."
    assert reason("cka", "linear", 2000, 64) == "It changes under invertible linear maps."
    assert reason("mutual_knn", "orthogonal", 4, 2) == "It needs 12 examples, and there are 4."
    assert "by itself" in reason("magnitude_difference", "orthogonal", 2000, 64)


def test_other_options_serve_where_the_defaults_do_not():
    labels = [one.measure.label for one in repscope.recommend("linear", 2000, 64, metric=True).suggestions]
    assert labels[0] == "shape_distance(alpha=0.0)"
    assert "gulp(regularization=0.0)" in labels


def test_the_best_come_first():
    first = repscope.recommend("orthogonal", 64, 512).suggestions[0]
    assert first.measure.label == "cka"
    assert "Unrelated layers score 0 on average, whatever n and the width." in first.reasons
    assert first.cautions == ()
    metrics = repscope.recommend("orthogonal", 2000, 512, metric=True).suggestions
    assert [one.measure.facts.metric for one in metrics] == sorted(
        (one.measure.facts.metric for one in metrics), reverse=True
    )
    assert "The triangle inequality holds for the score." in metrics[0].reasons
    through = next(one for one in metrics if one.measure.id == "cka")
    assert "The triangle inequality holds for arccos of the score." in through.reasons


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (("rotations", 100, 5), "recommend: invariance must be one of"),
        (("linear", 1, 5), "recommend: examples must be a whole number from 2, got 1"),
        (("linear", True, 5), "recommend: examples must be a whole number from 2, got True"),
        (("linear", 100, 0), "recommend: width must be a whole number from 1, got 0"),
        (("linear", 100, 2.5), "recommend: width must be a whole number from 1, got 2.5"),
    ],
)
def test_answers_that_mean_nothing(answers, message):
    with pytest.raises(repscope.InputError, match=message):
        repscope.recommend(*answers)
