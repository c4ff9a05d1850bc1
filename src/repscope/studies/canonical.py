"""All indexes of the CCA family at once, for layers with thousands of features.

With the decompositions X = U S Vᵀ of both layers, one product M = U_Xᵀ U_Y holds everything: its singular values are
the canonical correlations, its leading blocks are those of SVCCA at every threshold, its rows weighted by S² give the
regression, and its singular vectors the weights of PWCCA. So each pair of layers costs one product and one
decomposition, and each layer one decomposition, whatever the number of indexes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import array_api_compat
import numpy as np
import torch
from torch import Tensor

from repscope.engine.products import native, times_transposed
from repscope.measures._decomposition import decompose, rank_tolerance

Scores = dict[str, tuple[float, float]]

ROWS = 2048
"""Examples whose features are in double precision at a time."""

LARGEST_DEPARTURE = 1e-7
"""Of UᵀU from I, ‖(UᵀU − I)z‖ for ‖z‖ = 1, beyond which a basis is made orthonormal: about single precision."""

_PROBES = 8
"""Random directions in which a basis is tried; one alone could miss a departure."""

_TENSORS = ("basis", "singular_values", "coordinates")


@dataclass(frozen=True)
class CanonicalLayer:
    """One decomposed layer.

    Attributes:
        basis: U (n, r), orthonormal columns that span the centred representation, strongest first.
        singular_values: S (r,), descending, up to one factor.
        coordinates: UᵀX (r, p), the centred units in the basis, up to the same factor.
        kept: For each share of the variance, how many leading components reach it.
    """

    basis: Tensor
    singular_values: Tensor
    coordinates: Tensor
    kept: Mapping[float, int]

    @property
    def nbytes(self) -> int:
        """Memory of all parts."""
        return sum(part.nbytes for part in (self.basis, self.singular_values, self.coordinates))


def room_of(n: int, p: int, dtype: torch.dtype = torch.float64) -> int:
    """Bytes of a decomposed layer of n examples and p features, all of whose principal components count."""
    rank = min(n - 1, p)
    return (n * rank + rank * p + rank) * dtype.itemsize


def prepare(x: Any, *, variances: Sequence[float] = (0.99,), dtype: torch.dtype = torch.float64) -> CanonicalLayer:
    """Decompose one representation in float64.

    Args:
        x: Tensor (n, p), on any device, not constant.
        variances: Shares of the variance at which SVCCA will cut.
        dtype: In which the parts are kept, and products are formed.
    """
    if x.dtype == torch.float32 and x.shape[1] < x.shape[0]:
        basis, singular, coordinates = _from_moments(x, dtype)
    else:
        state = decompose(x)
        basis, singular, coordinates = state.basis, state.singular_values, state.coordinates(x)
    basis = basis.to(dtype)
    if _departure(basis) > LARGEST_DEPARTURE:
        _orthonormalize(basis)
    shares = torch.cumsum(singular.double() ** 2, dim=0)
    return CanonicalLayer(
        basis=basis,
        singular_values=singular.to(dtype),
        coordinates=coordinates.to(dtype),
        kept={share: int((shares < share * shares[-1]).sum()) + 1 for share in variances},
    )


def _from_moments(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and S Vᵀ of single-precision features, from moments in double precision.

    As in :mod:`repscope.measures._decomposition`, but block by block, with two products of features in place of five
    and a third of the memory: of layers of 16,384 features both matter.
    """
    n, p = x.shape
    mean = torch.zeros(p, dtype=torch.float64, device=x.device)
    for block in torch.split(x, ROWS):
        mean += block.double().sum(dim=0) / n
    moments = torch.zeros(p, p, dtype=torch.float64, device=x.device)
    for block in torch.split(x, ROWS):
        centred = (block.double() - mean).T
        moments += multiplied(centred, centred)
    alive = torch.nonzero(moments.diagonal() > 0).squeeze(1)
    if len(alive) < p:
        moments = moments[alive][:, alive].contiguous()
    eigenvalues, vectors = _eigenvectors(moments)
    del moments
    limit = rank_tolerance(array_api_compat.array_namespace(x), x.dtype, torch.float64, x.shape) ** 2
    rank = int((eigenvalues > limit * eigenvalues[-1]).sum())
    singular = eigenvalues.flip(0)[:rank].sqrt()
    vectors = vectors[:, -rank:].flip(1)
    basis = torch.empty(n, rank, dtype=dtype, device=x.device)
    for start in range(0, n, ROWS):
        centred = (x[start : start + ROWS].double() - mean)[:, alive]
        basis[start : start + ROWS] = multiplied(centred, vectors.T) / singular
    return basis, singular, (vectors * singular).T


def _departure(basis: Tensor) -> float:
    """How far UᵀU is from the identity: the longest of the changes that it makes to random directions of length 1."""
    generator = torch.Generator().manual_seed(0)
    probes = torch.randn(basis.shape[1], _PROBES, generator=generator, dtype=torch.float64).to(basis.device)
    probes /= torch.linalg.vector_norm(probes, dim=0)
    again = torch.zeros_like(probes)
    for block in torch.split(basis, ROWS):
        again += block.double().T @ (block.double() @ probes)
    return float(torch.linalg.vector_norm(again - probes, dim=0).max())


def _orthonormalize(basis: Tensor) -> None:
    """One Cholesky-QR step in double precision, in place.

    A component of relative strength s comes out of the moments with an error of eps / s², which for the weakest that
    single-precision features have is a thousandth.
    """
    overlaps = torch.zeros(basis.shape[1], basis.shape[1], dtype=torch.float64, device=basis.device)
    for block in torch.split(basis, ROWS):
        columns = block.double().T
        overlaps += multiplied(columns, columns)
    inverse = torch.linalg.inv(torch.linalg.cholesky(overlaps))
    for block in torch.split(basis, ROWS):
        block.copy_(multiplied(block.double(), inverse))


def multiplied(a: Tensor, b: Tensor) -> Tensor:
    """A Bᵀ on the fastest route; where ``b is a``, most of the mirror image is left out."""
    left = native(a)
    return torch.as_tensor(times_transposed(left, left if b is a else native(b)))


def scores(x: CanonicalLayer, y: CanonicalLayer) -> Scores:
    """Every index of the family between two layers, in both orders.

    Returns:
        s(x, y) and s(y, x) for ``"cca-mean"``, ``"cca-r2"``, ``"pwcca"`` and ``"linear-regression"``, and for each
        common share of the variance ``"svcca-mean-0.99"`` and ``"svcca-r2-0.99"``. They are defined as those of the
        same name in :data:`repscope.studies.table2.INDEXES`.
    """
    product = multiplied(x.basis.T, y.basis.T)  # (r_x, r_y)
    left, correlations, right = _decomposed(product)
    fewest = min(product.shape)
    squared = float(torch.sum(product.double() ** 2))
    found: Scores = {}
    _both(found, "cca-mean", float(correlations.double().sum()) / fewest)
    _both(found, "cca-r2", squared / fewest)
    found["pwcca"] = (_weighted(left, x, correlations), _weighted(right, y, correlations))
    found["linear-regression"] = (_explained(x, product), _explained(y, product.T))
    for share in x.kept.keys() & y.kept.keys():
        block = product[: x.kept[share], : y.kept[share]]
        smaller = min(block.shape)
        _both(found, f"svcca-mean-{share:g}", float(_singular_values(block).double().sum()) / smaller)
        _both(found, f"svcca-r2-{share:g}", float(torch.sum(block.double() ** 2)) / smaller)
    return found


def save(layer: CanonicalLayer, path: Path) -> None:
    """Write a decomposed layer, to be multiplied later."""
    from safetensors.torch import save_file

    tensors = {name: getattr(layer, name).contiguous() for name in _TENSORS}
    save_file(tensors, path, {"kept": json.dumps({repr(share): count for share, count in layer.kept.items()})})


def load(path: Path, device: torch.device) -> CanonicalLayer:
    """Read what :func:`save` wrote; on the CPU it comes from the disk as it is needed."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        kept = json.loads(file.metadata()["kept"])
        tensors = {name: file.get_tensor(name).to(device) for name in _TENSORS}
    return CanonicalLayer(**tensors, kept={float(share): count for share, count in kept.items()})


def _eigenvectors(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors as columns, by the faster library (benchmarks/decompositions.py)."""
    if symmetric.device.type == "cpu" and symmetric.dtype == torch.float64:
        values, vectors = np.linalg.eigh(symmetric.numpy())
        return torch.from_numpy(values), torch.from_numpy(vectors)
    found = torch.linalg.eigh(symmetric)
    return found.eigenvalues, found.eigenvectors


def _both(found: Scores, name: str, value: float) -> None:
    found[name] = (value, value)


def _decomposed(product: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Singular values of M, descending, with left and right vectors as columns.

    From the eigenvectors of the smaller of M Mᵀ and Mᵀ M, ten times faster than an SVD of thousands of columns.
    Correlations below the root of the precision come out as noise of that size; their weight in any index is nothing.
    """
    if product.shape[0] > product.shape[1]:
        right, values, left = _decomposed(product.T)
        return left, values, right
    eigenvalues, left = _eigenvectors(multiplied(product, product))
    left, values = left.flip(1), eigenvalues.flip(0).clamp(min=0).sqrt()
    right = multiplied(product.T, left.T)
    return left, values, right / torch.linalg.vector_norm(right, dim=0).clamp(min=torch.finfo(right.dtype).tiny)


def _singular_values(block: Tensor) -> Tensor:
    small = block if block.shape[0] <= block.shape[1] else block.T
    eigenvalues: Tensor = torch.linalg.eigvalsh(multiplied(small, small))
    return eigenvalues.clamp(min=0).sqrt()


def _weighted(vectors: Tensor, layer: CanonicalLayer, correlations: Tensor) -> float:
    """PWCCA (eq. 9): the weight of a correlation is Σ_j |⟨h_i, x_j⟩|."""
    weights = multiplied(vectors.T, layer.coordinates.T).abs().double().sum(dim=1)
    return float((weights * correlations.double()).sum() / weights.sum())


def _explained(layer: CanonicalLayer, product: Tensor) -> float:
    """R² of predicting the layer on the rows of M from that on its columns."""
    variances = layer.singular_values.double() ** 2
    return float(variances @ (product.double() ** 2).sum(dim=1) / variances.sum())
