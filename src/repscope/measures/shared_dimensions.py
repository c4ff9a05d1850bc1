"""How many dimensions do two representations share: counted by variance (ENSD), or each alike (eigenspace overlap)."""

from __future__ import annotations

import array_api_compat

from repscope.measures._arrays import Array, check_pair
from repscope.measures._decomposition import Decomposition, decompose, nothing_left, overlap
from repscope.measures.cca import warn_if_forced


def score_ensd(state_x: Decomposition, state_y: Decomposition) -> Array:
    """Effective number of shared dimensions of two prepared layers."""
    if (nothing := nothing_left("ensd", state_x, state_y)) is not None:
        return nothing
    xp = array_api_compat.array_namespace(state_x.left)
    a, b = state_x.variance_shares, state_y.variance_shares
    aligned = xp.sum(a[:, None] * overlap(state_x, state_y) ** 2 * b[None, :])
    return aligned / (xp.sum(a * a) * xp.sum(b * b))


def score_eigenspace_overlap(state_x: Decomposition, state_y: Decomposition) -> Array:
    """Eigenspace overlap of two prepared layers."""
    if (nothing := nothing_left("eigenspace_overlap", state_x, state_y)) is not None:
        return nothing
    warn_if_forced("eigenspace_overlap", state_x, state_y)
    xp = array_api_compat.array_namespace(state_x.left)
    return xp.sum(overlap(state_x, state_y) ** 2) / max(state_x.rank, state_y.rank)


def ensd(x: Array, y: Array) -> Array:
    """Effective number of shared dimensions: the participation ratio of what two representations have in common.

    tr K tr L ⟨K, L⟩ / (‖K‖² ‖L‖²) with the Gram matrices K and L of centred features. That is √(PR_x PR_y) times linear
    CKA (biased), with the participation ratios PR = (tr K)² / ‖K‖²; a layer shares its own PR with itself.

    Range: [0, ∞), at most √(PR_x PR_y), so at most n − 1. Unrelated representations share PR_x PR_y / (n − 1) on
    average, exactly. Invariances: orthogonal maps, isotropic scaling and translation. Symmetric. Not a metric.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.

    Returns:
        A scalar of the caller's library; NaN with a warning where a representation is constant.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    References:
        Giaffar, Rullán Buxó & Aoi 2024, The Effective Number of Shared Dimensions.

    Example:
        >>> import numpy as np
        >>> x = np.eye(8)[:, :4] - np.eye(8)[:, 4:]  # four directions of equal variance
        >>> float(round(ensd(x, x[:, :3]), 12))
        3.0
    """
    x, y = check_pair("ensd", x, y, as_stored=True)
    return score_ensd(decompose(x), decompose(y))


def eigenspace_overlap(x: Array, y: Array) -> Array:
    """Eigenspace overlap score: how much of the larger column space lies in the other one.

    ‖U_XᵀU_Y‖_F² / max(rank) with orthonormal bases of the *centred* column spaces: the sum of the squared canonical
    correlations over the larger dimension, where ``cca`` has the smaller. May et al. 2019 and ReSi do not centre; their
    max(p, q) is the same for features that are linearly independent.

    Range: [0, 1]; 1 where both span the same space. Independent data give min(p, q) / (n − 1) on average. Invariances:
    any invertible linear map and translation. Symmetric. Not a metric.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.

    Returns:
        A scalar of the caller's library; NaN with a warning where a representation is constant.

    Raises:
        InputError: For arrays that do not match, too few examples, or NaN and infinity.

    Warns:
        RankWarning: Where n ≤ rank x + rank y: common directions are forced.

    References:
        May, Zhang, Dao & Ré 2019, On the Downstream Performance of Compressed Word Embeddings.

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).randn(50, 4)
        >>> float(round(eigenspace_overlap(x, x[:, :3]), 12))
        0.75
    """
    x, y = check_pair("eigenspace_overlap", x, y, as_stored=True)
    return score_eigenspace_overlap(decompose(x), decompose(y))
