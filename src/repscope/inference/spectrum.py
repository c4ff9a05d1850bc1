"""The spectrum of a layer from a sample of its examples, and what it is without those that lie farthest out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from repscope.engine.threads import one_blas_thread
from repscope.inference.observer import FARTHEST_SHARE, Observer
from repscope.inference.passes import Floats
from repscope.inference.record import FARTHEST, Integers, LayerRecord
from repscope.measures.kernels import center_gram, minimum_examples

DOMINANCE = 0.5
"""Share of the squared Gram matrix that a hundredth of the examples brings in. CKA of a layer with itself without them
is √(1 − share), 0.71 here: scores may differ by more than those of unlike layers do (Nguyen et al. 2022). A hundredth
of a normal cloud brings 0.02 of it where there are many directions, 0.16 where there is one.
"""

DOMINANT_TIMES = 20
"""Times their share of the examples that they bring in, at least: of a few dozen examples one may make up half by
chance, where there are few directions.
"""

APART = 0.9
"""Share of the variance along the first component that lies between two groups of examples. One normal cloud has
2/π = 0.64, a uniform one 0.75; here the gap is six standard deviations of groups of equal size.
"""

COMPONENTS = 64
"""Principal components whose shares are kept; those after them say little of a sample of this size."""

_SHIFTED = 0.01
"""Share of the examples that :func:`halving_shift` speaks of."""


@dataclass(frozen=True)
class Spectrum:
    """Gram matrices of the examples that were kept: a sample, then the farthest.

    Attributes:
        first: Products of features, centred over all examples, or of one sketch of them (m + k, m + k).
        second: The same, or of the other sketch: its errors are independent, so products of the two matrices have none.
        weights: Examples that each stands for (m + k,).
        rest: The products of the sample alone (m, m), centred over the examples that are not among the farthest.
        rows: Rows of the data (m + k,).
    """

    first: Floats
    second: Floats
    weights: Floats
    rest: tuple[Floats, Floats]
    rows: Integers

    @classmethod
    def of(cls, observer: Observer, layer: LayerRecord) -> Spectrum | None:
        """None where the layer is constant, as far as its precision tells."""
        n = observer.n
        if layer.n < 2 or layer.axes is None:
            return None
        farthest = np.argsort(-layer.far, kind="stable")[: min(FARTHEST, math.ceil(FARTHEST_SHARE * n), n - 1)]
        far_rows = layer.far_rows[farthest]
        sampled = used_examples(observer)
        sampled = sampled[~np.isin(observer.sample_rows[sampled], far_rows)]
        m, k = sampled.size, farthest.size
        features = np.concatenate([layer.sample[sampled], layer.far_features[farthest]])
        weights = np.concatenate([np.full(m, (n - k) / m), np.ones(k)])
        features = features - np.average(features, axis=0, weights=weights).astype(np.float32)
        largest = float(np.abs(features).max())
        rounding = float(np.finfo(layer.axes.shift.dtype).eps) * float(np.abs(layer.axes.shift).max())
        if not 4 * rounding < largest < math.inf:
            return None
        features /= largest
        halves = np.split(features, 2, axis=1) if layer.sketched_to else [features, features]
        grams = [_gram(half) for half in (halves if layer.sketched_to else halves[:1])]
        rest = [_recentred(gram[:m, :m]) for gram in grams]
        rows = np.concatenate([observer.sample_rows[sampled], far_rows])
        view = cls(grams[0], grams[-1], weights, (rest[0], rest[-1]), rows)
        return view if view.trace > 0 and view.total > 0 else None

    @cached_property
    def count(self) -> int:
        """Examples."""
        return len(self.weights)

    @cached_property
    def sampled(self) -> int:
        """Those that are a random sample."""
        return len(self.rest[0])

    @cached_property
    def trace(self) -> float:
        """tr(Kc) of all examples."""
        return float(self.weights @ np.diag(self.first + self.second)) / 2

    @cached_property
    def total(self) -> float:
        """tr(Kc²) of all examples."""
        return _squared(self.first * self.second, self.weights)

    @cached_property
    def participation_ratio(self) -> float:
        """tr(Kc)² / tr(Kc²)."""
        return self.trace**2 / self.total

    @cached_property
    def dominance(self) -> float:
        """Share of tr(Kc²) that vanishes without the farthest examples."""
        m = self.sampled
        return 1 - _squared(self.rest[0] * self.rest[1], self.weights[:m]) / self.total

    @cached_property
    def dominant_rows(self) -> tuple[int, ...]:
        """The fewest of the farthest examples that bring nine tenths of that share, where it is too large."""
        m, k = self.sampled, self.count - self.sampled
        if self.dominance < max(DOMINANCE, DOMINANT_TIMES * k / self.weights.sum()):
            return ()
        squares = self.first * self.second
        # An example brings its products with the sample, and with those that were brought before.
        cross = 2 * (self.weights[:m] @ squares[:m, m:])
        among = squares[m:, m:]
        brought = np.cumsum(cross + 2 * np.tril(among, -1).sum(axis=1) + np.diag(among))
        fewest = int(np.searchsorted(brought, 0.9 * brought[-1])) + 1
        return tuple(sorted(self.rows[m : m + fewest].tolist()))

    @cached_property
    def first_component_share(self) -> float:
        """Share of the variance along the first principal component."""
        return float(self._eigenvalues[0]) / self.trace

    @cached_property
    def _weighted(self) -> Floats:
        roots = np.sqrt(self.weights)
        matrix: Floats = (self.first + self.second) / 2 * np.outer(roots, roots)
        return matrix

    @cached_property
    def _eigenvalues(self) -> Floats:
        values: Floats = np.linalg.eigvalsh(self._weighted)[::-1]
        return values

    @cached_property
    def _coordinates(self) -> Floats:
        """Of the examples along the first component, in some unit."""
        vector: Floats = _eigenvector(self._weighted, float(self._eigenvalues[0])) / np.sqrt(self.weights)
        return vector

    @cached_property
    def shares(self) -> tuple[float, ...]:
        """Shares of the variance along the leading principal components, largest first, to four digits."""
        values = self._eigenvalues
        most = min(COMPONENTS, self.count - 1)
        rounding = values[0] * self.count * float(np.finfo(np.float32).eps)  # the features' precision
        return tuple(float(f"{value / self.trace:.4g}") for value in values[:most] if value > rounding)

    @cached_property
    def apart_share(self) -> float:
        """Share of the examples in the smaller of two groups along the first component."""
        return self._groups[0]

    @cached_property
    def translation_share(self) -> float:
        """Share of all variance that lies between the two groups; 0 where they are not clearly apart."""
        _, between = self._groups
        return between * self.first_component_share if between >= APART else 0.0

    @cached_property
    def _groups(self) -> tuple[float, float]:
        """The split of the coordinates that leaves least variance within: size of the smaller part, share between."""
        coordinates = self._coordinates
        order = np.argsort(coordinates)
        t, w = coordinates[order], self.weights[order]
        mass, moment = np.cumsum(w)[:-1], np.cumsum(w * t)[:-1]
        n, mean = w.sum(), float(w @ t) / w.sum()
        between = (moment - mass * mean) ** 2 / (mass * (n - mass)) * n
        best = int(np.argmax(between))
        share = float(mass[best] / n)
        return min(share, 1 - share), float(between[best] / (w @ (t - mean) ** 2))


def cka_without(observer: Observer, rows: Sequence[int]) -> tuple[Floats, int]:
    """Unbiased linear CKA of all pairs of layers (L, L) without some examples, and the number of those it comes from.

    From the sample, so it is exact (for single-precision features) where that holds all examples and no layer is
    sketched. NaN where a layer does not vary.

    Args:
        observer: What was seen.
        rows: The examples to be left out.

    References:
        Nguyen, Raghu & Kornblith 2022: layers of large networks are alike by a few dominant examples.
    """
    kept = used_examples(observer)
    kept = kept[~np.isin(observer.sample_rows[kept], list(rows))]
    layers, m = observer.layers, kept.size
    if m < minimum_examples("unbiased"):
        return np.full((len(layers), len(layers)), np.nan), m
    entries = np.triu_indices(m, k=1)
    products = np.empty((len(layers), entries[0].size), dtype=np.float32)
    selves = np.empty(len(layers))
    with one_blas_thread(), np.errstate(all="ignore"):
        for index, layer in enumerate(layers):
            first, second = (center_gram(gram, "unbiased") for gram in _grams(layer.sample[kept], layer.sketched_to))
            # Products of two sketches of one layer have no errors in common; those of two layers neither.
            selves[index] = float((first[entries] * second[entries]).sum())
            both = (first[entries] + second[entries]) / 2
            unit = math.sqrt(selves[index]) if selves[index] > 0 else math.nan
            products[index] = both / unit
        found = np.asarray(products @ products.T, dtype=np.float64)
    np.fill_diagonal(found, np.where(selves > 0, 1.0, np.nan))
    return found, m


def _grams(features: Floats, sketched_to: int) -> tuple[Floats, Floats]:
    """Products of centred features in a common unit, twice; of two sketches, one of each."""
    features = features - features.mean(axis=0)
    largest = float(np.abs(features).max())
    if largest > 0:
        features = features / largest
    if not sketched_to:
        gram = _gram(features)
        return gram, gram
    halves = np.split(features, 2, axis=1)
    return _gram(halves[0]), _gram(halves[1])


def used_examples(observer: Observer) -> Integers:
    """Places in the sample of the examples that are looked at, in the order of their rows."""
    chosen = np.argsort(observer.sample.keys)[: observer.examples_used(observer.n)]
    found: Integers = chosen[np.argsort(observer.sample_rows[chosen])]
    return found


def halving_shift(participation_ratio: float, n: int) -> float | None:
    """How far a hundredth of n examples must be moved to halve the CKA of a layer with itself.

    In root mean square distances from the mean, for examples chosen at random and a direction that the layer does not
    use. With a = 1/PR, b = 1/(n − 1) and g the squared shift times ρ(1 − ρ), both relative to tr(Kc)/n, the biased
    linear CKA is (a + g b) / √(a (a + 2 g b + g²)), the limit g → ∞ of which is that of Davari et al. (2022).

    Args:
        participation_ratio: PR of the layer.
        n: Examples.

    Returns:
        The distance; None where no distance is far enough.
    """
    share = max(1, round(_SHIFTED * n)) / n
    a, b = 1 / participation_ratio, 1 / (n - 1)
    quadratic = a / 4 - b * b
    if quadratic <= 0 or share >= 1:
        return None
    g = (1.5 * a * b + math.sqrt(2.25 * a * a * b * b + 3 * quadratic * a * a)) / (2 * quadratic)
    return math.sqrt(g / (share * (1 - share)))


def _gram(features: Floats) -> Floats:
    features = np.ascontiguousarray(features)
    return np.asarray(features @ features.T, dtype=np.float64)


def _recentred(gram: Floats) -> Floats:
    means = gram.mean(axis=0)
    centred: Floats = gram - means - means[:, None] + means.mean()
    return centred


def _squared(squares: Floats, weights: Floats) -> float:
    """Σ_ij K_ij² over all examples, from those that stand for ``weights`` of them; each product with itself once."""
    diagonal = np.diag(squares)
    return float(weights @ squares @ weights - (weights * weights - weights) @ diagonal)


def _eigenvector(matrix: Floats, value: float) -> Floats:
    """An eigenvector of the largest eigenvalue of a positive matrix, by inverse iteration (two steps are plenty)."""
    shifted = matrix - value * (1 + 1e-9) * np.eye(len(matrix))
    vector = matrix[:, int(np.argmax(np.diag(matrix)))]
    for _ in range(2):
        vector = np.linalg.solve(shifted, vector)
        vector = vector / np.linalg.norm(vector)
    found: Floats = vector
    return found
