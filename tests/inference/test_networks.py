"""Networks as the unit of replication, and how many examples are enough."""

from __future__ import annotations

import numpy as np
import pytest

import repscope
from repscope import Agreement, InputError
from repscope.inference.networks import standard_error, two_sided_p, without_each


def networks(count: int, noise: float, seed: int = 0, n: int = 120) -> dict[str, dict[str, np.ndarray]]:
    """Networks that see the same five latent variables through weights and noise of their own."""
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(99).standard_normal((n, 5))
    return {
        f"{noise} {i}": {
            name: shared @ rng.standard_normal((5, 8)) + noise * rng.standard_normal((n, 8)) for name in ("one", "two")
        }
        for i in range(count)
    }


def test_the_error_of_a_mean_is_the_textbook_one():
    values = np.array([1.0, 2.0, 4.0, 8.0])
    replicates = without_each(lambda left: float(values[left].mean()), 4)
    assert standard_error(replicates) == pytest.approx(values.std(ddof=1) / 2)


def test_a_network_goes_with_all_its_pairs():
    nets = networks(4, 1.0)
    found = repscope.agreement(repscope.compare(nets), {"all": list(nets)})["all"]
    smaller = []
    for left_out in nets:
        rest = {name: layers for name, layers in nets.items() if name != left_out}
        pairs = [
            [float(repscope.cka(x[layer], y[layer])) for layer in ("one", "two")]
            for a, x in rest.items()
            for b, y in rest.items()
            if a != b
        ]
        smaller.append(np.mean(pairs))
    expected = np.sqrt(3 / 4 * np.sum((np.array(smaller) - np.mean(smaller)) ** 2))
    assert found.standard_error == pytest.approx(expected)
    assert found.value == pytest.approx(np.mean(smaller))
    low, high = found.interval()
    assert low < found.value < high


def test_two_architectures_are_told_apart_by_their_networks():
    alike, apart = networks(5, 0.3), networks(5, 3.0, seed=1)
    groups = {"alike": list(alike), "apart": list(apart)}
    found = repscope.agreement(repscope.compare(alike | apart), groups)
    assert found["alike"].value > found["apart"].value
    assert found["alike"].p_of_difference(found["apart"]) < 1e-3
    assert found["alike"].p_of_difference(found["alike"]) == 1.0


def test_a_difference_of_few_networks_is_tested_with_their_degrees_of_freedom():
    stats = pytest.importorskip("scipy.stats")
    one, other = np.array([0.2, 0.5, 0.9]), np.array([1.0, 1.1, 1.3, 1.9])
    found = [Agreement(float(x.mean()), float(stats.sem(x)), len(x)) for x in (one, other)]
    expected = stats.ttest_ind(one, other, equal_var=False).pvalue
    assert found[0].p_of_difference(found[1]) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("unit", [1e-15, 1e-90, 1e30])
def test_a_difference_has_the_same_p_value_in_any_unit(unit):
    one, other = Agreement(1.0, 0.01, 4), Agreement(0.97, 0.02, 3)
    scaled = [Agreement(unit * a.value, unit * a.standard_error, a.networks) for a in (one, other)]
    assert scaled[0].p_of_difference(scaled[1]) == pytest.approx(one.p_of_difference(other), rel=1e-9)


def test_few_networks_are_refused():
    nets = networks(3, 1.0)
    result = repscope.compare(nets)
    with pytest.raises(InputError, match="networks must be at least 3 where they are the unit of replication, got 1"):
        repscope.agreement(result, {"one": list(nets)[:1]})
    with pytest.raises(InputError, match="groups must name models of the comparison, got 'other'"):
        repscope.agreement(result, {"one": ["other"]})
    with pytest.raises(InputError, match="groups must not share a network"):
        repscope.agreement(result, {"one": list(nets), "two": list(nets)})


def test_a_difference_of_no_width():
    assert two_sided_p(0.0, 0.0) == 1.0
    assert two_sided_p(0.1, 0.0) == 0.0
    assert two_sided_p(1.959964, 1.0) == pytest.approx(0.05, abs=1e-6)


# -- examples ----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")  # of few examples
def test_the_number_for_chance_is_that_at_which_chance_is_so_small():
    """Unrelated normal layers of 50 equal directions: n = P(1 − ε)/ε = 950 for ε = 0.05, from 100 examples."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((100, 50)), rng.standard_normal((100, 50))
    result = repscope.compare({"x": x}, {"y": y}, estimator="biased")
    found = repscope.required_examples(result)
    assert found.for_chance[0, 0] == pytest.approx(950, rel=0.05)
    x, y = rng.standard_normal((950, 50)), rng.standard_normal((950, 50))
    assert float(repscope.cka(x, y, estimator="biased")) == pytest.approx(0.05, rel=0.1)


def test_the_number_for_the_width_is_that_at_which_it_is_so_narrow():
    nets = networks(2, 1.0, n=200)
    (a, b) = nets.values()
    small = repscope.required_examples(repscope.compare(a, b), half_width=0.02)
    assert small.n == 200
    assert (small.for_width > 200).all()
    more = networks(2, 1.0, n=int(small.for_width.max()))
    (a, b) = more.values()
    low, high = repscope.compare(a, b).interval()
    assert float(((high - low) / 2).max()) < 0.03


@pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")  # of few examples
def test_the_sentence_says_it():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 200)), rng.standard_normal((30, 200))
    few = repscope.required_examples(repscope.compare({"x": x}, {"y": y}, estimator="biased"))
    assert str(few).startswith("30 examples are too few for 1 of 1 scores; up to about ")
    x = rng.standard_normal((3000, 2))
    enough = repscope.required_examples(repscope.compare({"x": x}, {"y": x + 0.01 * rng.standard_normal((3000, 2))}))
    assert str(enough) == "3,000 examples are enough for all 1 scores."


@pytest.mark.filterwarnings("ignore::repscope.DegenerateInputWarning")
def test_of_constant_layers_nothing_is_said_to_be_enough():
    found = repscope.required_examples(repscope.compare({"x": np.ones((40, 3))}))
    assert str(found) == "None of 1 scores is defined."


def test_what_cannot_be_told_is_refused():
    rng = np.random.default_rng(0)
    layers = {"x": rng.standard_normal((40, 3))}
    with pytest.raises(InputError, match="comparison must be of CKA, got 'procrustes'"):
        repscope.required_examples(repscope.compare(layers, measure="procrustes"))
    with pytest.raises(InputError, match="must have standard errors"):
        repscope.required_examples(repscope.compare(layers, intervals=False))
    with pytest.raises(InputError, match="chance must lie between 0 and 1"):
        repscope.required_examples(repscope.compare(layers), chance=5)


def test_a_curve_over_the_number_of_examples():
    (a, b) = networks(2, 1.0, n=200).values()
    curve = repscope.compare_sizes(a, b, sizes=[200, 20, 60])
    assert [one.n for one in curve] == [20, 60, 200]
    np.testing.assert_array_equal(curve[-1].values, repscope.compare(a, b).values)
    assert all(one.standard_errors is not None and one.null_sd is not None for one in curve)
    assert [one.n for one in repscope.compare_sizes(a)] == [25, 50, 100, 200]
    with pytest.raises(InputError, match="sizes must lie between 8 and the 200 examples"):
        repscope.compare_sizes(a, b, sizes=[4, 300])
    with pytest.raises(InputError, match="compare_sizes: seed must be a whole number from 0 on, got -1"):
        repscope.compare_sizes(a, b, seed=-1)
    for wrong in (20, [20.5, 30]):
        with pytest.raises(InputError, match="compare_sizes: sizes must be a list of whole numbers, got"):
            repscope.compare_sizes(a, b, sizes=wrong)
