"""Similarity beyond a confounder, and of populations of which units are a sample."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import repscope
from repscope import (
    DegenerateInputWarning,
    DiagnosticWarning,
    InputError,
    RankWarning,
    cka,
    cka_of_populations,
    deconfounded_cka,
    partial_similarity,
)
from repscope.measures.kernels import as_kernel
from tests.conftest import Library
from tests.reference import confounds as reference


def confounded(rng: np.random.Generator, n: int = 60, shared: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two representations that hold the inputs, and ``shared`` of something else."""
    z, other = rng.standard_normal((n, 4)), rng.standard_normal((n, 3))
    x = np.hstack([2 * z, shared * other, 0.5 * rng.standard_normal((n, 3))]) @ rng.standard_normal((10, 6))
    y = np.hstack([2 * z, shared * other, 0.5 * rng.standard_normal((n, 3))]) @ rng.standard_normal((10, 5))
    return x + 3, y - 1, z


# -- deconfounded CKA ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("psd", [True, False])
def test_deconfounded_cka_is_that_of_the_definition(psd: bool, rng: np.random.Generator) -> None:
    x, y, z = confounded(rng, shared=1.0)
    found = deconfounded_cka(x, y, z, psd=psd)
    assert found.value == pytest.approx(reference.deconfounded_cka(x, y, z, psd), abs=1e-10)
    assert found.without_projection == pytest.approx(reference.deconfounded_cka(x, y, z, False), abs=1e-10)
    assert found.psd is psd


def test_without_the_projection_it_is_the_partial_correlation_of_gram_matrices(rng: np.random.Generator) -> None:
    x, y, z = confounded(rng, shared=1.0)
    found = deconfounded_cka(x, y, z, psd=False, estimator="unbiased")
    assert found.value == pytest.approx(reference.partial_correlation(x, y, z), abs=1e-10)


def test_what_only_the_inputs_share_is_taken_out(rng: np.random.Generator) -> None:
    """x and y are the inputs with noise: given those of the inputs, their Gram matrices are alike by chance only."""
    inputs = rng.standard_normal((400, 6))
    x, y = (inputs + rng.standard_normal((400, 6)) for _ in range(2))
    found = deconfounded_cka(x, y, inputs, psd=False, estimator="unbiased")
    assert abs(found.value) < 0.05 < 0.2 < float(cka(x, y))


def test_an_unrelated_confounder_changes_nothing(rng: np.random.Generator) -> None:
    x, y, _ = confounded(rng, 300, shared=1.0)
    found = deconfounded_cka(x, y, rng.standard_normal((300, 50)), psd=False, estimator="unbiased")
    assert found.value == pytest.approx(float(cka(x, y)), abs=0.01)
    assert max(found.explained) < 0.01


def test_the_projection_says_how_much_it_cuts(rng: np.random.Generator) -> None:
    x, y, z = confounded(rng, shared=0.5)
    found = deconfounded_cka(x, y, z, psd=True)
    assert found.value != pytest.approx(found.without_projection, abs=0.05)
    assert all(0.05 < share < 0.5 for share in found.negative)
    assert all(0 < share < 1 for share in found.explained)


@pytest.mark.parametrize("psd", [True, False])
def test_nothing_is_left_of_the_confounder_itself(psd: bool, rng: np.random.Generator) -> None:
    _, y, z = confounded(rng)
    with pytest.warns(DegenerateInputWarning, match="the confounder explains all of x or y"):
        found = deconfounded_cka(3 * z + 1, y, z, psd=psd)
    assert math.isnan(found.value)
    assert found.explained[0] == pytest.approx(1.0)


def test_kernels_are_those_of_cka(rng: np.random.Generator) -> None:
    x, y, _ = confounded(rng, 80, shared=1.0)
    unrelated = rng.standard_normal((80, 40))
    found = deconfounded_cka(x, y, unrelated, psd=False, kernel=repscope.RBF(0.8))
    assert found.value == pytest.approx(float(cka(x, y, kernel=repscope.RBF(0.8), estimator="biased")), abs=0.1)


# -- partial similarity --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["cca", "procrustes", "linear_regression"])
def test_partial_similarity_is_that_of_the_residuals(measure: str, rng: np.random.Generator) -> None:
    x, y, z = confounded(rng, shared=1.0)
    expected = repscope.score(measure, reference.residual(x, z), reference.residual(y, z))
    assert partial_similarity(measure, x, y, z) == pytest.approx(float(expected), abs=1e-9)


@pytest.mark.parametrize("kernel", ["linear", repscope.RBF(0.8)], ids=str)
def test_unbiased_partial_similarity_is_that_of_the_nearest_matrices_beside_the_third(kernel, rng) -> None:
    x, y, z = (a[:12] for a in confounded(rng, shared=1.0))
    z = z[:, :2]
    k, l = (as_kernel(kernel).gram(reference.residual(a, z)) for a in (x, y))  # noqa: E741
    beside_k, beside_l = (reference.beside(gram, z) for gram in (k, l))
    product = np.vdot(beside_k, beside_l)
    lengths = np.linalg.norm(beside_k) * np.linalg.norm(beside_l)
    assert partial_similarity("cka", x, y, z, kernel=kernel) == pytest.approx(product / lengths, abs=1e-9)
    free = 9 * 10 - 2 * 12  # twice the dimensions of such matrices
    assert partial_similarity("hsic", x, y, z, kernel=kernel) == pytest.approx(product / free, rel=1e-8)


def test_unrelated_wide_layers_have_nothing_in_common_beside_a_third() -> None:
    rng = np.random.default_rng(0)
    x, y, z = rng.standard_normal((100, 1000)), rng.standard_normal((100, 1000)), rng.standard_normal((100, 20))
    assert float(cka(reference.residual(x, z), reference.residual(y, z))) > 0.5  # what plain centring makes of it
    assert partial_similarity("cka", x, y, z) == pytest.approx(0, abs=0.03)
    assert partial_similarity("hsic", x, y, z) == pytest.approx(0, abs=40)  # of themselves: 1,000
    assert partial_similarity("cka", x, x + 0.1 * y, z) > 0.97
    with pytest.warns(RankWarning, match="100 examples are few for 20 features of given"):
        partial_similarity("rsa", x, y, z)


def test_rounding_of_the_third_is_no_feature(rng: np.random.Generator) -> None:
    x, y, _ = confounded(rng, shared=1.0)
    z = rng.standard_normal((60, 3)) @ rng.standard_normal((3, 30))
    expected = partial_similarity("cca", x, y, z)
    assert partial_similarity("cca", x, y, z.astype(np.float32)) == pytest.approx(expected, abs=1e-5)
    assert partial_similarity("cka", x, y, z.astype(np.float32)) == pytest.approx(
        partial_similarity("cka", x, y, z), abs=1e-5
    )


def test_an_example_that_only_the_third_knows_is_left_with_nothing(rng: np.random.Generator) -> None:
    x, y, z = confounded(rng, shared=1.0)
    alone = np.zeros((60, 1))
    alone[7] = 1
    rest = np.delete(np.arange(60), 7)
    expected = partial_similarity("cka", x[rest], y[rest], z[rest])
    assert partial_similarity("cka", x, y, np.hstack([z, alone])) == pytest.approx(expected, abs=1e-9)


def test_options_reach_the_measure(rng: np.random.Generator) -> None:
    x, y, z = confounded(rng, shared=1.0)
    expected = cka(reference.residual(x, z), reference.residual(y, z), estimator="biased")
    assert partial_similarity("cka", x, y, z, estimator="biased") == pytest.approx(float(expected), abs=1e-10)


def test_a_representation_that_is_linear_in_the_third_leaves_nothing(rng: np.random.Generator) -> None:
    _, y, z = confounded(rng)
    with pytest.warns(DegenerateInputWarning):
        assert math.isnan(partial_similarity("cka", 1e3 * z @ rng.standard_normal((4, 6)) + 7, y, z))


@pytest.mark.parametrize("measure", ["cka", "hsic", "cca", "procrustes"])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_rounding_of_single_precision_is_nothing_that_is_left(measure: str, offset: float) -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((60, 4)).astype(np.float32)
    x = z @ rng.standard_normal((4, 6)).astype(np.float32) + np.float32(offset)
    if measure == "hsic":
        assert partial_similarity(measure, x, x, z) == 0
        return
    with pytest.warns(DegenerateInputWarning):
        assert math.isnan(partial_similarity(measure, x, x, z))
    y = x + rng.standard_normal(x.shape).astype(np.float32) / 20
    assert partial_similarity(measure, y, y, z) == pytest.approx(0 if measure == "procrustes" else 1, abs=1e-6)


@pytest.mark.parametrize("psd", [True, False])
def test_rounding_of_a_single_precision_confounder_is_nothing_that_is_left(psd: bool) -> None:
    rng = np.random.default_rng(0)
    z = rng.standard_normal((60, 4)).astype(np.float32)
    x, y = np.float32(0.1) * z, np.float32(0.3) * z
    with pytest.warns(DegenerateInputWarning, match="deconfounded_cka: the confounder explains all of x or y"):
        assert math.isnan(deconfounded_cka(x, y, z, psd=psd).value)


def test_a_constant_third_representation_takes_nothing_out(rng: np.random.Generator) -> None:
    x, y, _ = confounded(rng, shared=1.0)
    assert partial_similarity("cka", x, y, np.ones((60, 2))) == pytest.approx(float(cka(x, y)), abs=1e-12)


def test_few_examples_for_the_third_are_said_and_too_few_refused(rng: np.random.Generator) -> None:
    x, y, _ = confounded(rng)
    with pytest.warns(RankWarning, match="60 examples are few for 20 features of given"):
        partial_similarity("cka", x, y, rng.standard_normal((60, 20)), estimator="biased")
    with pytest.raises(
        InputError, match="leave more than 11 of 60 examples' dimensions for an unbiased estimate, got 50"
    ):
        partial_similarity("cka", x, y, rng.standard_normal((60, 50)))
    with pytest.raises(InputError, match="given must leave at least 4 of 60 examples' dimensions, got 59"):
        partial_similarity("cka", x, y, rng.standard_normal((60, 70)))


# -- populations of units ------------------------------------------------------------------------------------------


def populations(rng: np.random.Generator, n: int, p: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    latent = rng.standard_normal((n, 5))
    x, y = (latent @ rng.standard_normal((5, p)) + noise * rng.standard_normal((n, p)) for _ in range(2))
    return x + 2, y


@pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")
def test_it_is_the_mean_over_pairs_of_different_units(rng: np.random.Generator) -> None:
    x, y = populations(rng, 12, 4)
    y = y[:, :3]
    assert cka_of_populations(x, y) == pytest.approx(reference.cka_of_populations(x, y), rel=1e-10)


@pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")
def test_few_units_no_longer_lower_the_similarity_of_populations(rng: np.random.Generator) -> None:
    """Equal populations: unit variance of noise, five latent variables, CKA of all units is 1."""
    pairs = [populations(rng, 200, 100) for _ in range(8)]
    plain = np.mean([float(cka(x, y)) for x, y in pairs])
    corrected = np.mean([cka_of_populations(x, y) for x, y in pairs])
    assert plain < 0.96
    assert corrected == pytest.approx(1.0, abs=0.02)


def test_a_value_above_one_is_never_silent(rng: np.random.Generator) -> None:
    above = 0
    for _ in range(10):
        x, y = populations(rng, 100, 40)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            value = cka_of_populations(x, y)
        assert (value > 1) == any("is above 1, which is no similarity" in str(w.message) for w in caught)
        above += value > 1
    assert 0 < above < 10


def test_one_side_may_be_whole(rng: np.random.Generator) -> None:
    x, y = populations(rng, 60, 40)
    swapped = cka_of_populations(y, x, sampled="y")
    assert cka_of_populations(x, y, sampled="x") == pytest.approx(swapped, rel=1e-12)
    assert float(cka(x, y)) < swapped < 1


def test_few_units_are_said(rng: np.random.Generator) -> None:
    x, y = populations(rng, 60, 40)
    with pytest.warns(DiagnosticWarning, match="x has 29 units; with fewer than 30"):
        cka_of_populations(x[:, :29], y[:, :30], sampled="x")


def test_a_denominator_that_is_not_positive_is_no_similarity(rng: np.random.Generator) -> None:
    x, y = rng.standard_normal((8, 40)), rng.standard_normal((8, 40))
    values = []
    for seed in range(30):
        x = np.random.default_rng(seed).standard_normal((8, 40))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            values.append(cka_of_populations(x, y, sampled="x"))
        assert math.isnan(values[-1]) == any("The result is NaN" in str(w.message) for w in caught)
    assert any(map(math.isnan, values))
    with pytest.warns(DegenerateInputWarning):
        assert math.isnan(cka_of_populations(np.ones((8, 40)), y))


# -- libraries and bad input ---------------------------------------------------------------------------------------

CALLS: dict[str, Callable[..., Any]] = {
    "deconfounded_cka": lambda x, y, z: deconfounded_cka(x, y, z, psd=True).value,
    "partial_similarity": lambda x, y, z: partial_similarity("cka", x, y, z),
    "cka_of_populations": lambda x, y, z: cka_of_populations(x, y),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")
def test_every_library_gives_the_same_value(name: str, xp: Library, rng: np.random.Generator) -> None:
    x, y, z = confounded(rng, shared=1.0)
    found = CALLS[name](*(xp.array(a) for a in (x, y, z)))
    assert isinstance(found, float)
    assert found == pytest.approx(CALLS[name](x, y, z), rel=1e-9 if xp.double else 1e-2)


def test_bad_input_is_refused(rng: np.random.Generator) -> None:
    x, y, z = confounded(rng)
    with pytest.raises(InputError, match="deconfounded_cka: x and confound must have the same number of rows"):
        deconfounded_cka(x, y, z[:50], psd=True)
    with pytest.raises(InputError, match="deconfounded_cka: confound must vary over the examples"):
        deconfounded_cka(x, y, np.ones((60, 2)), psd=True)
    with pytest.raises(InputError, match="deconfounded_cka: psd must be True or False, got 'yes'"):
        deconfounded_cka(x, y, z, psd="yes")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="deconfounded_cka: estimator must be one of"):
        deconfounded_cka(x, y, z, psd=True, estimator="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="partial_similarity: given must be finite"):
        partial_similarity("cka", x, y, z * np.nan)
    with pytest.raises(InputError, match="cka_of_populations: x must have at least 2 units"):
        cka_of_populations(x[:, :1], y)
    with pytest.raises(InputError, match="cka_of_populations: sampled must be one of"):
        cka_of_populations(x, y, sampled="neither")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cka_of_populations: x must have at least 4 rows"):
        cka_of_populations(x[:3], y[:3])
