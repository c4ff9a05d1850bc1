from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from repscope.measures.catalog import configure
from repscope.studies.canonical import load, prepare, room_of, save, scores
from repscope.studies.family import assembled
from repscope.studies.table2 import INDEXES

SHARES = (0.5, 0.9, 0.99)


def representation(rng, shared, p, noise=1.0):
    return shared @ rng.standard_normal((shared.shape[1], p)) + noise * rng.standard_normal((len(shared), p))


@pytest.fixture
def pair(rng):
    shared = rng.standard_normal((300, 8))
    return representation(rng, shared, 20), representation(rng, shared, 35, 0.3)


def layer(x, **options):
    return prepare(torch.from_numpy(np.asarray(x)), variances=SHARES, **options)


def expected(x, y):
    found = {
        index.id: (float(index.measure(x, y)), float(index.measure(y, x)))
        for index in INDEXES
        if index.measure.id not in ("hsic", "cka", "svcca")
    }
    for share in SHARES:
        for summary in ("r2", "mean"):
            measure = configure("svcca", variance=share, summary=summary)
            found[f"svcca-{summary}-{share:g}"] = (float(measure(x, y)), float(measure(y, x)))
    return found


@pytest.mark.parametrize("swapped", [False, True])
def test_every_index_is_that_of_its_measure_in_both_orders(pair, swapped):
    x, y = pair[::-1] if swapped else pair
    found, wanted = scores(layer(x), layer(y)), expected(x, y)
    assert found.keys() == wanted.keys()
    for index, values in wanted.items():
        np.testing.assert_allclose(found[index], values, rtol=1e-9, err_msg=index)


def test_single_precision_is_close(pair):
    x, y = pair
    found = scores(layer(x, dtype=torch.float32), layer(y, dtype=torch.float32))
    for index, values in expected(x, y).items():
        np.testing.assert_allclose(found[index], values, atol=2e-3, err_msg=index)


def test_dead_units_change_nothing(pair):
    x, y = pair
    dead = np.concatenate([x, np.zeros((len(x), 4)), x[:, :3]], axis=1)
    found, wanted = scores(layer(dead), layer(y)), expected(dead, y)
    for index in ("cca-r2", "linear-regression", "svcca-r2-0.99"):
        np.testing.assert_allclose(found[index], wanted[index], rtol=1e-7, err_msg=index)


def test_layers_wider_than_the_examples_are_forced_to_one(rng):
    x, y = (rng.standard_normal((40, 60)) for _ in range(2))
    found = scores(layer(x), layer(y))
    for index in ("cca-mean", "cca-r2", "pwcca", "linear-regression"):
        np.testing.assert_allclose(found[index], 1, rtol=1e-9, err_msg=index)


def test_single_precision_features_take_the_lean_route_to_the_same_numbers(pair, monkeypatch):
    x, y = (np.concatenate([z, np.zeros((len(z), 2))], axis=1).astype(np.float32) + 5 for z in pair)
    monkeypatch.setattr("repscope.studies.canonical.ROWS", 64)
    monkeypatch.setattr("repscope.studies.canonical.decompose", lambda *_: pytest.fail("not lean"))
    found = scores(layer(x), layer(y))
    for index, values in expected(x, y).items():
        np.testing.assert_allclose(found[index], values, rtol=1e-6, err_msg=index)


def test_a_decomposed_layer_comes_back_from_disk(pair, tmp_path):
    x, y = pair
    save(layer(x), tmp_path / "x.safetensors")
    again = load(tmp_path / "x.safetensors", torch.device("cpu"))
    assert again.kept == layer(x).kept
    assert scores(again, layer(y)) == scores(layer(x), layer(y))


def test_scores_are_put_in_their_places(rng):
    forward, backward = rng.random((2, 2, 2))
    whole = assembled({("a", "b"): {"cca": np.array([forward, backward])}}, ["a", "b"], "cca")
    np.testing.assert_array_equal(whole[0, 1], forward)
    np.testing.assert_array_equal(whole[1, 0], backward.T)
    assert np.isnan(whole[0, 0]).all()


def test_a_basis_of_weak_components_is_made_orthonormal(rng):
    left, _ = np.linalg.qr(rng.standard_normal((400, 60)))
    right, _ = np.linalg.qr(rng.standard_normal((60, 60)))
    x = ((left - left.mean(axis=0)) * np.geomspace(1, 3e-6, 60) @ right).astype(np.float32)
    made = layer(x)
    assert made.basis.shape[1] > 50
    np.testing.assert_allclose(made.basis.T @ made.basis, np.eye(made.basis.shape[1]), atol=1e-6)
    # The leading ones are left the principal directions that they were.
    expected = np.linalg.svd(x - x.mean(axis=0, dtype=np.float64), full_matrices=False)[0][:, :20]
    np.testing.assert_allclose(np.abs(np.sum(expected * made.basis[:, :20].numpy(), axis=0)), 1, atol=1e-6)


def test_the_room_of_a_layer_is_what_it_takes(pair):
    x, _ = pair
    made = layer(x)
    assert made.nbytes == room_of(*x.shape)
    assert layer(x, dtype=torch.float32).nbytes == room_of(*x.shape, torch.float32)
