"""The catalogue: one declared row per measure.

The command-line listing, the documentation, the citations, the plots' colour limits and the law tests are views of
this table. A new measure is one pair of functions, one row here, one slow reference and one page of documentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from repscope._words import did_you_mean
from repscope.errors import InputError
from repscope.measures import _declared as declared
from repscope.measures import (
    aligned,
    angular,
    cca,
    cka,
    dependence,
    gulp,
    hsic,
    matching,
    regression,
    rsa,
    shape,
    shared_dimensions,
    stochastic,
    transport,
    whitening,
)
from repscope.measures._arrays import Array, check_pair
from repscope.measures._messages import check_choice
from repscope.measures._neighbor_rows import NEIGHBOR_ROWS, UNPAIRED_ROWS
from repscope.measures.kernels import RBF, Laplace, Polynomial
from repscope.measures.measure import ConfiguredMeasure, Measure

_KORNBLITH = "Kornblith, Norouzi, Lee & Hinton 2019, Similarity of Neural Network Representations Revisited"

CATALOG: Mapping[str, Measure] = {
    row.id: row
    for row in (
        Measure(
            id="cka",
            title="Centered kernel alignment",
            formula="HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)); linear, biased: ‖YᵀX‖²_F / (‖XᵀX‖_F ‖YᵀY‖_F)",
            function=cka.cka,
            prepare=cka.prepare,
            score=cka.score,
            prepare_options={"kernel": "linear", "estimator": "unbiased"},
            facts=declared.cka_facts,
            variants=(
                {},
                {"estimator": "biased"},
                {"kernel": RBF(0.4)},
                {"kernel": RBF(0.4), "estimator": "biased"},
                {"kernel": RBF(sigma=2.0)},
                {"kernel": Laplace(1.0)},
                {"kernel": Polynomial(2)},
                {"kernel": "cosine"},
            ),
            cost="n·min(pq, n(p+q)) multiplications linear, n²(p+q) for other kernels",
            references=(f"{_KORNBLITH}, eq. 4", "Song et al. 2012", "Nguyen, Raghu & Kornblith 2021"),
        ),
        Measure(
            id="hsic",
            title="Hilbert–Schmidt independence criterion",
            formula="tr(KHLH) / (n−1)² biased; ⟨K̃, L̃⟩ / (n(n−3)) with U-centred K̃, L̃ unbiased",
            function=hsic.hsic,
            prepare=hsic.prepare,
            score=hsic.score,
            prepare_options={"kernel": "linear", "estimator": "unbiased"},
            facts=declared.hsic_facts,
            variants=({}, {"estimator": "biased"}, {"kernel": RBF(0.4)}, {"kernel": "cosine"}),
            cost="as cka",
            references=(f"{_KORNBLITH}, eq. 3", "Gretton et al. 2005", "Song et al. 2012"),
        ),
        Measure(
            id="cca",
            title="Canonical correlation analysis",
            formula="Σρ²/min(p, q) = ‖Q_YᵀQ_X‖²_F / min(p, q); or the mean of ρ",
            function=cca.cca,
            decomposes=True,
            prepare=cca.prepare,
            score=cca.score,
            score_options={"summary": "r2"},
            facts=declared.cca_facts,
            variants=({}, {"summary": "mean"}),
            cost="n(p² + q² + pq) + p³ + q³ multiplications; with n in place of p where p > n",
            references=(f"{_KORNBLITH}, eq. 7 and 8", "Hotelling 1936", "Björck & Golub 1973"),
        ),
        Measure(
            id="svcca",
            title="Singular-vector CCA",
            formula="CCA of the leading principal components that hold 99 % of each side's variance",
            function=cca.svcca,
            decomposes=True,
            prepare=cca.prepare_svcca,
            score=cca.score,
            prepare_options={"variance": 0.99},
            score_options={"summary": "r2"},
            facts=declared.svcca_facts,
            variants=({"variance": 0.8}, {"variance": 0.8, "summary": "mean"}),
            cost="as cca",
            references=(f"{_KORNBLITH}, Table 1", "Raghu et al. 2017"),
        ),
        Measure(
            id="pwcca",
            title="Projection-weighted CCA",
            formula="Σα_iρ_i / Σα_i with α_i = Σ_j |⟨h_i, x_j⟩|, weights from x",
            function=cca.pwcca,
            decomposes=True,
            prepare=cca.prepare_pwcca,
            score=cca.score_pwcca,
            facts=declared.pwcca_facts,
            cost="as cca, and p·q·min(p, q) for the singular vectors",
            references=(f"{_KORNBLITH}, eq. 9 and App. C.3", "Morcos, Raghu & Bengio 2018"),
        ),
        Measure(
            id="linear_regression",
            title="Linear regression R² of x from y",
            formula="‖Q_YᵀX‖²_F / ‖X‖²_F in the sample; with folds 1 − Σ_i ‖x_i − x̂_i‖² / Σ_i ‖x_i − x̄_i‖²",
            function=regression.linear_regression,
            decomposes=True,
            prepare=regression.prepare,
            score=regression.score,
            prepare_options={"folds": None, "fold_seed": 0},
            score_options={"regularization": 0.0},
            facts=declared.regression_facts,
            variants=({}, {"regularization": 0.1}, {"folds": 5}, {"folds": 4, "fold_seed": 1, "regularization": 0.01}),
            cost="as cca; with folds as many decompositions of n × min(n, q) a layer, and n²·min(n, p) a pair",
            references=(f"{_KORNBLITH}, eq. 5", "Hoerl & Kennard 1970", "Stone 1974"),
        ),
        Measure(
            id="procrustes",
            title="Orthogonal Procrustes",
            formula="arccos(‖XᵀY‖_* / (‖X‖_F ‖Y‖_F)), or the distance, squared or cosine form",
            function=shape.procrustes,
            prepare=shape.prepare,
            score=shape.score,
            score_options={"kind": "angle"},
            facts=declared.procrustes_facts,
            variants=({}, {"kind": "distance"}, {"kind": "squared"}, {"kind": "cosine"}),
            cost="npq + pq·min(p, q) multiplications; with n in place of p where p > n",
            references=(f"{_KORNBLITH}, App. D.2", "Williams et al. 2021", "Ding et al. 2021"),
        ),
        Measure(
            id="shape_distance",
            title="Generalised shape distance",
            formula="Procrustes angle of X(αI + (1−α)(XᵀX)^−½) and Y(αI + (1−α)(YᵀY)^−½)",
            function=whitening.shape_distance,
            decomposes=True,
            prepare=whitening.prepare,
            score=whitening.score,
            prepare_options={"alpha": 1.0},
            facts=declared.shape_distance_facts,
            variants=({}, {"alpha": 0.5}, {"alpha": 0.0}),
            cost="as procrustes at α = 1, as cca below",
            references=("Williams et al. 2021",),
        ),
        Measure(
            id="stochastic_shape_distance",
            title="Stochastic shape distance",
            formula="min over rotations Q of ((1/n) Σ_i α‖μ_i − Qν_i‖² + (2−α)B²(S_i, QT_iQᵀ))^½, B of Bures",
            function=stochastic.stochastic_shape_distance,
            prepare=stochastic.prepare,
            score=stochastic.score,
            prepare_options={"repeats": 1},
            score_options={"alpha": 1.0, "starts": 32},
            facts=declared.stochastic_facts,
            variants=({}, {"repeats": 5, "alpha": 1.8, "starts": 12}, {"repeats": 5, "alpha": 2.0}),
            cost="for each of some hundred steps a pair, npqr + nr³ multiplications and an SVD of p × q",
            references=("Duong et al. 2023", "Williams et al. 2021"),
        ),
        Measure(
            id="angular_cka",
            title="Angular CKA",
            formula="arccos(⟨K, L⟩ / (‖K‖ ‖L‖)), K = XXᵀ, L = YYᵀ",
            function=angular.angular_cka,
            prepare=angular.prepare,
            score=angular.score,
            facts=declared.angular_cka_facts,
            cost="as linear cka",
            references=("Williams et al. 2021", f"{_KORNBLITH}, eq. 4"),
        ),
        Measure(
            id="aligned_cosine",
            title="Aligned cosine similarity",
            formula="(1/n) Σ_i cos(x_iQ, y_i), Q the rotation of orthogonal Procrustes",
            function=aligned.aligned_cosine,
            prepare=aligned.prepare,
            score=aligned.score,
            facts=declared.aligned_cosine_facts,
            cost="as procrustes",
            references=("Hamilton, Leskovec & Jurafsky 2016", "Klabunde et al. 2024, ReSi"),
        ),
        Measure(
            id="permutation_procrustes",
            title="Permutation Procrustes",
            formula="min over permutations P of arccos(⟨X, YP⟩ / (‖X‖_F ‖Y‖_F)), or of ‖X − YP‖_F",
            function=matching.permutation_procrustes,
            prepare=matching.prepare,
            score=matching.score_permutation,
            score_options={"kind": "angle"},
            facts=declared.permutation_procrustes_facts,
            variants=({}, {"kind": "distance"}),
            cost="npq multiplications and an assignment of p units to q, at most max(p, q)³ steps",
            references=("Williams et al. 2021",),
        ),
        Measure(
            id="correlation_matching",
            title="Correlation matching of units",
            formula="mean r of units matched one to one (hard), or with the best of the other side (soft)",
            function=matching.correlation_matching,
            prepare=matching.prepare,
            score=matching.score_correlation,
            score_options={"assignment": "hard"},
            facts=declared.correlation_matching_facts,
            variants=({}, {"assignment": "soft"}),
            cost="as permutation_procrustes; npq multiplications soft",
            references=("Li, Yosinski, Clune, Lipson & Hopcroft 2015", "Klabunde et al. 2024, ReSi"),
        ),
        Measure(
            id="soft_matching",
            title="Soft matching of units",
            formula="min (Σ_ij P_ij ‖x_i − y_j‖²)^½ over P ≥ 0 with sums 1/p and 1/q; or max Σ_ij P_ij r_ij",
            function=transport.soft_matching,
            prepare=matching.prepare,
            score=transport.score,
            score_options={"kind": "distance", "mass": 1.0},
            facts=declared.soft_matching_facts,
            variants=({}, {"kind": "correlation"}, {"mass": 0.6}, {"kind": "correlation", "mass": 0.6}),
            cost="as permutation_procrustes, with a transport of p units to q where they differ or a part stays",
            references=("Khosla & Williams 2024, Soft Matching Distance", "Kapoor, Williams & Khosla 2026"),
        ),
        Measure(
            id="canonical_ridge",
            title="Canonical ridge (regularised CCA)",
            formula="Σ_iΣ_j a_i b_j ⟨u_i, v_j⟩² / norm, a_i = λ_i/(λ_i+κ_x), b_j = λ_j/(λ_j+κ_y)",
            function=cca.canonical_ridge,
            decomposes=True,
            prepare=cca.prepare,
            score=cca.score_canonical_ridge,
            score_options={"kappa_x": 1.0, "kappa_y": 1.0, "normalizer": "full"},
            facts=declared.canonical_ridge_facts,
            variants=({}, {"kappa_x": math.inf, "kappa_y": 0.0}, {"kappa_x": 0.5, "kappa_y": 50.0}),
            cost="as cca",
            references=(f"{_KORNBLITH}, App. D.1", "Vinod 1976"),
        ),
        Measure(
            id="gulp",
            title="GULP, distance of predictions by ridge regression",
            formula="‖Σ_i a_i u_iu_iᵀ − Σ_j b_j v_jv_jᵀ‖²_F, a_i = λ_i/(λ_i+λ), Σ_i λ_i = 1, b_j likewise",
            function=gulp.gulp,
            decomposes=True,
            prepare=cca.prepare,
            score=gulp.score,
            score_options={"regularization": 0.01},
            facts=declared.gulp_facts,
            variants=({}, {"regularization": 0.0}, {"regularization": 1.0}),
            cost="as cca",
            references=("Boix-Adserà, Lawrence, Stepaniants & Rigollet 2022",),
        ),
        Measure(
            id="distance_correlation",
            title="Distance correlation",
            formula="⟨A, B⟩ / (‖A‖ ‖B‖) of U-centred distances; √ of it for doubly centred ones, biased",
            function=dependence.distance_correlation,
            prepare=dependence.prepare,
            score=dependence.score,
            prepare_options={"estimator": "unbiased"},
            facts=declared.dependence_facts,
            variants=({}, {"estimator": "biased"}),
            cost="n²(p + q) multiplications, n² numbers a layer",
            references=("Székely, Rizzo & Bakirov 2007", "Székely & Rizzo 2014", "Sejdinovic et al. 2013"),
        ),
        Measure(
            id="rv2",
            title="Modified RV coefficient",
            formula="Σ_{i≠j} K_ij L_ij / √(Σ_{i≠j} K_ij² Σ_{i≠j} L_ij²), K = XXᵀ, L = YYᵀ",
            function=dependence.rv2,
            prepare=dependence.prepare_rv2,
            score=dependence.score_rv2,
            facts=declared.rv2_facts,
            cost="n²(p + q) multiplications, n² numbers a layer",
            references=("Smilde et al. 2009",),
        ),
        Measure(
            id="rsa",
            title="Representational similarity analysis",
            formula="Correlation of the dissimilarities d_x(i, j) and d_y(i, j) over the pairs of examples i < j",
            function=rsa.rsa,
            prepare=rsa.prepare,
            score=rsa.score,
            prepare_options={"rdm": "correlation", "compare": "spearman", "repeats": 1, "noise": "shrunk"},
            facts=declared.rsa_facts,
            variants=(
                {"rdm": "euclidean"},
                {"rdm": "euclidean", "compare": "pearson"},
                {"rdm": "squared_euclidean", "compare": "cosine_cov"},
                {"rdm": "crossnobis", "compare": "cosine_cov", "repeats": 5},
            ),
            cost="n²(p + q) multiplications, n² numbers a layer; n² log n for ranks, and a pair for τ_a; with noise p³ "
            "a repeat",
            references=(
                "Kriegeskorte, Mur & Bandettini 2008",
                "Walther et al. 2016",
                "Diedrichsen et al. 2021",
                "Schütt et al. 2023",
            ),
        ),
        *NEIGHBOR_ROWS,
        Measure(
            id="ensd",
            title="Effective number of shared dimensions",
            formula="tr K tr L ⟨K, L⟩ / (‖K‖²_F ‖L‖²_F), K = XXᵀ, L = YYᵀ",
            function=shared_dimensions.ensd,
            decomposes=True,
            prepare=cca.prepare,
            score=shared_dimensions.score_ensd,
            facts=declared.ensd_facts,
            cost="as cca",
            references=("Giaffar, Rullán Buxó & Aoi 2024",),
        ),
        Measure(
            id="eigenspace_overlap",
            title="Eigenspace overlap score",
            formula="‖U_XᵀU_Y‖²_F / max(rank x, rank y)",
            function=shared_dimensions.eigenspace_overlap,
            decomposes=True,
            prepare=cca.prepare,
            score=shared_dimensions.score_eigenspace_overlap,
            facts=declared.eigenspace_overlap_facts,
            cost="as cca",
            references=("May, Zhang, Dao & Ré 2019",),
        ),
        *UNPAIRED_ROWS,
    )
}


def configure(measure: str | ConfiguredMeasure, **options: Any) -> ConfiguredMeasure:
    """Settle a measure's options: ``configure("cka", estimator="biased")``.

    Args:
        measure: An id of the catalogue, or a measure configured before (then without options).
        **options: The measure's own options; those left out take their defaults.

    Returns:
        The configured measure: callable on two arrays, with ``.facts``, ``.label``, ``.prepare`` and ``.score``.

    Raises:
        InputError: For an unknown id, option or value; the message proposes near ones.
    """
    if isinstance(measure, ConfiguredMeasure):
        if options:
            raise InputError("configure: options must be given with an id, not with a measure configured before.")
        return measure
    check_choice("configure", "measure", measure, CATALOG)
    row = CATALOG[measure]
    unknown = sorted(set(options) - set(row.options))
    if unknown:
        known = ", ".join(row.options) or "none"
        raise InputError(
            f"{row.id}: options must be among {known}, got {unknown[0]!r}.{did_you_mean(unknown[0], row.options)}"
        )
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
    configured = ConfiguredMeasure(row, {**row.options, **plain})
    row.facts(configured.options)  # refuses a wrong option now, not after all activations are captured
    return configured


def score(measure: str | ConfiguredMeasure, x: Array, y: Array, **options: Any) -> Array:
    """Any measure of the catalogue by its id: ``score("cka", x, y, estimator="biased")``.

    Args:
        measure: An id; ``measures()`` lists them.
        x: Representation (n, p).
        y: Representation (n, q) of the same examples.
        **options: The measure's own options.

    Returns:
        A scalar of the caller's library.

    Raises:
        InputError: For an unknown id or option, or arrays that the measure refuses.
    """
    return configure(measure, **options)(x, y)


def measures() -> Mapping[str, Measure]:
    """The catalogue of all measures, as declared.

    Returns:
        Measure id to its row: title, formula, options, facts, cost, references. A copy, in the catalogue's order.

    Example:
        >>> "cka" in measures()
        True
    """
    return dict(CATALOG)


def check_for(measure: ConfiguredMeasure, x: Array, y: Array) -> tuple[Array, Array]:
    """Check a pair of representations as the measure's public function would, before preparing them."""
    least, as_stored = measure.facts.minimum_examples, measure.measure.decomposes
    return check_pair(measure.id, x, y, minimum_examples=least, as_stored=as_stored)
