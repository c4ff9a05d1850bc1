"""Chance levels in closed form against every permutation, and against many drawn ones, on every route."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import repscope
from repscope import RBF, compare
from repscope.engine.batchwise import accumulate_batches
from repscope.engine.exact import accumulate_moments, accumulate_tiles
from repscope.engine.partial import Partial, Shard
from repscope.engine.run import GramScores, finish
from repscope.engine.stream import ArraySource
from repscope.inference.moments import DirectedSums, Null, directed_moments, hsic_null, product_moments, skewness
from repscope.measures._sums import CenteredSums
from repscope.measures._thirds import third_order
from repscope.measures.catalog import configure
from repscope.measures.kernels import Estimator, Laplace, Linear, as_kernel, center_gram
from tests.engine.streams import CutSource, related_layers
from tests.reference.permutations import all_scores, drawn_scores
from tests.reference.permutations import skewness as slow_skewness

# What else is noteworthy about a few random examples is tested elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore::repscope.errors.DiagnosticWarning")

ESTIMATORS: tuple[Estimator, ...] = ("unbiased", "biased")
KERNELS = [Linear(), RBF(0.4), Laplace(1.0), as_kernel("polynomial"), as_kernel("cosine")]

MEASURES: list[tuple[str, dict[str, Any]]] = [
    ("cka", {}),
    ("cka", {"estimator": "biased"}),
    ("cka", {"kernel": RBF(0.4)}),
    ("cka", {"kernel": RBF(0.4), "estimator": "biased"}),
    ("cka", {"kernel": lambda x: (x @ x.T) ** 2}),
    ("cka", {"kernel": lambda x: (x @ x.T) ** 2, "estimator": "biased"}),
    ("hsic", {}),
    ("hsic", {"estimator": "biased"}),
    ("hsic", {"kernel": lambda x: (x @ x.T) ** 2}),
    ("cca", {}),
    ("svcca", {"variance": 0.8}),
    ("linear_regression", {}),
    ("linear_regression", {"regularization": 0.05}),
    ("canonical_ridge", {"kappa_x": 2.0, "kappa_y": 0.5}),
    ("canonical_ridge", {"kappa_x": 2.0, "kappa_y": 0.5, "normalizer": "truncated"}),
    ("canonical_ridge", {"kappa_x": 0.0, "kappa_y": 3.0, "normalizer": "matched"}),
    ("ensd", {}),
    ("eigenspace_overlap", {}),
    ("distance_correlation", {}),
    ("gulp", {}),
    ("gulp", {"regularization": 0.0}),
]


def label(case: Any) -> str | None:
    return None if isinstance(case, str) else "-".join(f"{k}={getattr(v, '__name__', v)}" for k, v in case.items())


def layers_of(n: int, widths: tuple[int, ...], seed: int = 0) -> dict[str, np.ndarray]:
    return {f"layer{i}": x for i, x in enumerate(related_layers(n, widths, np.random.default_rng(seed)))}


def scorer(measure: str, options: dict[str, Any]) -> Callable[..., float]:
    configured = configure(measure, **options)
    return lambda x, y: float(configured.score(configured.prepare(x), configured.prepare(y)))


# -- every permutation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("measure", "options"), MEASURES, ids=label)
def test_mean_and_deviation_are_those_of_all_permutations(measure: str, options: dict[str, Any]) -> None:
    a, b = layers_of(5, (2, 3), seed=0), layers_of(5, (1, 2), seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", repscope.RankWarning)
        result = compare(a, b, measure=measure, **options)
        score = scorer(measure, options)
        for i, x in enumerate(a.values()):
            for j, y in enumerate(b.values()):
                scores = all_scores(score, x, y)
                assert result.null_mean[i, j] == pytest.approx(scores.mean(), rel=1e-9, abs=1e-9 * scores.std())
                assert result.null_sd[i, j] == pytest.approx(scores.std(), rel=1e-8)
    assert result.conventions["null"] == "permutations of the examples; too few examples for p values"
    assert np.isnan(result.p_values).all()


@pytest.mark.parametrize("n", [4, 5, 7])
def test_any_symmetric_matrices_whose_rows_sum_to_zero(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = (center_gram(x + x.T, "biased") for x in rng.standard_normal((2, n, n)))
    scores = all_scores(lambda a, order: np.vdot(a, b[np.ix_(order, order)]), a, np.arange(n))
    mean, variance = product_moments(sums_of(a), sums_of(b))
    np.testing.assert_allclose(mean, scores.mean(), rtol=1e-9, atol=1e-9 * scores.std())
    np.testing.assert_allclose(variance, scores.var(), rtol=1e-9)


def sums_of(a: np.ndarray) -> CenteredSums:
    """The sums of one matrix, as their definitions read."""
    return CenteredSums(len(a), *(np.array([v]) for v in (np.trace(a), np.sum(np.diag(a) ** 2), np.vdot(a, a))))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_the_skewness_is_that_of_all_permutations(kernel: Any, estimator: Estimator) -> None:
    n = 8
    x, y = (kernel.gram(layer) for layer in related_layers(n, (2, 3), np.random.default_rng(3)))
    u, v = (center_gram(gram, estimator) for gram in (x, y))
    scores = all_scores(lambda u, order: np.vdot(u, v[np.ix_(order, order)]), u, np.arange(n))
    found = skewness(sums_of(u), sums_of(v), third_order(x)[None], third_order(y)[None])
    np.testing.assert_allclose(found, slow_skewness(scores), rtol=1e-9)


def test_examples_of_unequal_length_skew_a_product_that_has_a_diagonal() -> None:
    """The p values of the biased estimator err at once where the skewness is that of the unbiased one."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((40, 60)) * np.exp(rng.standard_normal((40, 1))) for _ in range(2))
    u, v = (center_gram(z @ z.T, "biased") for z in (x, y))
    orders = np.array([rng.permutation(40) for _ in range(20_000)])
    scores = np.array([np.vdot(u, v[np.ix_(order, order)]) for order in orders])
    scores /= np.linalg.norm(u) * np.linalg.norm(v)
    result = compare({"x": x}, {"y": y}, estimator="biased")
    assert result.p_values is not None
    highest = np.quantile(scores, 0.95)
    null = Null(*(np.array([[m]]) for m in (scores.mean(), scores.std(), slow_skewness(scores))), 0.0)
    assert slow_skewness(scores) > 1
    np.testing.assert_allclose(result.p_values, null.p_values(result.values), rtol=0.1)
    assert null.p_values(np.array([[highest]]))[0, 0] == pytest.approx(0.05, abs=0.015)


def test_the_p_value_is_near_that_of_all_permutations_already_for_eight_examples() -> None:
    layers = layers_of(8, (2, 5, 3), seed=1)
    result = compare(layers, measure="hsic")
    u, *others = (center_gram(x @ x.T, "unbiased") for x in layers.values())
    for j, v in enumerate(others, start=1):
        scores = all_scores(lambda u, order, v=v: np.vdot(u, v[np.ix_(order, order)]) / 40, u, np.arange(8))
        assert result.p_values[0, j] == pytest.approx(np.mean(scores >= result.values[0, j] - 1e-9), abs=0.05)


def test_no_p_value_lies_below_that_of_the_best_permutation() -> None:
    one = np.ones((1, 1))
    null = Null(0 * one, 0.01 * one, 0.1 * one, 1 / math.factorial(8))
    np.testing.assert_allclose(null.p_values(one), 1 / math.factorial(8))
    assert 0 <= compare(layers_of(300, (3,))).p_values[0, 0] < 1e-30


def test_a_null_that_is_skewed_to_the_other_side_does_not_end() -> None:
    one = np.ones((1, 1))
    for skew in (-0.5, -2.0, -8.0):
        null = Null(0 * one, one, skew * one, 1e-80)
        far = -2 / skew + 3.0  # beyond the end of the distribution with these three moments
        assert null.p_values(far * one)[0, 0] > 1e-12
        assert null.p_values(far * one) == null.as_distances(0 * one).p_values(-2 * far * one)
    near = [Null(0 * one, one, skew * one, 1e-80).p_values(2 * one)[0, 0] for skew in (-1e-3, 0.0, 1e-3)]
    np.testing.assert_allclose(near, near[1], rtol=1e-2)


@pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")  # a few examples dominate: that is the point
def test_unrelated_layers_of_unequal_examples_are_not_significant() -> None:
    rejected = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        layers = {
            f"{side}{k}": rng.standard_normal((60, 20)) * np.exp(1.5 * rng.standard_normal((60, 1)))
            for side in "ab"
            for k in range(6)
        }
        sides = ({name: x for name, x in layers.items() if name[0] == side} for side in "ab")
        rejected.append(compare(*sides, intervals=False).p_values)
    p = np.concatenate([values.ravel() for values in rejected])
    assert np.mean(p <= 0.05) < 0.09
    assert np.mean(p <= 1e-3) < 0.02
    assert p.min() > 1e-7


# -- many drawn permutations -----------------------------------------------------------------------------------------

DRAWN = 20_000


def products_of(layers: list[np.ndarray], kernel: Any, estimator: Estimator, orders: np.ndarray) -> np.ndarray:
    """⟨A, PBPᵀ⟩ for each of the orders and each pair of layers (orders, L, L)."""
    grams = [center_gram(kernel.gram(x), estimator) for x in layers]
    stack = np.stack([g.ravel() for g in grams])
    return np.array([stack @ np.stack([g[np.ix_(o, o)].ravel() for g in grams]).T for o in orders])


def null_of(source: CutSource, kernel: Any, estimator: Estimator, route: str) -> tuple[GramScores, Any]:
    if route == "moments":
        partials = [accumulate_moments(source, kernel)]
    elif route == "tiles":
        partials = [accumulate_tiles(source, kernel, held_batches=1, tile_rows=9, bandwidth_examples=10**6, seed=0)]
    else:
        partials = [accumulate_batches(source, kernel, estimator)]
    scores = finish(partials, estimator, source.names, 8)
    return scores, hsic_null(scores, estimator).divided(1 / np.outer(scores.units, scores.units))


def check_drawn(null: Any, scores: np.ndarray) -> None:
    """Mean and deviation within five standard errors, and the skewness near enough for a p-value."""
    mean, sd = scores.mean(axis=0), scores.std(axis=0)
    kurtosis = np.mean(((scores - mean) / sd) ** 4, axis=0)
    count = len(scores)
    assert (np.abs(null.mean - mean) < 5 * sd / math.sqrt(count)).all()
    assert (np.abs(null.sd / sd - 1) < 5 * np.sqrt((kurtosis - 1) / (4 * count))).all()
    for quantile in (0.5, 0.95, 0.99):
        value = np.quantile(scores, quantile, axis=0)
        np.testing.assert_allclose(null.p_values(value), 1 - quantile, atol=0.3 * (1 - quantile) + 0.004)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    ("kernel", "route"),
    [(Linear(), "moments"), (Linear(), "tiles"), (RBF(0.4), "tiles"), (Laplace(1.0), "tiles")],
    ids=repr,
)
def test_the_null_of_sums_is_that_of_drawn_permutations(kernel: Any, route: str, estimator: Estimator) -> None:
    rng = np.random.default_rng(0)
    n = 30
    layers = related_layers(n, (4, 50), rng)
    _, null = null_of(CutSource(layers, [12, 18]), kernel, estimator, route)
    orders = np.array([rng.permutation(n) for _ in range(DRAWN)])
    normalizer = n * (n - 3) if estimator == "unbiased" else (n - 1) ** 2
    check_drawn(null, products_of(layers, kernel, estimator, orders) / normalizer)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kernel", [Linear(), RBF(0.4)], ids=repr)
def test_the_null_of_batches_is_that_of_permutations_within_each(kernel: Any, estimator: Estimator) -> None:
    rng = np.random.default_rng(0)
    layers = related_layers(46, (4, 50), rng)
    sizes = [16, 16, 14]
    _, null = null_of(CutSource(layers, sizes), kernel, estimator, "batch")
    total, end = np.zeros((5000, 2, 2)), 0
    for b in sizes:
        orders = np.array([rng.permutation(b) for _ in range(5000)])
        normalizer = b * (b - 3) if estimator == "unbiased" else (b - 1) ** 2
        total += products_of([x[end : end + b] for x in layers], kernel, estimator, orders) / normalizer / len(sizes)
        end += b
    check_drawn(null, total)


PROJECTIONS = [case for case in MEASURES if case[0] not in ("cka", "hsic")]


@pytest.mark.parametrize(("measure", "options"), PROJECTIONS, ids=label)
def test_the_null_of_projections_is_that_of_drawn_permutations(measure: str, options: dict[str, Any]) -> None:
    a, b = layers_of(50, (20,), seed=1), layers_of(50, (8,), seed=2)
    result = compare(a, b, measure=measure, **options)
    scores = drawn_scores(scorer(measure, options), a["layer0"], b["layer0"], 500, np.random.default_rng(0))
    assert abs(result.null_mean[0, 0] - scores.mean()) < 5 * scores.std() / math.sqrt(500)
    assert result.null_sd[0, 0] == pytest.approx(scores.std(), rel=0.2)
    drawn = np.mean(scores >= result.values[0, 0] if result.kind == "similarity" else scores <= result.values[0, 0])
    assert result.p_values[0, 0] == pytest.approx(drawn, abs=0.02 + 2 / math.sqrt(500))


def normal(n: int, *widths: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Layers without equal or empty examples, so that no two distances tie."""
    rng = np.random.default_rng(seed)
    return {f"layer{i}": rng.standard_normal((n, p)) for i, p in enumerate(widths)}


def directed(a: np.ndarray) -> DirectedSums:
    """The sums of one matrix, as their definitions read."""
    out, into = a.sum(axis=1), a.sum(axis=0)
    sums = a.sum(), (a**2).sum(), (a * a.T).sum(), (out**2).sum(), (into**2).sum(), (out * into).sum()
    return DirectedSums(len(a), *(np.array([s]) for s in sums))


@pytest.mark.parametrize("n", [4, 5, 7])
def test_any_matrices_with_zero_diagonals(n: int) -> None:
    a, b = np.random.default_rng(n).standard_normal((2, n, n)) * (1 - np.eye(n)) + 0.3 * (1 - np.eye(n))
    scores = all_scores(lambda a, order: np.vdot(a, b[np.ix_(order, order)]), a, np.arange(n))
    mean, variance = directed_moments(directed(a), directed(b))
    np.testing.assert_allclose(mean, scores.mean(), rtol=1e-9)
    np.testing.assert_allclose(variance, scores.var(), rtol=1e-9)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_shared_neighbours_by_chance_are_those_of_all_permutations(k: int) -> None:
    a, b = normal(6, 2, 3), normal(6, 4, 2, seed=1)
    result = compare(a, b, measure="mutual_knn", k=k)
    np.testing.assert_allclose(result.null_mean, k / 5, rtol=1e-12)
    score = scorer("mutual_knn", {"k": k})
    for i, x in enumerate(a.values()):
        for j, y in enumerate(b.values()):
            scores = all_scores(score, x, y)
            assert scores.mean() == pytest.approx(k / 5)
            assert result.null_sd[i, j] == pytest.approx(scores.std(), rel=1e-9)
    assert result.conventions["null"] == "permutations of the examples; too few examples for p values"


def test_shared_neighbours_by_chance_are_those_of_drawn_permutations() -> None:
    n, k = 40, 5
    a, b = normal(n, 20), normal(n, 3, seed=1)
    result = compare(a, b, measure="mutual_knn", k=k)
    near = [np.zeros((n, n)), np.zeros((n, n))]
    for x, matrix in zip((a["layer0"], b["layer0"]), near, strict=True):
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        np.put_along_axis(matrix, np.argsort(-(unit @ unit.T) + 9 * np.eye(n), axis=1)[:, :k], 1.0, axis=1)
    assert result.values[0, 0] == pytest.approx((near[0] * near[1]).sum() / (n * k))
    rng = np.random.default_rng(0)
    orders = [rng.permutation(n) for _ in range(DRAWN)]
    scores = np.array([np.vdot(near[0], near[1][np.ix_(o, o)]) for o in orders]) / (n * k)
    kurtosis = np.mean(((scores - scores.mean()) / scores.std()) ** 4)
    assert abs(result.null_mean[0, 0] - scores.mean()) < 5 * scores.std() / math.sqrt(DRAWN)
    assert abs(result.null_sd[0, 0] / scores.std() - 1) < 5 * math.sqrt((kurtosis - 1) / (4 * DRAWN))
    assert result.null_mean[0, 0] == pytest.approx(k / (n - 1))
    assert result.p_values is None
    assert result.conventions["null"] == "permutations of the examples; p values from permutation_test"


def test_the_null_of_distance_correlation_is_that_of_drawn_permutations() -> None:
    n = 30
    a, b = layers_of(n, (4, 50), seed=1), layers_of(n, (3,), seed=2)
    result = compare(a, b, measure="distance_correlation")

    def centred(x: np.ndarray) -> np.ndarray:
        found = center_gram(np.linalg.norm(x[:, None] - x[None], axis=-1), "unbiased")
        return found / np.linalg.norm(found)

    (right,) = (centred(y) for y in b.values())
    stack = np.stack([centred(x).ravel() for x in a.values()])
    rng = np.random.default_rng(0)
    orders = [rng.permutation(n) for _ in range(DRAWN)]
    scores = np.array([stack @ right[np.ix_(o, o)].ravel() for o in orders])
    np.testing.assert_allclose(result.values[:, 0], stack @ right.ravel())
    np.testing.assert_allclose(result.null_mean, 0, atol=1e-15)
    np.testing.assert_allclose(result.null_sd, math.sqrt(2 / (n * (n - 3))), rtol=1e-9)
    kurtosis = np.mean(((scores - scores.mean(axis=0)) / scores.std(axis=0)) ** 4, axis=0)
    assert (np.abs(scores.mean(axis=0)) < 5 * scores.std(axis=0) / math.sqrt(DRAWN)).all()
    allowed = 5 * np.sqrt((kurtosis - 1) / (4 * DRAWN))
    assert (np.abs(result.null_sd[:, 0] / scores.std(axis=0) - 1) < allowed).all()
    drawn = np.mean(scores >= result.values[:, 0], axis=0)
    np.testing.assert_allclose(result.p_values[:, 0], drawn, atol=0.02)
    assert compare(a, b, measure="distance_correlation", estimator="biased").null_mean is None


# -- identities ------------------------------------------------------------------------------------------------------


def test_unbiased_cka_has_one_chance_level_for_all_layers() -> None:
    result = compare(layers_of(40, (3, 60, 200)), kernel="rbf")
    np.testing.assert_array_equal(result.null_mean, 0)
    np.testing.assert_allclose(result.null_sd, math.sqrt(2 / (40 * 37)), rtol=1e-9)


def test_the_mean_of_biased_cka_is_the_root_of_the_participation_ratios() -> None:
    layers = layers_of(40, (3, 60))
    result = compare(layers, estimator="biased")
    ratios = []
    for x in layers.values():
        values = np.linalg.svd(x - x.mean(axis=0), compute_uv=False) ** 2
        ratios.append(values.sum() ** 2 / np.sum(values**2))
    np.testing.assert_allclose(result.null_mean, np.sqrt(np.outer(ratios, ratios)) / 39, rtol=1e-9)


def test_the_means_of_cca_and_regression_depend_on_the_widths_only() -> None:
    a, b = layers_of(40, (3, 9)), layers_of(40, (5, 2), seed=1)
    np.testing.assert_allclose(compare(a, b, measure="cca").null_mean, np.array([[5, 3], [9, 9]]) / 39, rtol=1e-9)
    np.testing.assert_allclose(
        compare(a, b, measure="linear_regression").null_mean, np.array([[5, 2], [5, 2]]) / 39, rtol=1e-9
    )


def test_a_forced_score_is_no_evidence() -> None:
    with pytest.warns(repscope.RankWarning):
        result = compare(layers_of(30, (40, 3)), layers_of(30, (5,), seed=1), measure="cca")
    assert result.values[0, 0] == pytest.approx(1)
    assert (result.null_mean[0, 0], result.p_values[0, 0]) == (pytest.approx(1), 1)
    assert result.null_sd[0, 0] < 1e-7
    assert result.p_values[1, 0] < 1


def test_scores_of_a_constant_layer_have_no_null() -> None:
    for measure in ("cka", "cca", "linear_regression", "gulp"):
        with pytest.warns(repscope.DegenerateInputWarning):
            result = compare(layers_of(30, (4,)) | {"dead": np.ones((30, 3))}, measure=measure)
        for array in (result.null_mean, result.null_sd, result.p_values):
            np.testing.assert_array_equal(np.isnan(array), [[False, True], [True, True]])


@pytest.mark.parametrize(
    ("measure", "options"),
    [("cca", {"summary": "mean"}), ("pwcca", {}), ("procrustes", {}), ("linear_regression", {"folds": 5})],
    ids=label,
)
def test_measures_without_a_closed_form_say_so(measure: str, options: dict[str, Any]) -> None:
    result = compare(layers_of(30, (4, 3)), measure=measure, **options)
    assert (result.null_mean, result.null_sd, result.p_values) == (None, None, None)
    assert result.conventions["null"] == "no closed form"


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.filterwarnings("ignore::repscope.RankWarning")
def test_fewer_than_four_examples_have_a_mean_only(n: int) -> None:
    result = compare(layers_of(n, (2, 3)), estimator="biased")
    assert np.isfinite(result.null_mean).all()
    assert np.isnan(result.null_sd).all()
    assert np.isnan(result.p_values).all()


# -- one null, however it was added up -------------------------------------------------------------------------------


def the_same(found: Any, expected: Any) -> None:
    for name in ("mean", "sd", "skewness"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("route", ["moments", "tiles", "batch"])
def test_shares_merge_to_the_same_null(route: str, estimator: Estimator) -> None:
    source = CutSource(related_layers(80, (5, 9, 40), np.random.default_rng(0)), [16] * 5)

    def share(shard: Shard, resume: Partial | None = None, checkpoint: Any = None) -> Partial:
        more = {"shard": shard, "resume": resume, "checkpoint": checkpoint}
        if route == "moments":
            return accumulate_moments(source, Linear(), **more)
        if route == "tiles":
            return accumulate_tiles(source, Linear(), held_batches=1, bandwidth_examples=1, seed=0, **more)
        return accumulate_batches(source, Linear(), estimator, **more)

    def null(partials: list[Partial]) -> Any:
        return hsic_null(finish(partials, estimator, source.names, 8), estimator)

    whole = null([share(Shard())])
    the_same(null([share(Shard(i, 6)) for i in reversed(range(6))]), whole)  # the last has nothing to do
    kept: list[Partial] = []

    def keep(state: Callable[[], Partial]) -> None:
        p = state()
        kept.append(Partial(p.route, p.shard, p.done, p.complete, copied(p)))

    share(Shard(), checkpoint=keep)
    the_same(null([share(Shard(), resume=kept[1])]), whole)


def test_the_order_of_a_stream_does_not_alter_its_p_values() -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 8], 512)  # within a class 40 equal directions, over both one that outweighs them
    layers = [rng.standard_normal((1024, 40)) for _ in range(2)]
    layers[0][:, 0] += classes
    layers[1][:, 0] += rng.permutation(classes)
    order = rng.permutation(1024)

    def skewness_of(source: Any) -> Any:
        scores = finish([accumulate_moments(source, Linear())], "unbiased", source.names, 8)
        return hsic_null(scores, "unbiased").skewness

    expected = skewness_of(ArraySource(layers, ["x", "y"]))
    for given in (layers, [x[order] for x in layers]):
        np.testing.assert_allclose(skewness_of(CutSource(given, [64] * 16)), expected, rtol=0.1)


def copied(partial: Partial) -> dict[str, np.ndarray]:
    return {name: np.array(array) for name, array in partial.arrays.items()}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_every_route_has_the_same_null(estimator: Estimator) -> None:
    layers = related_layers(80, (5, 9, 40), np.random.default_rng(0))
    tiles, moments = (null_of(CutSource(layers, [80]), Linear(), estimator, route)[1] for route in ("tiles", "moments"))
    the_same(moments, tiles)
    given = compare(dict(enumerate(layers)), measure="hsic", estimator=estimator)
    custom = compare(dict(enumerate(layers)), measure="hsic", estimator=estimator, kernel=lambda x: x @ x.T)
    for result in (given, custom):
        np.testing.assert_allclose(result.null_mean, tiles.mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(result.null_sd, tiles.sd, rtol=1e-9)
        np.testing.assert_allclose(result.p_values, tiles.p_values(result.values), rtol=1e-6, atol=1e-12)


def test_single_precision_has_the_same_null() -> None:
    layers = layers_of(60, (5, 40))
    for estimator in ESTIMATORS:
        double = compare(layers, estimator=estimator)
        single = compare({k: x.astype(np.float32) for k, x in layers.items()}, estimator=estimator)
        np.testing.assert_allclose(single.null_mean, double.null_mean, rtol=1e-5)
        np.testing.assert_allclose(single.null_sd, double.null_sd, rtol=1e-4)
        np.testing.assert_allclose(single.p_values, double.p_values, rtol=1e-2, atol=1e-6)


def test_a_file_keeps_the_null(tmp_path: Any) -> None:
    result = compare(layers_of(30, (4, 3)))
    again = repscope.load(result.save(tmp_path / "kept.npz"))
    np.testing.assert_array_equal(again.p_values, result.p_values)
    assert again.equals(result)
