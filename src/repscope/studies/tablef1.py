"""Table F.1 of Kornblith et al. (2019): which indexes identify corresponding sublayers of Transformer encoders?"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from repscope.errors import InputError
from repscope.studies import paper, table2

TAPS = MappingProxyType(
    {"layer-norm": "Layer Norm", "scale": "Scale", "operation": "Attention/FFN", "residual": "Residual"}
)
"""The taps of a sublayer (:data:`repscope.studies.translator.TAPS`) to the headings of the table."""

INDEXES = tuple(index for index in table2.INDEXES if index.id != "hsic-linear")
"""The rows of the table, in its order: those of Table 2 but linear HSIC."""

BEST = frozenset(
    {
        ("pwcca", "layer-norm"),
        ("cka-rbf-0.4", "layer-norm"),
        ("cka-linear", "scale"),
        ("cka-rbf-0.4", "scale"),
        ("cka-rbf-0.8", "scale"),
        ("cca-mean", "operation"),
        ("cca-r2", "operation"),
        ("pwcca", "operation"),
        ("cka-rbf-0.8", "operation"),
        ("cca-r2", "residual"),
        ("cka-rbf-0.4", "residual"),
    }
)
"""Index and tap of the numbers in bold: not significantly different from the best of their column."""


def published(index: str, tap: str) -> float:
    """The accuracy that the table states, 0 to 1: ten Transformers trained on WMT18 English to German.

    Raises:
        InputError: There is no such index or tap in the table.
    """
    return paper.number(f"table F.1, {tap}", index)


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
