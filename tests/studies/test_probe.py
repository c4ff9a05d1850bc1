from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from repscope.errors import InputError
from repscope.studies import probe
from repscope.studies.networks import representation_layers, tiny10
from repscope.studies.probe import logistic_regression, pooled, probe_layers


@pytest.fixture
def classes(rng):
    labels = np.arange(90) % 3
    return 2.0 * np.eye(3)[labels] @ rng.standard_normal((3, 5)) + rng.standard_normal((90, 5)), labels


def test_classes_that_can_be_told_apart_are(classes):
    x, labels = classes
    assert logistic_regression(x[:60], labels[:60], x[60:], labels[60:]) > 0.85
    assert logistic_regression(x[:60], labels[:60], x[:60], labels[:60], penalty=0.0) > 0.95


def test_labels_that_have_nothing_to_do_with_the_features_are_at_chance(rng):
    x, labels = rng.standard_normal((600, 5)), rng.integers(0, 3, 600)
    assert logistic_regression(x[:300], labels[:300], x[300:], labels[300:]) < 0.45


def test_the_weights_are_at_the_minimum(classes):
    scipy = pytest.importorskip("scipy.optimize")
    x, labels = classes
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    onehot = np.eye(3)[labels]

    def loss(parameters):
        logits = z @ parameters[:15].reshape(5, 3) + parameters[15:]
        logits = logits - logits.max(axis=1, keepdims=True)
        losses = np.log(np.exp(logits).sum(axis=1)) - (logits * onehot).sum(axis=1)
        return losses.mean() + 0.05 * (parameters[:15] ** 2).sum()

    best = scipy.minimize(loss, np.zeros(18)).x
    rng = np.random.default_rng(1)
    new = rng.standard_normal((500, 5))
    predicted = (((new - x.mean(axis=0)) / x.std(axis=0)) @ best[:15].reshape(5, 3) + best[15:]).argmax(axis=1)
    assert logistic_regression(x, labels, new, predicted, penalty=0.1) > 0.98


def test_scale_and_dead_features_do_not_matter(classes):
    x, labels = classes
    stretched = np.concatenate([x * [1e-3, 1, 1e3, 1, 1] + 50, np.ones((90, 2))], axis=1)
    first = logistic_regression(x[:60], labels[:60], x[60:], labels[60:])
    assert logistic_regression(stretched[:60], labels[:60], stretched[60:], labels[60:]) == pytest.approx(
        first, abs=0.04
    )


def test_maps_are_pooled_and_vectors_left():
    maps = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8)
    assert pooled(maps).shape == (2, 3 * 16)
    torch.testing.assert_close(pooled(maps)[0, 0], maps[0, 0, :2, :2].mean())
    assert pooled(maps[:, :, :2, :2]).shape == (2, 3 * 4)
    assert pooled(maps.flatten(1)).shape == (2, 192)


def test_every_layer_of_a_network_is_probed(rng):
    images, labels = rng.standard_normal((40, 1, 16, 16)).astype(np.float32), np.arange(40) % 2
    images[labels == 1] += 3
    model = tiny10(2, in_channels=1, seed=0).eval()
    layers = representation_layers(model)
    found = probe_layers(model, images[:30], labels[:30], images[30:], labels[30:], layers=layers)
    assert len(found) == len(layers) == 9
    assert found[0] == 1


@pytest.mark.parametrize(("room", "passes"), [(4 << 30, 1), (40 * 8 * 16 * 4, 4), (0, 9)])
def test_layers_share_forward_passes_as_far_as_there_is_room(rng, monkeypatch, room, passes):
    images, labels = rng.standard_normal((40, 1, 16, 16)).astype(np.float32), np.arange(40) % 2
    model = tiny10(2, in_channels=1, seed=0).eval()
    layers = representation_layers(model)[::-1]
    given = (images[:30], labels[:30], images[30:], labels[30:])
    whole = probe_layers(model, *given, layers=layers)
    counted = []
    model.register_forward_hook(lambda *_: counted.append(1))
    monkeypatch.setattr(probe, "ROOM", room)
    assert probe_layers(model, *given, layers=layers) == whole
    # Over the images of either kind, and one image that tells the widths; each time a few are looked at first.
    assert len(counted) == 2 * (2 * passes + 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((4, 2)), [0, 1, 0, 1], np.ones((2, 3)), [0, 1]), r"got \(4, 2\), \(4,\), \(2, 3\), \(2,\)"),
        ((np.ones((4, 2)), [0, 1, 0], np.ones((2, 2)), [0, 1]), r"got \(4, 2\), \(3,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        logistic_regression(*arguments)


def test_a_negative_penalty_is_refused(classes):
    x, labels = classes
    with pytest.raises(InputError, match=r"penalty must not be negative, got -1"):
        logistic_regression(x, labels, x, labels, penalty=-1)
