"""Table 2 of Kornblith et al. (2019): which similarity indexes identify corresponding layers?

The eleven indexes of the table with the definitions the paper used, the accuracies it reports, and the
way from one comparison of all layers of all networks to the statistic of
:mod:`repscope.studies.identification`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.measures.catalog import configure
from repscope.measures.kernels import RBF
from repscope.measures.measure import ConfiguredMeasure
from repscope.studies.identification import mean_over_pairs, symmetrised


@dataclass(frozen=True)
class Index:
    """One row of Table 2.

    Attributes:
        id: Short name, fit for a file.
        title: The index as the table names it.
        measure: The measure with the paper's options.
        paper: The accuracy the paper reports, 0 to 1: ten Tiny-10 networks on the CIFAR-10 training set.
        symmetrise: Whether s(x, y) + s(y, x) is ranked instead of s(x, y).
    """

    id: str
    title: str
    measure: ConfiguredMeasure
    paper: float
    symmetrise: bool = False


INDEXES = (
    Index("cca-mean", "CCA (ρ̄)", configure("cca", summary="mean"), 0.014),
    Index("cca-r2", "CCA (R²)", configure("cca", summary="r2"), 0.106),
    Index("svcca-mean", "SVCCA (ρ̄)", configure("svcca", variance=0.99, summary="mean"), 0.099),
    Index("svcca-r2", "SVCCA (R²)", configure("svcca", variance=0.99, summary="r2"), 0.151),
    Index("pwcca", "PWCCA", configure("pwcca"), 0.111, symmetrise=True),
    Index("linear-regression", "Linear regression", configure("linear_regression"), 0.454, symmetrise=True),
    Index("hsic-linear", "Linear HSIC", configure("hsic", estimator="biased"), 0.222),
    Index("cka-linear", "CKA (linear)", configure("cka", estimator="biased"), 0.993),
    Index("cka-rbf-0.2", "CKA (RBF 0.2)", configure("cka", kernel=RBF(0.2), estimator="biased"), 0.806),
    Index("cka-rbf-0.4", "CKA (RBF 0.4)", configure("cka", kernel=RBF(0.4), estimator="biased"), 0.991),
    Index("cka-rbf-0.8", "CKA (RBF 0.8)", configure("cka", kernel=RBF(0.8), estimator="biased"), 0.993),
)
"""The rows of Table 2, in its order."""


def by_network(comparison: Comparison, *, symmetrise: bool = False) -> NDArray[np.float64]:
    """Return the scores of a comparison of all networks with all, one axis for each network and each layer.

    Args:
        comparison: All layers of m networks on the rows, and the same on the columns; every network has
            layers of the same names.
        symmetrise: Return s(x, y) + s(y, x) in place of s(x, y).

    Returns:
        Scores of shape (m, m, L, L), indexed [row network, column network, layer of the row network,
        layer of the column network].

    Raises:
        InputError: The rows and columns are not of that kind.
    """
    networks, layers = comparison.models, tuple(dict.fromkeys(comparison.row_layers))
    m, count = len(networks), len(layers)
    expected = tuple((network, layer) for network in networks for layer in layers)
    rows = tuple(zip(comparison.row_models, comparison.row_layers, strict=True))
    columns = tuple(zip(comparison.column_models, comparison.column_layers, strict=True))
    if not rows == columns == expected:
        raise InputError(
            "by_network: comparison must hold the same layers of every network on its rows and its columns, got "
            f"{len(rows)} rows and {len(columns)} columns of {m} networks and {count} layer names. Compare all "
            "networks with all in one call."
        )
    scores = comparison.values.reshape(m, count, m, count).transpose(0, 2, 1, 3)
    return symmetrised(scores) if symmetrise else scores


def average_over_pairs(comparison: Comparison, *, symmetrise: bool = False) -> Comparison:
    """Return the layer × layer matrix of a comparison, averaged over all ordered pairs of different networks.

    Args:
        comparison: As for :func:`by_network`.
        symmetrise: Average (s(x, y) + s(y, x)) / 2, which has the measure's own range, in place of s(x, y).

    Returns:
        A comparison of L × L layers between "network a" and "network b".

    Raises:
        InputError: As for :func:`by_network`, or there is one network only.
    """
    scores = by_network(comparison, symmetrise=symmetrise)
    m, _, count, _ = scores.shape
    if m < 2:
        raise InputError("average_over_pairs: comparison must hold at least 2 networks, got 1.")
    mean = mean_over_pairs(scores)
    block = comparison.between(comparison.models[0], comparison.models[1])
    return replace(
        block,
        values=mean / 2 if symmetrise else mean,
        row_models=("network a",) * count,
        column_models=("network b",) * count,
        symmetric=block.symmetric or symmetrise,
        details={**block.details, "averaged over": f"{m * (m - 1)} ordered pairs of networks"},
    )
