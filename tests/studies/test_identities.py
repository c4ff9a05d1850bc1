from __future__ import annotations

import numpy as np
import pytest

from repscope.measures.catalog import configure
from repscope.studies.identities import (
    identities,
    invertible_map,
    orthogonal_map,
    rank_of,
    ridge_paths,
    subspace_map,
)


@pytest.fixture
def pair(rng):
    shared = rng.standard_normal((200, 4))
    return tuple(shared @ rng.standard_normal((4, p)) + rng.standard_normal((200, p)) for p in (7, 12))


def test_true_identities_hold_and_the_misprint_does_not(pair):
    found = identities(*pair)
    assert [i.name.split(":")[0].split(" with")[0] for i in found] == [
        "eq. 1", "eq. 10", "eq. 11", "eq. 12", "eq. 12 as printed,", "eq. 13", "eq. 14", "App. D.2",
    ]  # fmt: skip
    for identity in found:
        assert (identity.difference < 1e-9) == identity.true, identity


def test_the_printed_factor_is_right_where_the_widths_are_equal(pair):
    x, y = pair
    (printed,) = [i for i in identities(x, y[:, :7]) if "as printed" in i.name]
    assert printed.true
    assert printed.difference < 1e-9


def test_ranks_stand_for_widths(pair):
    x, y = pair
    doubled = np.concatenate([x, x], axis=1)
    assert rank_of(doubled) == rank_of(x) == 7
    assert all((i.difference < 1e-9) == i.true for i in identities(doubled, y))


def test_maps_are_what_they_are_called(rng):
    q, a = orthogonal_map(6, rng), invertible_map(6, rng, condition=10)
    np.testing.assert_allclose(q.T @ q, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(np.linalg.cond(a), 10)


def test_a_map_within_the_kept_subspace_leaves_svcca_alone_and_cka_not(pair, rng):
    x, y = pair
    mapped = x @ subspace_map(x, 0.9, rng)
    svcca, cka = configure("svcca", variance=0.9), configure("cka", estimator="biased")
    np.testing.assert_allclose(float(svcca(mapped, y)), float(svcca(x, y)), rtol=1e-9)
    assert abs(float(cka(mapped, y)) - float(cka(x, y))) > 1e-3
    assert np.linalg.cond(subspace_map(x, 0.9, rng)) > 1.1


def test_the_ridge_ends_in_cca_regression_and_cka(pair):
    x, y = pair
    paths = ridge_paths(x, y, [1e-12, 1e8])
    np.testing.assert_allclose(paths["first"][0], float(configure("cca")(x, y)), rtol=1e-6)
    np.testing.assert_allclose(paths["first"][1], float(configure("linear_regression")(x, y)), rtol=1e-6)
    np.testing.assert_allclose(paths["both"][1], float(configure("cka", estimator="biased")(x, y)), rtol=1e-6)
