"""How much a layer tells of the class: logistic regression on its representation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from repscope.compare import representations
from repscope.errors import InputError
from repscope.studies._threads import one_thread

GRID = 4
"""Maps are averaged over a grid of so many fields a side, so that early layers do not have 100,000 features."""

ROOM = 4 << 30
"""Bytes that the representations of layers may take together; as many layers as fit share the forward passes."""


def probe_layers(
    model: nn.Module,
    train_images: NDArray[np.float32],
    train_labels: NDArray[np.int64],
    test_images: NDArray[np.float32],
    test_labels: NDArray[np.int64],
    *,
    layers: Sequence[str],
    penalty: float = 1e-3,
    iterations: int = 100,
) -> list[float]:
    """Return the test accuracy of a logistic regression on each layer of a network.

    Args:
        model: The network, in evaluation mode.
        train_images: Shape (n, c, h, w): what the regressions are fitted on.
        train_labels: Shape (n,).
        test_images: Shape (m, c, h, w): what they are judged on.
        test_labels: Shape (m,).
        layers: Names of the layers.
        penalty: As for :func:`logistic_regression`.
        iterations: As for :func:`logistic_regression`.

    Returns:
        One accuracy a layer, 0 to 1.
    """
    accuracies = []
    for some in _groups(model, train_images[:1], layers, len(train_images) + len(test_images)):
        known = representations(model, train_images, some, reduce=pooled)
        new = representations(model, test_images, some, reduce=pooled)
        for layer in some:
            accuracies.append(
                logistic_regression(
                    known.pop(layer),
                    train_labels,
                    new.pop(layer),
                    test_labels,
                    penalty=penalty,
                    iterations=iterations,
                )
            )
    return accuracies


def _groups(model: nn.Module, image: NDArray[np.float32], layers: Sequence[str], examples: int) -> Iterator[list[str]]:
    """The layers in runs whose representations fit the room, one at least."""
    widths = representations(model, image, list(layers), reduce=pooled)
    run: list[str] = []
    taken = 0
    for layer in layers:
        size = examples * widths[layer].nbytes
        if run and taken + size > ROOM:
            yield run
            run, taken = [], 0
        run.append(layer)
        taken += size
    yield run


def pooled(activation: Tensor, mask: Tensor | None = None) -> Tensor:
    """Average maps (n, c, h, w) over a grid and flatten them: (n, c · 16) at most. Images have no mask."""
    if activation.ndim == 4:
        size = (min(GRID, activation.shape[2]), min(GRID, activation.shape[3]))
        activation = functional.adaptive_avg_pool2d(activation, size)
    return activation.flatten(1)


def logistic_regression(
    train: Any,
    train_labels: Any,
    test: Any,
    test_labels: Any,
    *,
    penalty: float = 1e-3,
    iterations: int = 100,
) -> float:
    """Fit a multinomial logistic regression and return its accuracy on other examples.

    The mean cross-entropy plus penalty/2 · ‖W‖² is minimised over weights and intercepts by L-BFGS with a strong Wolfe
    line search, from zero, so the result depends on no seed. Features are standardised by the mean and the standard
    deviation of the examples it is fitted on; constant ones are left out.

    Args:
        train: Features, shape (n, p).
        train_labels: Shape (n,), integers from 0.
        test: Features, shape (m, p).
        test_labels: Shape (m,).
        penalty: Weight of the squared norm.
        iterations: Of L-BFGS, at most.

    Returns:
        Share of the test examples that are classified rightly, 0 to 1.

    Raises:
        InputError: The shapes do not fit, or the penalty is negative.
    """
    train, test = torch.as_tensor(train).float(), torch.as_tensor(test).float()
    targets = [
        torch.as_tensor(labels, dtype=torch.int64, device=train.device) for labels in (train_labels, test_labels)
    ]
    shapes = [tuple(t.shape) for t in (train, targets[0], test, targets[1])]
    if train.ndim != 2 or test.shape[1:] != train.shape[1:] or shapes[0][:1] != shapes[1] or shapes[2][:1] != shapes[3]:
        raise InputError(
            "logistic_regression: train and test must have shapes (n, p) and (m, p) and their labels (n,) and (m,), "
            f"got {', '.join(map(str, shapes))}."
        )
    if not penalty >= 0:
        raise InputError(f"logistic_regression: penalty must not be negative, got {penalty}.")
    mean, deviation = train.mean(dim=0), train.std(dim=0, correction=0)
    alive = deviation > 1e-6 * deviation.max()
    train, test = ((z[:, alive] - mean[alive]) / deviation[alive] for z in (train, test))
    classes = int(max(int(t.max()) for t in targets)) + 1
    weights = torch.zeros(train.shape[1], classes, device=train.device, requires_grad=True)
    intercepts = torch.zeros(classes, device=train.device, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weights, intercepts], max_iter=iterations, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        solver.zero_grad()
        value = functional.cross_entropy(train @ weights + intercepts, targets[0])
        value = value + penalty / 2 * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with one_thread():  # products this small take longer on several, and their sums depend on how many there are
        solver.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        right = (test @ weights + intercepts).argmax(dim=1) == targets[1]
    return float(right.double().mean())
