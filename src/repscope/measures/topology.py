"""RTD (Barannikov et al. 2022): do clusters and cycles of two representations consist of the same examples?

Persistent homology of a filtration of graphs on twice the examples; the barcodes are computed by GUDHI, in double
precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.errors import InputError, MissingExtraError
from repscope.measures._arrays import Array, check_pair, detached, to_numpy, typical_entries, undefined, widest_float
from repscope.measures._messages import is_whole
from repscope.measures.kernels import squared_distances

QUANTILE = 0.9
"""Of a layer's distances, zeros of the diagonal included, which is its unit."""

_ZERO = 1e-6
"""Share of the mean distance below which a distance is taken for zero, as in the authors' code."""

Distances = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """One layer's distances among the examples of each trial.

    Attributes:
        distances: (m, m), over their quantile, one matrix a trial.
        whole: There is one trial, of all examples.
        alike: Nearly all distances are zero in some trial.
        like: Zeros () of the layer's library.
    """

    distances: tuple[Distances, ...]
    whole: bool
    alike: bool
    like: Array


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that mean nothing."""
    for name, least, advice in (("batch", 3, "500"), ("trials", 1, "10"), ("sample_seed", 0, "0")):
        value = options[name]
        if not is_whole(value) or value < least:
            raise InputError(
                f"rtd: {name} must be a whole number from {least}, got {value!r}. Leave it out for {advice}."
            )


def prepare(x: Array, *, batch: int = 500, trials: int = 10, sample_seed: int = 0) -> Samples:
    """Distances in one checked representation (n, p), of as many samples of examples as there are trials."""
    xp = array_api_compat.array_namespace(x)
    x = xp.astype(detached(x), widest_float(xp, x), copy=False)
    n = x.shape[0]
    parts = draw_samples(n, batch, trials, sample_seed)
    distances, alike = [], False
    for part in parts:
        chosen = xp.take(x, xp.asarray(part, device=array_api_compat.device(x)), axis=0)
        # An entry of each column is subtracted, not the mean: of coarse numbers that leaves equal distances equal.
        matrix = np.sqrt(to_numpy(squared_distances(xp, chosen - typical_entries(xp, chosen))))
        matrix = np.maximum(matrix, matrix.T)  # some libraries round both halves of a product differently
        unit = float(np.quantile(matrix, QUANTILE))
        alike = alike or unit == 0.0
        distances.append(matrix / (unit or 1.0))
    return Samples(tuple(distances), len(parts[0]) == n, alike, xp.sum(x[:0, :]))


def draw_samples(n: int, batch: int, trials: int, seed: int) -> list[npt.NDArray[np.intp]]:
    """The examples of each trial, in the order of the data; all of them, once, where they are no more than a batch."""
    if n <= batch:
        return [np.arange(n)]
    rng = np.random.default_rng(seed)
    return [np.sort(rng.choice(n, size=batch, replace=False)) for _ in range(trials)]


def score(state_x: Samples, state_y: Samples) -> Array:
    """RTD of two prepared layers."""
    for name, state in (("x", state_x), ("y", state_y)):
        if state.alike:
            return undefined("rtd", f"all rows of {name} are equal, or nearly all, so it has no unit.", state.like)
    pairs = zip(state_x.distances, state_y.distances, strict=True)
    values = [(cross_barcode(a, b) + cross_barcode(b, a)) / 2 for a, b in pairs]
    return state_x.like + math.fsum(values) / len(values)


def cross_barcode(first: Distances, second: Distances) -> float:
    """Sum of the lengths of the bars of dimension 1 of R-Cross-Barcode(first, second), of distances (m, m).

    The filtration is that of the cliques of a graph on two copies of the examples, the edges of which appear at 0
    within the one, at ``first`` between both, and at the smaller of both distances within the other.
    """
    m = len(first)
    joined = np.zeros((2 * m, 2 * m))
    joined[m:, :m], joined[:m, m:] = first, first.T
    joined[m:, m:] = np.minimum(first, second)
    joined[joined < _ZERO * first.mean()] = 0.0
    bars = _rips()(homology_dimensions=1, input_type="lower distance matrix", homology_coeff_field=2)
    (found,) = bars.fit_transform([joined])
    return math.fsum(found[:, 1] - found[:, 0])


def _rips() -> Any:
    try:
        from gudhi.sklearn.rips_persistence import RipsPersistence
    except ImportError:
        raise MissingExtraError("rtd", "gudhi", "topology") from None
    return RipsPersistence


def rtd(x: Array, y: Array, *, batch: int = 500, trials: int = 10, sample_seed: int = 0) -> Array:
    """Representation topology divergence: how much the topology of two representations differs, example by example.

    At each scale the graph of near pairs in x is compared with that of pairs near in x *or* y: what clusters and cycles
    would have to be joined? The lengths of all bars of dimension 1 of the R-Cross-Barcode are added up, and the mean
    taken of both directions, and of samples of the examples where these are more than ``batch``. Distances are
    Euclidean, over the 0.9-quantile of all entries of their matrix, the diagonal included, as in the authors' code.

    Range: [0, ∞), growing with the number of examples; 0 for equal distances. Invariances: orthogonal maps, isotropic
    scaling and translation. Symmetric. Not a metric.

    Args:
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        batch: Examples of a sample, from 3; values of different sizes are not comparable.
        trials: Samples, where n is larger than ``batch``.
        sample_seed: For drawing them, the same for every layer and call.

    Returns:
        A scalar of the caller's library. NaN, with a warning, where nine of ten pairs of examples of one side are
        equal. No gradient flows through it.

    Raises:
        InputError: For arrays that do not match, options that mean nothing, too few examples, or NaN and infinity.
        MissingExtraError: Without GUDHI.

    References:
        Barannikov, Trofimov, Balabin & Burnaev 2022, Representation Topology Divergence.

    Example:
        >>> import numpy as np
        >>> x = np.random.RandomState(0).rand(30, 2)
        >>> float(rtd(x, 2 * x[:, ::-1])) < 1e-9
        True
    """
    options: dict[str, int] = {"batch": batch, "trials": trials, "sample_seed": sample_seed}
    check_options(options)
    x, y = check_pair("rtd", x, y, minimum_examples=3)
    return score(prepare(x, **options), prepare(y, **options))
