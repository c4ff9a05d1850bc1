"""Chance levels: moments of ⟨A, B⟩ when the examples of one side are re-paired at random.

A and B (n, n) are symmetric with rows that sum to zero, as centred Gram matrices and projectors are. Over all n!
permutations π of the examples of B, T = Σ_ij A_ij B_π(i)π(j) has

    E T = tr A · tr B / (n − 1)
    Var T = 2 u_A u_B / ((n + 1)(n − 1)²(n − 2)) + v_A v_B / ((n + 1) n (n − 1)(n − 2)(n − 3))
    u = (n − 1) ‖A‖² − (tr A)²,    v = n(n + 1) Σ_i A_ii² − (n − 1)((tr A)² + 2 ‖A‖²)

exactly (Kazi-Aoual et al. 1995; Josse, Pagès & Husson 2008), so that the chance level of every pair of layers follows
from three sums of each layer. U-centred matrices have no diagonal: then E T = 0 and Var T = 2 ‖A‖² ‖B‖² / (n(n − 3)).
E T³ follows from five more sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from repscope.engine.accumulate import Matrix
from repscope.engine.run import GramScores
from repscope.inference.gamma import pearson_upper_tail
from repscope.measures._sums import CenteredSums, hsic_normalizer
from repscope.measures._thirds import Thirds
from repscope.measures.kernels import Estimator

FEWEST_FOR_P_VALUES = 8
"""Fewer examples have so few permutations that no smooth distribution stands for them: they can be enumerated."""

CONSTANT = 1e-6
"""Standard deviation over the mean up to which the score counts as the same under every permutation."""


@dataclass(frozen=True)
class Null:
    """Moments of the scores of all pairs under permutations of the examples of one side.

    Attributes:
        mean: (L, M), exact.
        sd: Standard deviation (L, M), exact; NaN for fewer than four examples.
        skewness: (L, M), from some of the examples where there are many.
        smallest: The probability of one permutation, below which no p-value can lie; NaN for so few examples that
            there are no p-values. Where the skewness is not known at all, there are none either.
        of_distances: Small scores are the noteworthy ones.
    """

    mean: Matrix
    sd: Matrix
    skewness: Matrix
    smallest: float
    of_distances: bool = False

    def divided(self, norms: Matrix) -> Null:
        """The same of scores that are divided by these norms (L, M); NaN where a norm is 0 (a constant layer)."""
        norms = np.where(norms > 0, norms, np.nan)
        return replace(self, mean=self.mean / norms, sd=self.sd / norms)

    def as_distances(self, squares: Matrix) -> Null:
        """That of ‖A‖² + ‖B‖² − 2⟨A, B⟩, from that of ⟨A, B⟩ and the sums (L, M) of both squares."""
        return Null(squares - 2 * self.mean, 2 * self.sd, -self.skewness, self.smallest, of_distances=True)

    @property
    def has_p_values(self) -> bool:
        """Whether any p-value follows: from enough examples, and enough that the skewness is taken from."""
        return not math.isnan(self.smallest) and not np.isnan(self.skewness).all()

    def take(self, rows: Sequence[int], columns: Sequence[int]) -> Null:
        """These rows and columns."""
        part = np.ix_(rows, columns)
        return replace(self, mean=self.mean[part], sd=self.sd[part], skewness=self.skewness[part])

    def p_values(self, values: Matrix) -> Matrix:
        """Probability of scores at least as large as these (L, M), by the Pearson type III distribution.

        Of distances: at least as small.

        It has the null's mean, variance and skewness (Josse, Pagès & Husson 2008). The classical gamma approximation
        of HSIC, whose moments hold for many examples and few features, fails for wide layers.

        Of a null that is skewed away from these scores, the distribution would end, and what lies beyond its end have
        the probability 0. Such a skew comes from few pairings of dominant examples and says nothing of how far the
        null reaches on this side: here it is taken to reach as far as on the other.
        """
        constant = self.sd <= CONSTANT * np.abs(self.mean)
        with np.errstate(invalid="ignore", divide="ignore"):
            sign = -1.0 if self.of_distances else 1.0
            found = pearson_upper_tail(sign * (values - self.mean) / self.sd, np.abs(self.skewness))
        found = np.where(constant & ~np.isnan(values), 1.0, found)
        return np.fmax(found, self.smallest) + 0 * found * self.smallest


def product_moments(x: CenteredSums, y: CenteredSums) -> tuple[Matrix, Matrix]:
    """Mean and variance (L, M) of ⟨A, PBPᵀ⟩ over all permutations P, for each A of x and B of y; exact."""
    n = x.n
    mean = np.outer(x.traces, y.traces) / (n - 1)
    if n < 4:
        return mean, np.full_like(mean, np.nan)

    def u(sums: CenteredSums) -> Matrix:
        return (n - 1) * sums.squared_norms - sums.traces**2

    def v(sums: CenteredSums) -> Matrix:
        return n * (n + 1) * sums.squared_diagonals - (n - 1) * (sums.traces**2 + 2 * sums.squared_norms)

    variance = 2 * np.outer(u(x), u(y)) / ((n + 1) * (n - 1) ** 2 * (n - 2))
    variance += np.outer(v(x), v(y)) / (math.perm(n + 1, 5))
    return mean, np.maximum(variance, 0.0)


@dataclass(frozen=True)
class DirectedSums:
    """What the moments of Σ_ij A_ij B_π(i)π(j) take from matrices A with zero diagonals, symmetric or not, each (L,).

    Attributes:
        n: Examples.
        totals: Σ A_ij.
        squares: Σ A_ij².
        mutual: Σ A_ij A_ji.
        rows: Σ_i (Σ_j A_ij)².
        columns: Σ_j (Σ_i A_ij)².
        mixed: Σ_i (Σ_j A_ij)(Σ_j A_ji).
    """

    n: int
    totals: Matrix
    squares: Matrix
    mutual: Matrix
    rows: Matrix
    columns: Matrix
    mixed: Matrix

    @property
    def shared(self) -> tuple[tuple[int, Matrix], ...]:
        """Σ A_ij A_kl for each way in which two pairs of indices share some, with the number of those that differ."""
        row, column = self.rows - self.squares, self.columns - self.squares
        turned = self.mixed - self.mutual  # twice: (i, j) with (k, i), and with (j, l)
        apart = self.totals**2 - self.squares - self.mutual - row - column - 2 * turned
        return (2, self.squares), (2, self.mutual), (3, row), (3, column), (3, turned), (3, turned), (4, apart)


def directed_moments(x: DirectedSums, y: DirectedSums) -> tuple[Matrix, Matrix]:
    """Mean and variance (L, M) of Σ_ij A_ij B_π(i)π(j) over all permutations π; exact (Mantel 1967).

    In the square of the sum, the two pairs of indices share some in seven ways, and π takes each way to every other
    choice of as many indices equally often.
    """
    n = x.n
    mean = np.outer(x.totals, y.totals) / math.perm(n, 2)
    if n < 4:
        return mean, np.full_like(mean, np.nan)
    pairs = zip(x.shared, y.shared, strict=True)
    square = sum(np.outer(a, b) / math.perm(n, differing) for (differing, a), (_, b) in pairs)
    return mean, np.maximum(square - mean**2, 0.0)


def skewness(x: CenteredSums, y: CenteredSums, thirds_x: Thirds, thirds_y: Thirds) -> Matrix:
    """Skewness (L, M) of ⟨A, PBPᵀ⟩ from third-order sums (L, 5) and (M, 5); exact where they are of all examples.

    T − E T = Q + c S, with Q = Σ Ũ_ij Ṽ_π(i)π(j) of the U-centred matrices, S = Σ α_i β_π(i) of the diagonals less
    their means, and c = n/(n − 2). In E Q³ the six indices coincide in eight ways; row sums of zero reduce all of them
    to Σ ũ_ij³ and tr Ũ³, and those of E Q²S, E QS² and E S³ to one sum each.
    """
    n = x.n
    if n < 6:
        return np.full((len(thirds_x), len(thirds_y)), np.nan)
    pairs, triples, fours, fives, sixes = (math.perm(n, k) for k in range(2, 7))
    (t, s, cubes, products, weighted), (t2, s2, cubes2, products2, weighted2) = thirds_x.T, thirds_y.T
    t, t2, s, s2 = t * triples, t2 * triples, s * pairs, s2 * pairs
    third: Matrix = (
        np.outer(s, s2) * (4 / pairs + 24 / triples + 56 / fours)
        + np.outer(t, t2) * (8 / triples)
        + np.outer(s - t, s2 - t2) * (24 / fours)
        + np.outer(t - 2 * s, t2 - 2 * s2) * (48 / fives)
        + np.outer(2 * s - t, 2 * s2 - t2) * (64 / sixes)
    )
    variance = np.full_like(third, 2.0 * n * (n - 3))
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # a matrix that does not vary has none
        ratio, ratio2 = x.diagonal_share(), y.diagonal_share()
        if ratio.any() and ratio2.any():
            share = n / (n - 2) * np.outer(ratio, ratio2)
            variance += (n - 1) * share**2
            third += (
                3
                * share
                * np.outer(weighted, weighted2)
                * pairs**2
                * (4 / pairs + 20 / triples + 52 / fours + 64 / fives)
            )
            third += 3 * share**2 * np.outer(products, products2) * pairs**2 * (2 / pairs + 4 / triples + 4 / fours)
            third += share**3 * np.outer(cubes, cubes2) * ((n - 1) * (n - 2) / n)
        found: Matrix = third / variance**1.5
    return found


def product_null(x: CenteredSums, y: CenteredSums, thirds_x: Thirds, thirds_y: Thirds) -> Null:
    """Null of ⟨A, B⟩ for each A of x and B of y."""
    mean, variance = product_moments(x, y)
    return Null(mean, np.sqrt(variance), skewness(x, y, thirds_x, thirds_y), smallest([x.n]))


def hsic_null(scores: GramScores, estimator: Estimator) -> Null:
    """Null of HSIC of all pairs (L, L), without units; of the minibatch estimate with permutations within each batch.

    Its terms are independent then, so their means and variances add, and their skewness vanishes with their number.
    """
    layers = len(scores.hsic)
    mean, variance = np.zeros((layers, layers)), np.zeros((layers, layers))
    for sums in scores.centered:
        own_mean, own_variance = product_moments(sums, sums)
        normalizer = hsic_normalizer(sums.n, estimator)
        mean += own_mean / normalizer
        variance += own_variance / normalizer**2
    count = len(scores.centered)
    sizes = [sums.n for sums in scores.centered]
    typical = min(scores.centered, key=lambda sums: abs(sums.n - sum(sizes) / count))
    skew = skewness(typical, typical, scores.thirds, scores.thirds) / math.sqrt(count)
    return Null(mean / count, np.sqrt(variance) / count, skew, smallest(sizes))


def smallest(sizes: Sequence[int]) -> float:
    """One over the number of permutations within groups of these sizes."""
    if sum(sizes) < FEWEST_FOR_P_VALUES:
        return math.nan
    return math.exp(-sum(math.lgamma(n + 1) for n in sizes))
