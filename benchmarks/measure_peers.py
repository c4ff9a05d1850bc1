"""Who else computes each measure of the catalogue: packages through their interfaces, and public codes written plainly.

A side takes the layers of two networks and gives a matrix (rows, columns) in the unit of ours. Where a package, or the
code that a plain side follows, prepares a layer once, so does the side; else it works pair by pair, as there.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from benchmarks import plain, plain_pairs

Matrix = np.ndarray
Layers = Sequence[Matrix]
Side = Callable[[Layers, Layers], Matrix]


@dataclass(frozen=True)
class Contest:
    """One measure and who else computes it.

    Attributes:
        measure: Id.
        options: Of ours.
        plain: Public algorithms in numpy, by name.
        packages: Name to what imports the package and makes the side; ImportError where it is not installed.
        layers: Layers of each network, where all of them would take a side too long.
        tolerance: Largest difference from ours, as a share of the largest score.
    """

    measure: str
    options: Mapping[str, Any] = field(default_factory=dict)
    plain: Mapping[str, Side] = field(default_factory=dict)
    packages: Mapping[str, Callable[[], Side]] = field(default_factory=dict)
    layers: int = 18
    tolerance: float = 1e-3

    def sides(self) -> dict[str, Side]:
        """All peers that are installed."""
        found = {}
        for name, make in self.packages.items():
            with contextlib.suppress(ImportError):
                found[name] = make()
        return {**found, **{f"plain: {name}": side for name, side in self.plain.items()}}


def pairwise(score: Callable[[Any, Any], float], prepare: Callable[[Matrix], Any] | None = None) -> Side:
    """A loop over all pairs, after one over all layers where something is prepared."""

    def side(a: Layers, b: Layers) -> Matrix:
        left, right = (layers if prepare is None else [prepare(x) for x in layers] for layers in (a, b))
        return np.array([[score(x, y) for y in right] for x in left])

    return side


# -- packages ------------------------------------------------------------------------------------------------------


def pytorch_cka() -> Side:
    import torch
    from cka import cka_from_features

    def side(a: Layers, b: Layers) -> Matrix:
        left, right = ([torch.from_numpy(x) for x in layers] for layers in (a, b))
        return np.array([[float(cka_from_features(x, y)) for y in right] for x in left])

    return side


def rsatoolbox(rdm: str, compare: str) -> Side:
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm
    from rsatoolbox.rdm import compare as compare_rdms

    # Its correlation sums two million numbers one after the other: from single precision it is wrong by a thousandth.
    dtype = np.float64 if compare == "corr" else np.float32

    def side(a: Layers, b: Layers) -> Matrix:
        left, right = (calc_rdm([Dataset(x.astype(dtype)) for x in layers], method=rdm) for layers in (a, b))
        return np.asarray(compare_rdms(left, right, method=compare))

    return side


def dcor(function: str) -> Side:
    module = __import__("dcor")
    return pairwise(lambda x, y: float(getattr(module, function)(x, y)), lambda x: x.astype(np.float64))


def hoggorm() -> Side:
    from hoggorm.mat_corr_coeff import RV2coeff

    return pairwise(lambda x, y: float(RV2coeff([x, y])[0, 1]), plain.centered)


def scipy_procrustes() -> Side:
    from scipy.spatial import procrustes

    def angle(x: Matrix, y: Matrix) -> float:
        width = max(x.shape[1], y.shape[1])
        padded = (np.pad(z, ((0, 0), (0, width - z.shape[1]))) for z in (x, y))
        return math.acos(math.sqrt(1 - procrustes(*padded)[2]))  # its disparity is 1 − c²

    return pairwise(angle)


def sklearn_r2() -> Side:
    """R² weighted by the variance of the columns, as eq. 5 has it."""
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import r2_score

    return pairwise(lambda x, y: r2_score(x, LinearRegression().fit(y, x).predict(y), multioutput="variance_weighted"))


def sklearn_neighbors() -> Side:
    from sklearn.neighbors import NearestNeighbors

    def near(x: Matrix) -> Matrix:
        return NearestNeighbors(n_neighbors=10, metric="cosine").fit(x).kneighbors(return_distance=False)

    return pairwise(lambda x, y: float(np.mean([len(set(a) & set(b)) for a, b in zip(x, y, strict=True)])) / 10, near)


def transport(kind: str) -> Side:
    import ot

    def score(x: Matrix, y: Matrix) -> float:
        p, q = x.shape[1], y.shape[1]
        if kind == "distance":
            return math.sqrt(ot.emd2(np.ones(p) / p, np.ones(q) / q, ot.dist(x.T, y.T), numItermax=10**9))
        found = plain_pairs.correlations(x, y)
        return 1 - float(ot.emd2(np.ones(p) / p, np.ones(q) / q, 1 - found, numItermax=10**9))

    return pairwise(score, lambda x: plain.centered(x.astype(np.float64)))


def ripser(batch: int, trials: int) -> Side:
    from ripser import ripser as barcodes

    def bars(r: Matrix, s: Matrix) -> float:
        joined = np.block([[np.zeros_like(r), r.T], [r, np.minimum(r, s)]])
        found = barcodes(joined, maxdim=1, distance_matrix=True)["dgms"][1]
        return float(np.sum(found[:, 1] - found[:, 0]))

    def score(x: list[Matrix], y: list[Matrix]) -> float:
        return float(np.mean([(bars(r, s) + bars(s, r)) / 2 for r, s in zip(x, y, strict=True)]))

    def samples(x: Matrix) -> list[Matrix]:
        rng = np.random.default_rng(0)
        parts = [np.sort(rng.choice(len(x), size=batch, replace=False)) for _ in range(trials)]
        found = [plain_pairs.distances(x[part].astype(np.float64)) for part in parts]
        for distance in found:
            np.fill_diagonal(distance, 0.0)
        return [distance / np.quantile(distance, 0.9) for distance in found]

    return pairwise(score, samples)


# -- the catalogue -------------------------------------------------------------------------------------------------

ONE_NUMBER = pairwise(lambda x, y: abs(x - y), plain_pairs.magnitude)

CONTESTS: tuple[Contest, ...] = (
    Contest(
        "cka",
        plain={"Gram matrices": pairwise(plain_pairs.cka_unbiased)},
        packages={"pytorch-cka": pytorch_cka},
    ),
    Contest(
        "cka",
        {"estimator": "biased"},
        plain={"features": pairwise(plain.cka_of_features)},
        packages={
            "rsatoolbox cosine_cov": partial(rsatoolbox, "euclidean", "cosine_cov"),
        },
    ),
    Contest("cka", {"kernel": "rbf(0.5)", "estimator": "biased"}, plain={"Gram matrices": pairwise(plain.rbf_cka)}),
    Contest("hsic", plain={"Gram matrices": pairwise(plain_pairs.hsic_unbiased)}),
    Contest(
        "cca",
        plain={"covariance": pairwise(plain.cca_by_covariance)},
    ),
    Contest("svcca", plain={"SVD": pairwise(plain.svcca_by_svd)}),
    Contest("pwcca", plain={"covariance": pairwise(plain.pwcca_by_covariance)}),
    Contest(
        "linear_regression",
        plain={"QR": pairwise(plain.regression_by_qr)},
        packages={"scikit-learn": sklearn_r2},
    ),
    Contest(
        "procrustes",
        plain={"XᵀY": pairwise(lambda x, y: math.acos(plain.procrustes_by_product(x, y)))},
        packages={"scipy": scipy_procrustes},
    ),
    Contest(
        "shape_distance",
        {"alpha": 0.5},
        plain={"netrep's": pairwise(plain_pairs.shape_angle, partial(plain_pairs.whitened, alpha=0.5))},
    ),
    Contest("angular_cka", plain={"features": pairwise(lambda x, y: math.acos(plain.cka_of_features(x, y)))}),
    Contest("aligned_cosine", plain={"ReSi's": pairwise(plain_pairs.aligned_cosine)}),
    Contest("permutation_procrustes", plain={"netrep's": pairwise(plain_pairs.permutation_angle)}),
    Contest("correlation_matching", plain={"ReSi's": pairwise(plain_pairs.hard_matching)}),
    Contest("correlation_matching", {"assignment": "soft"}, plain={"ReSi's": pairwise(plain_pairs.best_matching)}),
    Contest("soft_matching", packages={"POT": partial(transport, "distance")}),
    Contest("soft_matching", {"kind": "correlation"}, packages={"POT": partial(transport, "correlation")}),
    Contest("canonical_ridge", plain={"SVD": pairwise(plain_pairs.canonical_ridge)}),
    Contest("gulp", plain={"the authors'": pairwise(plain_pairs.gulp)}),
    Contest("distance_correlation", packages={"dcor": partial(dcor, "u_distance_correlation_sqr")}, layers=2),
    Contest(
        "distance_correlation",
        {"estimator": "biased"},
        packages={"dcor": partial(dcor, "distance_correlation")},
        layers=2,
    ),
    Contest("rv2", plain={"Gram matrices": pairwise(plain_pairs.rv2)}, packages={"hoggorm": hoggorm}, layers=6),
    Contest("rsa", packages={"rsatoolbox": partial(rsatoolbox, "correlation", "spearman")}),
    *(
        Contest(
            "rsa",
            {"rdm": "squared_euclidean", "compare": ours},
            packages={"rsatoolbox": partial(rsatoolbox, "euclidean", theirs)},
            layers=2 if ours == "tau_a" else 18,
        )
        for ours, theirs in (("pearson", "corr"), ("rho_a", "rho-a"), ("corr_cov", "corr_cov"), ("tau_a", "tau-a"))
    ),
    Contest(
        "mutual_knn",
        plain={"argsort": pairwise(plain_pairs.mutual_knn, plain_pairs.neighbors)},
        packages={"scikit-learn": sklearn_neighbors},
    ),
    Contest("jaccard_knn", plain={"ReSi's": pairwise(plain_pairs.jaccard_by_sets, plain_pairs.neighbors)}),
    Contest("rank_similarity", plain={"ReSi's": pairwise(plain_pairs.rank_similarity_by_sets, plain_pairs.neighbors)}),
    Contest(
        "second_order_cosine", plain={"ReSi's": pairwise(plain_pairs.second_order_cosine, plain_pairs.with_cosines)}
    ),
    Contest("cknna", plain={"the authors'": pairwise(plain_pairs.cknna, plain_pairs.with_cosines)}),
    Contest("cycle_knn", plain={"the authors'": pairwise(plain_pairs.cycle_knn, plain_pairs.neighbors)}),
    Contest("ensd", plain={"Gram matrices": pairwise(plain_pairs.ensd)}),
    Contest("eigenspace_overlap", plain={"SVD": pairwise(plain_pairs.eigenspace_overlap)}),
    Contest("magnitude_difference", plain={"once a layer": ONE_NUMBER}),
    Contest(
        "concentricity_difference",
        plain={"once a layer": pairwise(lambda x, y: abs(x - y), plain_pairs.concentricity)},
    ),
    Contest(
        "uniformity_difference",
        plain={"cdist, once a layer": pairwise(lambda x, y: abs(x - y), plain_pairs.uniformity)},
    ),
    Contest("imd", plain={"spectrum, once a layer": pairwise(plain_pairs.imd, plain_pairs.heat_trace)}),
    Contest("rtd", {"batch": 150, "trials": 2}, packages={"ripser": partial(ripser, 150, 2)}, layers=2, tolerance=1e-5),
)
