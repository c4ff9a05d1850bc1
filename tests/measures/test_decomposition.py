"""The routes of the shared decomposition: the same answer from moments, Gram matrix and SVD, and one rule of rank."""

from __future__ import annotations

import numpy as np
import pytest

import repscope
from repscope.measures import _decomposition as routes
from repscope.measures._arrays import center_and_scale
from repscope.measures.catalog import CATALOG, configure
from tests.measures.examples import pair


def conditioned(n, p, condition, *, seed=0, dtype=np.float64):
    """Random centred features whose singular values fall geometrically from 1 to 1/condition."""
    rng = np.random.default_rng([seed, n, p])
    r = min(n - 1, p)
    left = rng.normal(size=(n, r))
    left, _ = np.linalg.qr(left - left.mean(axis=0))
    right, _ = np.linalg.qr(rng.normal(size=(p, r)))
    return ((left * np.geomspace(1, 1 / condition, r)) @ right.T).astype(dtype)


def by_svd(x):
    """Basis and singular values from numpy's SVD in float64, with the package's rank rule."""
    features = x.astype(np.float64)
    features = features - features.mean(axis=0)
    basis, singular, _ = np.linalg.svd(features, full_matrices=False)
    tolerance = routes.rank_tolerance(np, x.dtype, features.dtype, features.shape)
    rank = int(np.count_nonzero(singular > tolerance * singular[0]))
    return basis[:, :rank], singular[:rank]


def angle(basis, other):
    """Sine of the largest angle between two subspaces of one dimension."""
    return np.linalg.norm(other - basis @ (basis.T @ other), 2)


CONDITIONS = [1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7]


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("shape", [(60, 8), (60, 40), (30, 30), (30, 80)], ids=str)
def test_double_precision(shape, condition):
    x = conditioned(*shape, condition)
    found = routes.decompose(x)
    basis, singular = by_svd(x)
    assert found.rank == len(singular) == min(shape[0] - 1, shape[1])
    assert found.shape == shape
    # Orthonormal to rounding however ill-conditioned; the span as exact as the route's eps allows.
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(found.rank), atol=2e-14)
    squared = 2e-16 * condition**2 if condition <= 1e3 else 0.0
    assert angle(found.basis, basis) < 1e-14 * condition + squared
    np.testing.assert_allclose(found.singular_values * found.scale, singular, rtol=1e-9)
    assert np.all(np.diff(found.singular_values) <= 0)


@pytest.mark.parametrize("condition", [1e1, 1e3, 1e4, 1e5])
@pytest.mark.parametrize("shape", [(60, 8), (60, 40), (30, 80)], ids=str)
def test_single_precision_is_decomposed_in_double(shape, condition):
    x = conditioned(*shape, condition, dtype=np.float32)
    found = routes.decompose(x)
    basis, singular = by_svd(x)
    assert found.basis.dtype == np.float64
    assert found.rank == len(singular)
    np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(found.rank), atol=1e-13)
    assert angle(found.basis, basis) < 1e-14 + 2e-16 * condition**2 < 6e-8 * condition
    np.testing.assert_allclose(found.singular_values * found.scale, singular, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(60, 8), (30, 80)], ids=str)
def test_rank_leaves_out_what_rounding_put_there(shape, dtype):
    n, p = shape
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 5)) @ rng.normal(size=(5, p)) + 3.0
    found = routes.decompose(x.astype(dtype))
    assert found.rank == 5
    basis, _ = np.linalg.qr(x - x.mean(axis=0))
    assert angle(basis[:, :5], found.basis) < (1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dead_doubled_and_combined_units_count_for_nothing(dtype):
    x, y = pair(60, 6, 5, dtype=dtype)
    extra = np.stack([np.full(60, 7.3), np.zeros(60), 3 * x[:, 0], x[:, 1] - x[:, 2]], axis=1).astype(dtype)
    x_wide = np.concatenate([x, extra], axis=1)[:, [6, 0, 8, 1, 2, 7, 3, 9, 4, 5]]
    assert routes.decompose(x_wide).rank == 6
    for call in (repscope.cca, lambda a, b: repscope.cca(b, a), lambda a, b: repscope.linear_regression(b, a)):
        np.testing.assert_allclose(call(x_wide, y), call(x, y), rtol=1e-5 if dtype == np.float32 else 1e-10)


def test_a_dead_unit_among_others_does_not_cost_the_fast_route(monkeypatch):
    def never(*arguments):
        raise AssertionError("took the slow route")

    monkeypatch.setattr(routes, "_from_svd", never)
    x = conditioned(60, 8, 10.0)
    x[:, 3] = 5.0
    assert routes.decompose(x).rank == 7


@pytest.mark.parametrize(
    ("x", "slow"),
    [
        (conditioned(60, 8, 1e2), False),
        (conditioned(60, 8, 1e5), True),
        (conditioned(30, 80, 1e2), False),
        (conditioned(30, 80, 1e5), True),
        (conditioned(60, 8, 1e5, dtype=np.float32), False),
        (conditioned(30, 80, 1e5, dtype=np.float32), False),
    ],
)
def test_which_route_is_taken(monkeypatch, x, slow):
    taken = []
    original = routes._from_svd
    monkeypatch.setattr(routes, "_from_svd", lambda *arguments: taken.append(1) or original(*arguments))
    routes.decompose(x)
    assert bool(taken) is slow


@pytest.mark.parametrize("shape", [(60, 8), (60, 40), (30, 80)], ids=str)
@pytest.mark.parametrize("condition", [1e1, 1e2, 9e2])
def test_each_route_gives_the_same_subspace_and_values(shape, condition):
    features, _ = center_and_scale(np, conditioned(*shape, condition))
    cut = routes._Cut(tolerance=routes.rank_tolerance(np, np.float64, np.float64, features.shape), widened=False)
    if shape[1] < shape[0]:
        state = routes._from_moments(np, features, cut)
        fast = None if state is None else (state.basis, state.singular_values)
    else:
        fast = routes._from_gram(np, features @ features.T, cut)
    slow = routes._from_svd(np, features, cut)
    assert fast is not None
    np.testing.assert_allclose(fast[1], slow[1], rtol=1e-9)
    assert angle(fast[0], slow[0]) < 1e-10


@pytest.mark.parametrize("shape", [(40, 5), (5, 40), (2, 1), (2, 9), (9, 9)], ids=str)
def test_a_constant_layer_has_rank_zero(shape):
    found = routes.decompose(np.full(shape, 0.1))
    assert found.rank == 0
    assert found.basis.shape == (shape[0], 0)


@pytest.mark.parametrize("condition", [1e1, 1e4, 1e7])
@pytest.mark.parametrize("name", ["cca", "svcca", "pwcca", "linear_regression", "procrustes"])
def test_measures_of_ill_conditioned_layers(name, condition):
    # Expected values from numpy's SVD and the definitions; an inverse square root would square the condition.
    x, y = conditioned(80, 10, condition), conditioned(80, 12, condition, seed=1)
    y[:, :10] += 0.5 * x
    (u, s), (v, t) = by_svd(x), by_svd(y)
    if name == "svcca":
        u, v = (b[:, : np.searchsorted(np.cumsum(c**2), 0.99 * np.sum(c**2)) + 1] for b, c in ((u, s), (v, t)))
    left, rho, _ = np.linalg.svd(u.T @ v)
    expected = {
        "cca": np.mean(rho**2),
        "svcca": np.mean(rho**2),
        "pwcca": np.average(rho, weights=np.abs((u @ left[:, : len(rho)]).T @ x).sum(axis=1)),
        "linear_regression": np.linalg.norm(v.T @ x) ** 2 / np.linalg.norm(x) ** 2,
        "procrustes": np.arccos(
            np.linalg.svd(x.T @ (y - y.mean(axis=0)))[1].sum() / np.linalg.norm(x) / np.linalg.norm(t)
        ),
    }
    np.testing.assert_allclose(configure(name)(x, y), expected[name], rtol=1e-7)


def test_a_shared_decomposition_changes_nothing():
    x, y = pair(30, 4, 6)
    known_x, known_y = routes.decompose(x), routes.decompose(y)
    for name, row in CATALOG.items():
        measure = configure(name)
        states = [measure.prepare(z, decomposition=known) for z, known in ((x, known_x), (y, known_y))]
        np.testing.assert_allclose(measure.score(*states), measure(x, y), rtol=1e-13)
        assert row.decomposes is ("decomposition" in row.prepare.__annotations__)


@pytest.mark.parametrize("shares", [[5.0, 3.0, 1.9, 0.05, 0.05], [1.0], [1.0, 1e-9]])
@pytest.mark.parametrize("variance", [0.3, 0.5, 0.79, 0.8, 0.99, 1.0])
def test_the_cut_keeps_the_fewest_components_that_reach_the_share(shares, variance):
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(40, len(shares)))
    basis, _ = np.linalg.qr(basis - basis.mean(axis=0))
    from repscope.measures.cca import prepare_svcca

    kept = prepare_svcca(basis * np.sqrt(shares), variance=variance).rank
    total = sum(shares)
    assert sum(shares[:kept]) >= variance * total * (1 - 1e-12)
    assert kept == 1 or sum(shares[: kept - 1]) < variance * total


TALL = (200, 9)
"""More than ``EXAMPLES_PER_FEATURE`` examples for each feature."""


def allowed(condition, dtype):
    """What a canonical correlation may be off by: eps κ² where U stays a product, then eps κ; both are in the docs."""
    stored = 6e-8 * condition if dtype == np.float32 else 0.0  # what storing the values has cost already
    return 1e-13 * condition + (2e-15 * condition**2 if condition <= 1e3 else 0.0) + 1e-3 * stored


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("condition", [1e0, 1e1, 1e2, 9e2, 1.2e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9])
def test_canonical_correlations_on_both_sides_of_the_switch(condition, dtype):
    x = conditioned(*TALL, condition, dtype=dtype)
    y = conditioned(*TALL, condition, seed=1, dtype=dtype)
    y[:, :4] += x[:, :4]
    states = [routes.decompose(z) for z in (x, y)]
    bases = [by_svd(z)[0] for z in (x, y)]
    assert [s.rank for s in states] == [b.shape[1] for b in bases]
    expected = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    found = np.linalg.svd(routes.overlap(*states), compute_uv=False)
    np.testing.assert_allclose(found, expected, atol=allowed(min(condition, 1e6), dtype))
    np.testing.assert_allclose(routes.overlap(states[0], states[0]), np.eye(states[0].rank), atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("condition", "product"), [(1e0, True), (9e2, True), (1.2e3, False), (1e5, False)])
def test_where_vectors_stay_a_product(condition, product, dtype):
    x = conditioned(*TALL, condition, dtype=dtype)
    assert (routes.decompose(x).rotation is not None) is product
    fewer = x[: routes.EXAMPLES_PER_FEATURE * TALL[1] - 1]
    assert routes.decompose(fewer).rotation is None


@pytest.mark.parametrize("shape", [TALL, (60, 9), (30, 80)], ids=str)
@pytest.mark.parametrize("condition", [1e1, 1e5])
def test_a_product_stands_for_the_vectors(shape, condition):
    x, y = conditioned(*shape, condition), conditioned(*TALL, 10.0, seed=1)[: shape[0]]
    found, other = routes.decompose(x), routes.decompose(y)
    bases = [found.basis, other.basis]
    for basis in bases:
        np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-13)
    np.testing.assert_allclose(routes.overlap(found, other), bases[0].T @ bases[1], atol=1e-11)
    np.testing.assert_allclose(routes.overlap(other, found), bases[1].T @ bases[0], atol=1e-11)
    leading = found.leading(3)
    assert (leading.rank, leading.singular_values.shape) == (3, (3,))
    np.testing.assert_allclose(leading.basis, bases[0][:, :3], atol=1e-10)
    centred = x - x.mean(axis=0)
    np.testing.assert_allclose(
        found.coordinates(x) * found.scale, bases[0].T @ centred, atol=1e-11 * np.linalg.norm(centred)
    )


@pytest.mark.parametrize("spread", [0, 4, 160])
def test_wide_gram_matrices_are_added_up_in_blocks(monkeypatch, spread):
    from repscope.measures import _arrays

    x = conditioned(30, 80, 10.0)
    x[:, 5:9] = 3.0
    x *= np.repeat(10.0 ** np.array([-spread, 0, spread, 0]), 20)
    features, scale = center_and_scale(np, x)
    for entries in (1, 30 * 7, 30 * 80):
        monkeypatch.setattr(_arrays, "_BLOCK_ENTRIES", entries)
        gram, unit = _arrays.centered_gram(np, x, np.float64)
        assert unit == scale
        np.testing.assert_allclose(gram, features @ features.T, rtol=1e-10, atol=1e-13 * np.abs(gram).max())
    gram, unit = _arrays.centered_gram(np, np.full((4, 3), 0.1), np.float64)
    assert unit == 1.0
    assert not np.any(gram)


def test_wide_layers_are_never_copied_whole(monkeypatch):
    import tracemalloc

    from repscope.measures import _arrays

    monkeypatch.setattr(_arrays, "_BLOCK_ENTRIES", 1 << 18)
    x = np.random.default_rng(0).standard_normal((40, 100_000), dtype=np.float32)
    calls = (
        routes.decompose,
        lambda z: repscope.procrustes(z, z),
        lambda z: repscope.cka(z, z),
        lambda z: repscope.cka(z, z, kernel=repscope.RBF(0.5)),
    )
    for call in calls:
        tracemalloc.start()
        try:
            call(x)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < x.nbytes


LINEAR = [
    repscope.linear_regression,
    repscope.cca,
    repscope.pwcca,
    repscope.eigenspace_overlap,
    repscope.ensd,
    repscope.gulp,
]


@pytest.mark.parametrize("measure", LINEAR, ids=lambda f: f.__name__)
@pytest.mark.parametrize("p", [40, 400])
def test_rounding_of_what_is_stored_is_no_feature(measure, p):
    # Rank 3, whatever the type of the other side, and with an offset of which single precision keeps four digits less.
    rng = np.random.default_rng(0)
    low_rank = rng.standard_normal((200, 3)) @ rng.standard_normal((3, p))
    other = rng.standard_normal((200, 5))
    expected = float(measure(other, low_rank))
    for x, y in (
        (other, low_rank.astype(np.float32)),
        (other.astype(np.float32), (low_rank + 1000).astype(np.float32)),
        (other, low_rank + 1e9),
    ):
        assert float(measure(x, y)) == pytest.approx(expected, rel=1e-3)
        swapped = measure(y, x)
        assert float(swapped) == pytest.approx(float(measure(low_rank, other)), rel=1e-3)


def test_weak_features_beside_a_large_offset_are_kept_as_long_as_they_are_stored():
    rng = np.random.default_rng(0)
    weak = rng.standard_normal((500, 20)) * np.logspace(0, -3, 20)
    assert routes.decompose((weak + 1000).astype(np.float32)).rank == 20
    assert routes.decompose((weak * np.logspace(0, -3, 20) + 1000).astype(np.float32)).rank < 20


@pytest.mark.parametrize("measure", ["cca", "linear_regression", "pwcca"])
def test_the_conductor_judges_the_rank_as_the_function_does(measure):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((100, 5))
    y = (rng.standard_normal((100, 3)) @ rng.standard_normal((3, 20))).astype(np.float32)
    expected = float(repscope.score(measure, x, y))
    assert repscope.compare({"x": x}, {"y": y}, measure=measure).values[0, 0] == pytest.approx(expected, rel=1e-6)


def test_mixed_tensors_are_compared_too():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((50, 5)), rng.standard_normal((50, 4)).astype(np.float32)
    for measure in (*LINEAR, repscope.svcca):
        assert float(measure(torch.tensor(x), torch.tensor(y))) == pytest.approx(float(measure(x, y)), rel=1e-6)
    found = repscope.canonical_ridge(torch.tensor(x), torch.tensor(y), kappa_x=0.1, kappa_y=0.1)
    assert float(found) == pytest.approx(float(repscope.canonical_ridge(x, y, kappa_x=0.1, kappa_y=0.1)), rel=1e-6)
