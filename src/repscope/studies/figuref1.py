"""Figure F.1 of Kornblith et al. (2019): similarity of the sublayers of Transformers, and the checkerboards in it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.studies import paper
from repscope.studies.claims import figure
from repscope.studies.drawing import as_drawn, panel
from repscope.studies.findings import Table
from repscope.studies.tablef1 import INDEXES, TAPS

FIGURE_F1 = ("cca-r2", "svcca-r2", "linear-regression", "cka-linear", "cka-rbf-0.4")
"""The rows of the figure; its columns are the taps."""

TITLES = {index.id: index.title for index in INDEXES}


def panels(means: Mapping[str, Mapping[str, NDArray[np.float64]]], names: Sequence[str]) -> dict[str, Comparison]:
    """Mean similarities by tap and index in the order of the figure; ``names`` are those of the sublayers."""
    return {
        f"{TITLES[index]}, {title}": panel(as_drawn(index, means[tap][index]), names)
        for index in FIGURE_F1
        for tap, title in TAPS.items()
    }


def paper_panels(names: Sequence[str]) -> dict[str, Comparison]:
    """The paper's, in the same order."""
    return {
        f"{TITLES[index]}, {title}": paper.comparison(f"figF1/{index}/{tap}", names, names)
        for index in FIGURE_F1
        for tap, title in TAPS.items()
    }


def contrast_table(contrasts: Mapping[str, Mapping[str, float]]) -> Table:
    """Contrasts by tap and index, beside those of the paper's panels."""
    rows = []
    for index in TITLES:
        row: list[Any] = [TITLES[index]]
        for tap in TAPS:
            theirs = figure(published_contrast(index, tap)) if index in FIGURE_F1 else None
            row += [theirs, figure(contrasts[tap][index])]
        rows.append(row)
    return Table(
        "Checkerboard: how much more alike sublayers of one kind are",
        ["index", *itertools.chain.from_iterable((f"{tap}: paper", "ours") for tap in TAPS.values())],
        rows,
        "Mean of the similarity of two attention or two feed-forward sublayers, less that of the pairs of different "
        "kinds beside it, one nearer and one farther, as a share of the range of the matrix. The paper: from the "
        "panels of figure F.1.",
    )


def published_contrast(index: str, tap: str) -> float:
    """The contrast of a panel of the paper."""
    return checkerboard(paper.panel(f"figF1/{index}/{tap}"))


def checkerboard(similarity: NDArray[np.floating]) -> float:
    """How strongly sublayers of one kind are alike more than those of different kinds, at the same distance in depth.

    For an entry (i, j) with i − j even and not 0, both sublayers are of one kind, and the entries (i, j − 1) and
    (i, j + 1) are of different kinds, once nearer and once farther: the contrast is the entry less the mean of these
    two. The result is the mean contrast over all such entries with both neighbours, as a share of the range of the
    entries off the diagonal. It is 0 for whatever falls off linearly with distance, and below 1.

    Args:
        similarity: Mean similarities (L, L) of alternating kinds of sublayers, L at least 4.

    Returns:
        The contrast; NaN where all entries off the diagonal are the same.

    Raises:
        InputError: The matrix is not square or smaller than 4 × 4.
    """
    values = np.asarray(similarity, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) < 4:
        raise InputError(f"checkerboard: similarity must have shape (L, L) with L of at least 4, got {values.shape}.")
    rows, columns = np.indices(values.shape)
    apart = np.abs(rows - columns)
    inside = (columns > 0) & (columns < len(values) - 1)
    chosen = (apart >= 2) & (apart % 2 == 0) & inside
    neighbours = (np.roll(values, 1, axis=1) + np.roll(values, -1, axis=1)) / 2
    others = values[apart > 0]
    spread = others.max() - others.min()
    return float((values - neighbours)[chosen].mean() / spread) if spread > 0 else float("nan")
