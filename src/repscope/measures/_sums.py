"""What tiles of Gram matrices add up to, and the HSIC of all pairs of layers that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from repscope.measures.kernels import Estimator

Matrix = npt.NDArray[np.float64]


def hsic_normalizer(n: int, estimator: Estimator) -> int:
    """By what ⟨K̃, L̃⟩ is divided for the HSIC of n examples."""
    return n * (n - 3) if estimator == "unbiased" else (n - 1) ** 2


@dataclass(frozen=True)
class CenteredSums:
    """What the centred Gram matrices A (n, n) of L layers leave for their null under permutations of the examples.

    Attributes:
        n: Number of examples.
        traces: Σ_i A_ii (L,); zero for U-centred matrices, which have no diagonal.
        squared_diagonals: Σ_i A_ii² (L,).
        squared_norms: Σ_ij A_ij² (L,).
    """

    n: int
    traces: Matrix
    squared_diagonals: Matrix
    squared_norms: Matrix

    def diagonal_share(self) -> Matrix:
        """Standard deviation of the diagonal over that of the U-centred entries (L,); 0 where there is no diagonal."""
        n = self.n
        diagonal = np.maximum(self.squared_diagonals - self.traces**2 / n, 0.0)
        entries = self.squared_norms - self.traces**2 / (n - 1) - n / (n - 2) * diagonal
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.sqrt(diagonal / (n - 1)) / np.sqrt(np.maximum(entries, 0.0) / (n * (n - 3)))
        return np.where(diagonal > 0, found, 0.0)


@dataclass(frozen=True)
class PairSums:
    """What all pairs of L layers leave of their Gram matrices K (n × n, up to one shift of the features per layer).

    Of several data sets of one size the arrays have a leading axis more.

    With K̃ the matrix without its diagonal d, and r̃ the row sums of K̃:

    Attributes:
        n: Number of examples.
        products: Σ_ij K̃_ij L̃_ij for each pair (L, L).
        row_products: Σ_i r̃_i r̃'_i (L, L).
        row_diagonals: Σ_i r̃_i d'_i (L, L), rows of the first layer with the diagonal of the second.
        diagonals: Σ_i d_i d'_i (L, L).
        totals: Σ_i r̃_i (L,).
        traces: Σ_i d_i (L,).
        magnitudes: Size of the sums whose difference is the U-centred product of each layer with itself (L,).
    """

    n: int
    products: Matrix
    row_products: Matrix
    row_diagonals: Matrix
    diagonals: Matrix
    totals: Matrix
    traces: Matrix
    magnitudes: Matrix

    @classmethod
    def around_the_mean(cls, n: int, products: Matrix, diagonals: Matrix, traces: Matrix) -> PairSums:
        """Of linear Gram matrices of features whose mean is zero: the row sums of K vanish, so r̃ = −d.

        Args:
            n: Number of examples.
            products: Σ_ij K_ij L_ij for each pair (L, L), diagonals included.
            diagonals: Σ_i d_i d'_i (L, L).
            traces: Σ_i d_i (L,).
        """
        return cls(
            n=n,
            products=products - diagonals,
            row_products=diagonals,
            row_diagonals=-diagonals,
            diagonals=diagonals,
            totals=-traces,
            traces=traces,
            magnitudes=np.diag(products) + np.diag(diagonals),
        )

    def centered_products(self, estimator: Estimator) -> Matrix:
        """⟨K̃, L̃⟩ of the centred (biased) or U-centred (unbiased) Gram matrices for each pair (L, L)."""
        n = self.n
        if estimator == "unbiased":
            total = _outer(self.totals) / ((n - 1) * (n - 2))
            return self.products + total - self.row_products * (2 / (n - 2))
        rows = self.row_products + self.row_diagonals + self.row_diagonals.swapaxes(-2, -1) + self.diagonals
        return self.products + self.diagonals - rows * (2 / n) + _outer(self.totals + self.traces) / n**2

    def hsic(self, estimator: Estimator) -> Matrix:
        """HSIC of each pair (L, L), in the unit of the Gram matrices."""
        return self.centered_products(estimator) / hsic_normalizer(self.n, estimator)

    def centered(self, estimator: Estimator) -> CenteredSums:
        """Sums of each layer's centred (biased) or U-centred (unbiased) Gram matrix, without units."""
        squared_norms = np.diag(self.centered_products(estimator))
        if estimator == "unbiased":
            nothing = np.zeros_like(self.traces)
            return CenteredSums(self.n, nothing, nothing, squared_norms)
        # A_ii = d_i − 2 r_i / n + s / n² with the row sums r = r̃ + d and the total s of the full matrix.
        n, mean = self.n, (self.totals + self.traces) / self.n**2
        kept, taken = 1 - 2 / n, 2 / n
        squared = (
            kept**2 * np.diag(self.diagonals)
            + taken**2 * np.diag(self.row_products)
            - 2 * kept * taken * np.diag(self.row_diagonals)
            + 2 * mean * (kept * self.traces - taken * self.totals)
            + n * mean**2
        )
        return CenteredSums(n, self.traces - n * mean, squared, squared_norms)

    def vanishing(self, estimator: Estimator, itemsize: int) -> npt.NDArray[np.bool_]:
        """Layers (L,) whose centred Gram matrix is zero as far as entries of ``itemsize`` bytes can tell.

        The products of single-precision entries were measured to carry an error of at most half an eps of the sums that
        they are the difference of; from 16 eps on less than a twentieth of what is left is error.
        """
        eps = max(16 * float(np.finfo(f"f{itemsize}").eps), 1e-13)
        magnitudes = self.magnitudes + np.diag(self.diagonals) if estimator == "biased" else self.magnitudes
        return ~(np.diag(self.centered_products(estimator)) > eps * magnitudes)


def _outer(x: Matrix) -> Matrix:
    return x[..., :, None] * x[..., None, :]


class TileSums:
    """Sums over tiles of the Gram matrices of L layers; exact once every tile with rows ≤ columns was added."""

    def __init__(self, layers: int, n: int = 0) -> None:
        self.products = np.zeros((layers, layers))
        self.rows = np.zeros((layers, n))
        self.diagonal = np.zeros((layers, n))

    @property
    def layers(self) -> int:
        """Number of layers."""
        return self.rows.shape[0]

    @property
    def n(self) -> int:
        """Number of examples seen so far."""
        return self.rows.shape[1]

    def update_block(
        self, rows: slice, columns: slice, products: Matrix, row_sums: Matrix, column_sums: Matrix
    ) -> None:
        """Add a tile off the diagonal, which stands for its mirror image too.

        Args:
            rows: Examples of the tile's rows, ``columns`` of its columns; the two do not overlap.
            columns: See ``rows``.
            products: Σ K_ij L_ij over the tile for each pair (L, L).
            row_sums: Σ_j K_ij (L, rows).
            column_sums: Σ_i K_ij (L, columns).
        """
        self._make_room(max(rows.stop, columns.stop))
        self.products += 2 * products
        self.rows[:, rows] += row_sums
        self.rows[:, columns] += column_sums

    def update_diagonal(self, rows: slice, products: Matrix, row_sums: Matrix, diagonal: Matrix) -> None:
        """Add a tile on the diagonal: sums over its entries i ≠ j, and its diagonal (L, rows)."""
        self._make_room(rows.stop)
        self.products += products
        self.rows[:, rows] += row_sums
        self.diagonal[:, rows] += diagonal

    def merge(self, other: Self) -> None:
        """Add the tiles that another process has computed."""
        self._make_room(other.n)
        self.products += other.products
        self.rows[:, : other.n] += other.rows
        self.diagonal[:, : other.n] += other.diagonal

    def _make_room(self, n: int) -> None:
        # The length of a stream is known only once it has ended.
        if n > self.n:
            grow = ((0, 0), (0, n - self.n))
            self.rows, self.diagonal = np.pad(self.rows, grow), np.pad(self.diagonal, grow)

    def finish(self) -> PairSums:
        """The sums of all pairs of layers."""
        row_products = self.rows @ self.rows.T
        return PairSums(
            n=self.n,
            products=self.products,
            row_products=row_products,
            row_diagonals=self.rows @ self.diagonal.T,
            diagonals=self.diagonal @ self.diagonal.T,
            totals=self.rows.sum(axis=1),
            traces=self.diagonal.sum(axis=1),
            magnitudes=np.diag(self.products) + np.diag(row_products) * (2 / self.n),
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The sums as plain arrays, to be saved or sent."""
        return {"products": self.products, "rows": self.rows, "diagonal": self.diagonal}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[Any]]) -> Self:
        """The inverse of :meth:`arrays`; both share their memory."""
        sums = cls(arrays["rows"].shape[0])
        sums.products, sums.rows, sums.diagonal = (arrays[k] for k in ("products", "rows", "diagonal"))
        return sums
