"""Many models at a glance: how alike each two are, and a map of them from a proper metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repscope.comparison import Comparison

Matrix = npt.NDArray[np.float64]

ALL_LAYERS = "all layers"


@dataclass(frozen=True)
class Map:
    """Models as points in a plane whose distances are close to the metric's.

    Attributes:
        points: Coordinates, shape (models, 2).
        distances: The metric between the models, shape (models, models).
        share: Part of the squared distances that the plane shows, 0 to 1.
    """

    points: Matrix
    distances: Matrix
    share: float


def mean_best_match(comparison: Comparison) -> Matrix:
    """For each two models, the score of a row layer's best counterpart, averaged over the rows.

    Rows without any defined score do not count. Not symmetric: a large model may hold all layers of a small one.

    Args:
        comparison: Of several models.

    Returns:
        Shape (row models, column models); NaN where no score is defined.
    """
    best = np.nanmax if comparison.kind == "similarity" else np.nanmin

    def mean(block: Matrix) -> float:
        defined = block[~np.isnan(block).all(axis=1)]
        return float(best(defined, axis=1).mean()) if defined.size else math.nan

    return _by_models(comparison, lambda rows, columns: mean(comparison.values[np.ix_(rows, columns)]))


def layer_scores(comparison: Comparison) -> dict[str, Matrix]:
    """For each layer that all models have, its score between each two models.

    Returns:
        Layer name, in execution order, to a matrix (row models, column models).
    """
    places = {
        axis: {
            pair: i
            for i, pair in enumerate(
                zip(getattr(comparison, f"{axis}_models"), getattr(comparison, f"{axis}_layers"), strict=True)
            )
        }
        for axis in ("row", "column")
    }
    rows, columns = row_models(comparison), column_models(comparison)
    shared = [
        name
        for name in dict.fromkeys(comparison.row_layers)
        if all((model, name) in places["row"] for model in rows)
        and all((model, name) in places["column"] for model in columns)
    ]
    return {
        name: comparison.values[
            np.ix_([places["row"][m, name] for m in rows], [places["column"][m, name] for m in columns])
        ]
        for name in shared
    }


def metric_of(comparison: Comparison) -> tuple[str, Callable[[Matrix], Matrix]] | None:
    """A function of the scores that is a metric between representations, and its name; None without one.

    The catalogue of measures declares it, and the comparison carries it as ``details["metric"]``: of CKA, a cosine of
    (centred or U-centred) Gram matrices, the angle is one; the mean of squared canonical correlations has none
    (Williams et al. 2021, section 2).
    """
    form = str(comparison.details.get("metric", ""))
    if form not in METRIC_FORMS:
        return None
    return form.replace("the score", comparison.label), METRIC_FORMS[form]


def _itself(values: Matrix) -> Matrix:
    return values


def _angle(values: Matrix) -> Matrix:
    angles: Matrix = np.arccos(np.clip(values, -1.0, 1.0))  # of a layer with itself it may be 1 + 2e-16
    return angles


def _root(values: Matrix) -> Matrix:
    roots: Matrix = np.sqrt(np.maximum(values, 0.0))
    return roots


METRIC_FORMS: Mapping[str, Callable[[Matrix], Matrix]] = {
    "the score": _itself,
    "arccos of the score": _angle,
    "square root of the score": _root,
}
"""What the catalogue may declare to be a metric, in its words."""


def maps(comparison: Comparison) -> dict[str, Map]:
    """A map of the models for each layer they share, and one for all of these together.

    The distance over all shared layers is the root mean square of theirs, which is a metric where theirs are.

    Returns:
        Layer name (:data:`ALL_LAYERS` first) to its map; empty for fewer than three models, different models on the
        two axes, or a measure without a metric. Layers with undefined scores are left out.
    """
    metric = metric_of(comparison)
    if metric is None or row_models(comparison) != column_models(comparison) or len(row_models(comparison)) < 3:
        return {}
    distances = {}
    for name, scores in layer_scores(comparison).items():
        if np.isfinite(scores).all():
            between = metric[1](scores)
            between = (between + between.T) / 2
            np.fill_diagonal(between, 0.0)
            distances[name] = between
    if not distances:
        return {}
    together = np.sqrt(np.mean(np.square(list(distances.values())), axis=0))
    return {name: classical_scaling(between) for name, between in {ALL_LAYERS: together, **distances}.items()}


def classical_scaling(distances: Matrix) -> Map:
    """Points in a plane whose distances come close to the given (Torgerson 1952).

    Args:
        distances: Shape (models, models), symmetric with a zero diagonal.

    Returns:
        The map; its share is that of the two eigenvalues in the sum of the absolute values of all.
    """
    squares = np.square(distances)
    centred = squares - squares.mean(axis=0) - squares.mean(axis=1, keepdims=True) + squares.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    leading = np.argsort(values)[::-1][:2]
    points = vectors[:, leading] * np.sqrt(np.maximum(values[leading], 0.0))
    # The signs of eigenvectors are arbitrary: the entry of largest magnitude points to the right, or up.
    points *= np.where(points[np.abs(points).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    total = float(np.abs(values).sum())
    shown = float(np.maximum(values[leading], 0.0).sum())
    return Map(points=points, distances=distances, share=shown / total if total > 0 else 1.0)


def overview(comparison: Comparison) -> dict[str, Any] | None:
    """All of this as plain data; None where there is one pair of models only."""
    rows, columns = row_models(comparison), column_models(comparison)
    if len(rows) * len(columns) == 1:
        return None
    metric, layers, drawn = metric_of(comparison), layer_scores(comparison), maps(comparison)
    return {
        "best": mean_best_match(comparison).tolist(),
        "layer_names": list(layers),
        "layers": {name: scores.tolist() for name, scores in layers.items()},
        "metric": None if metric is None else metric[0],
        "map_names": list(drawn),
        "maps": {name: {"points": found.points.tolist(), "share": found.share} for name, found in drawn.items()},
    }


def row_models(comparison: Comparison) -> list[str]:
    """Each model on the rows once."""
    return list(dict.fromkeys(comparison.row_models))


def column_models(comparison: Comparison) -> list[str]:
    """Each model on the columns once."""
    return list(dict.fromkeys(comparison.column_models))


def _by_models(comparison: Comparison, score: Callable[[list[int], list[int]], float]) -> Matrix:
    def members(models: tuple[str, ...]) -> list[list[int]]:
        return [[i for i, model in enumerate(models) if model == name] for name in dict.fromkeys(models)]

    return np.array(
        [[score(r, c) for c in members(comparison.column_models)] for r in members(comparison.row_models)],
        dtype=np.float64,
    )
