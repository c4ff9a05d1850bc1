"""The catalogue: one declared row per measure.

The command-line listing, the documentation, the citations, the plots' colour limits and the law tests are views of
this table. A new measure is one pair of functions, one row here, one slow reference and one page of documentation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from repscope.errors import InputError
from repscope.measures import cca, cka, dependence, hsic, neighbors, regression, rsa, shape
from repscope.measures._arrays import Array, check_pair
from repscope.measures._decomposition import Decomposition
from repscope.measures._messages import check_choice, did_you_mean
from repscope.measures.kernels import RBF, Kernel, Laplace, Polynomial, as_kernel, check_estimator
from repscope.measures.kernels import minimum_examples as _minimum_examples


class Invariance(StrEnum):
    """A transformation of one representation that leaves the score as it is (§2 of the 2019 paper)."""

    PERMUTATION = "permutation"
    """Reordering the features."""
    ORTHOGONAL = "orthogonal"
    """Rotations and reflections of feature space; contains the permutations."""
    ISOTROPIC_SCALING = "isotropic scaling"
    """Multiplying all features by one positive number."""
    TRANSLATION = "translation"
    """Adding one vector to all examples."""
    INVERTIBLE_LINEAR = "invertible linear"
    """Any invertible linear map of feature space; contains the orthogonal maps and scaling."""


@dataclass(frozen=True)
class Facts:
    """What is declared about a measure with given options, and held (or broken on a witness) by the tests.

    Attributes:
        kind: ``"similarity"`` (large means alike) or ``"distance"``.
        range: Smallest and largest possible value.
        symmetric: Whether score(x, y) = score(y, x).
        metric: Whether it satisfies the axioms of a metric on equivalence classes.
        invariances_x: Transformations of the first argument that change nothing.
        invariances_y: Transformations of the second argument that change nothing.
        minimum_examples: Smallest n that is accepted.
    """

    kind: Literal["similarity", "distance"]
    range: tuple[float, float]
    symmetric: bool
    metric: bool
    invariances_x: frozenset[Invariance]
    invariances_y: frozenset[Invariance]
    minimum_examples: int


@dataclass(frozen=True)
class Measure:
    """One row of the catalogue.

    Attributes:
        id: Public name, as in ``repscope.score(id, x, y)``.
        title: Full name.
        formula: In one line, for centred X and Y.
        function: The public function of two representations.
        prepare: From a checked representation to a state, once per layer.
        score: From two states to a scalar, once per pair.
        prepare_options: Options of ``prepare`` with their defaults.
        score_options: Options of ``score`` with their defaults.
        facts: The declared facts for given options; refuses options that do not exist.
        variants: Options worth listing; every test of the catalogue runs over them.
        cost: Arithmetic for one pair with n examples and widths p, q.
        references: Where the definition comes from.
        decomposes: ``prepare`` takes a ``decomposition=`` made before, the costly part, which measures share.
    """

    id: str
    title: str
    formula: str
    function: Callable[..., Array]
    prepare: Callable[..., Any]
    score: Callable[..., Array]
    prepare_options: Mapping[str, Any]
    score_options: Mapping[str, Any]
    facts: Callable[[Mapping[str, Any]], Facts]
    variants: tuple[Mapping[str, Any], ...]
    cost: str
    references: tuple[str, ...]
    decomposes: bool = False

    @property
    def options(self) -> Mapping[str, Any]:
        """All options with their defaults."""
        return {**self.prepare_options, **self.score_options}


@dataclass(frozen=True)
class ConfiguredMeasure:
    """A measure with all of its options settled; what the conductor, the plots and the tests work with."""

    measure: Measure
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Catalogue id."""
        return self.measure.id

    @property
    def label(self) -> str:
        """Id and the options that differ from the defaults, such as ``cka(estimator='biased', kernel=RBF(0.4))``."""
        changed = {k: v for k, v in self.options.items() if v != self.measure.options[k]}
        if not changed:
            return self.id
        return f"{self.id}({', '.join(f'{k}={describe(v)}' for k, v in sorted(changed.items()))})"

    @property
    def facts(self) -> Facts:
        """The declared facts for these options."""
        return self.measure.facts(self.options)

    def prepare(self, x: Array, *, decomposition: Decomposition | None = None) -> Any:
        """Prepare one checked representation."""
        options = {k: self.options[k] for k in self.measure.prepare_options}
        if self.measure.decomposes:
            options["decomposition"] = decomposition
        return self.measure.prepare(x, **options)

    @property
    def preparation(self) -> tuple[Any, ...]:
        """A key that two configured measures share when one preparation serves both."""
        options = (self.options[k] for k in sorted(self.measure.prepare_options))
        # Two callables may share their name: each is itself only.
        return (self.measure.prepare, *(v if isinstance(v, Kernel | str | float | int) else id(v) for v in options))

    def score(self, state_x: Any, state_y: Any) -> Array:
        """Score two prepared representations."""
        return self.measure.score(state_x, state_y, **{k: self.options[k] for k in self.measure.score_options})

    def __call__(self, x: Array, y: Array) -> Array:
        """Check and score two representations."""
        return self.measure.function(x, y, **self.options)


def describe(value: Any) -> str:
    """An option's value as it is printed and stored: kernels by their definition, the rest by repr."""
    if isinstance(value, Kernel):
        return repr(value)
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"
    return repr(value)


_LINEAR = frozenset(Invariance)
_ORTHOGONAL = frozenset({Invariance.PERMUTATION, Invariance.ORTHOGONAL})
_TRANSLATION = frozenset({Invariance.TRANSLATION})
_SCALING = frozenset({Invariance.ISOTROPIC_SCALING})
_SHAPE = _ORTHOGONAL | _TRANSLATION | _SCALING


def _same(
    kind: Literal["similarity", "distance"],
    low: float,
    high: float,
    invariances: frozenset[Invariance],
    *,
    metric: bool = False,
    minimum_examples: int = 2,
) -> Facts:
    """Facts of a symmetric measure."""
    return Facts(kind, (low, high), True, metric, invariances, invariances, minimum_examples)


def _kernel_invariances(kernel: Kernel) -> frozenset[Invariance]:
    invariances = frozenset() if kernel.name == "custom" else _ORTHOGONAL
    if kernel.translation_invariant:
        invariances |= _TRANSLATION
    if kernel.scale_invariant:
        invariances |= _SCALING
    return invariances


def _hsic_facts(options: Mapping[str, Any]) -> Facts:
    estimator = check_estimator("hsic", options["estimator"])
    low = 0.0 if estimator == "biased" else -math.inf
    invariances = _kernel_invariances(as_kernel(options["kernel"], "hsic"))
    return _same("similarity", low, math.inf, invariances, minimum_examples=_minimum_examples(estimator))


def _cka_facts(options: Mapping[str, Any]) -> Facts:
    estimator = check_estimator("cka", options["estimator"])
    kernel = as_kernel(options["kernel"], "cka")
    scales_as_one = kernel.homogeneous or (isinstance(kernel, Polynomial) and kernel.constant == 0)
    invariances = _kernel_invariances(kernel) | (_SCALING if scales_as_one else frozenset())
    low = 0.0 if estimator == "biased" else -1.0
    return _same("similarity", low, 1.0, invariances, minimum_examples=_minimum_examples(estimator))


def _cca_facts(options: Mapping[str, Any]) -> Facts:
    cca.check_summary("cca", options["summary"])
    return _same("similarity", 0.0, 1.0, _LINEAR)


def _svcca_facts(options: Mapping[str, Any]) -> Facts:
    cca.check_summary("svcca", options["summary"])
    cca.check_variance(options["variance"])
    return _same("similarity", 0.0, 1.0, _LINEAR if options["variance"] == 1 else _SHAPE)


def _pwcca_facts(options: Mapping[str, Any]) -> Facts:
    x = frozenset({Invariance.PERMUTATION}) | _SCALING | _TRANSLATION
    return Facts("similarity", (0.0, 1.0), False, False, x, _LINEAR, 2)


def _canonical_ridge_facts(options: Mapping[str, Any]) -> Facts:
    cca.check_ridge(options["kappa_x"], options["kappa_y"], options["normalizer"])
    invariances = _ORTHOGONAL | _TRANSLATION
    x, y = (_ridge_invariances(options[k]) for k in ("kappa_x", "kappa_y"))
    symmetric = options["kappa_x"] == options["kappa_y"]
    return Facts("similarity", (0.0, 1.0), symmetric, False, invariances | x, invariances | y, 2)


def _ridge_invariances(kappa: float) -> frozenset[Invariance]:
    if kappa == 0:
        return _LINEAR
    return _SCALING if math.isinf(kappa) else frozenset()


def _regression_facts(options: Mapping[str, Any]) -> Facts:
    return Facts("similarity", (0.0, 1.0), False, False, _SHAPE, _LINEAR, 2)


def _procrustes_facts(options: Mapping[str, Any]) -> Facts:
    kind = options["kind"]
    shape.check_kind(kind)
    if kind == "cosine":
        return _same("similarity", 0.0, 1.0, _SHAPE)
    if kind == "squared":
        return _same("distance", 0.0, 2.0, _SHAPE)
    if kind == "distance":
        return _same("distance", 0.0, math.inf, _ORTHOGONAL | _TRANSLATION, metric=True)
    return _same("distance", 0.0, math.pi / 2, _SHAPE, metric=True)


def _dependence_facts(options: Mapping[str, Any]) -> Facts:
    estimator = check_estimator("distance_correlation", options["estimator"])
    low = 0.0 if estimator == "biased" else -1.0
    return _same("similarity", low, 1.0, _SHAPE, minimum_examples=_minimum_examples(estimator))


def _rv2_facts(options: Mapping[str, Any]) -> Facts:
    return _same("similarity", -1.0, 1.0, _SHAPE)


def _rsa_facts(options: Mapping[str, Any]) -> Facts:
    rsa.check_options(options)
    invariances = {
        "correlation": frozenset({Invariance.PERMUTATION}) | _SCALING,
        "cosine": _ORTHOGONAL | _SCALING,
        "mahalanobis": _LINEAR,
    }.get(options["rdm"], _SHAPE)
    return _same("similarity", -1.0, 1.0, invariances, minimum_examples=rsa.MINIMUM_EXAMPLES)


def _neighbor_facts(function: str) -> Callable[[Mapping[str, Any]], Facts]:
    def facts(options: Mapping[str, Any]) -> Facts:
        fewest = neighbors.check_options(function, options)
        translation = _TRANSLATION if options.get("metric") == "euclidean" else frozenset()
        return _same("similarity", 0.0, 1.0, _ORTHOGONAL | _SCALING | translation, minimum_examples=fewest)

    return facts


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
            score_options={},
            facts=_cka_facts,
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
            score_options={},
            facts=_hsic_facts,
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
            prepare_options={},
            score_options={"summary": "r2"},
            facts=_cca_facts,
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
            facts=_svcca_facts,
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
            prepare_options={},
            score_options={},
            facts=_pwcca_facts,
            variants=({},),
            cost="as cca, and p·q·min(p, q) for the singular vectors",
            references=(f"{_KORNBLITH}, eq. 9 and App. C.3", "Morcos, Raghu & Bengio 2018"),
        ),
        Measure(
            id="linear_regression",
            title="Linear regression R² of x from y",
            formula="‖Q_YᵀX‖²_F / ‖X‖²_F",
            function=regression.linear_regression,
            decomposes=True,
            prepare=regression.prepare,
            score=regression.score,
            prepare_options={},
            score_options={},
            facts=_regression_facts,
            variants=({},),
            cost="as cca",
            references=(f"{_KORNBLITH}, eq. 5",),
        ),
        Measure(
            id="procrustes",
            title="Orthogonal Procrustes",
            formula="arccos(‖XᵀY‖_* / (‖X‖_F ‖Y‖_F)), or the distance, squared or cosine form",
            function=shape.procrustes,
            prepare=shape.prepare,
            score=shape.score,
            prepare_options={},
            score_options={"kind": "angle"},
            facts=_procrustes_facts,
            variants=({}, {"kind": "distance"}, {"kind": "squared"}, {"kind": "cosine"}),
            cost="npq + pq·min(p, q) multiplications; with n in place of p where p > n",
            references=(f"{_KORNBLITH}, App. D.2", "Williams et al. 2021", "Ding et al. 2021"),
        ),
        Measure(
            id="canonical_ridge",
            title="Canonical ridge (regularised CCA)",
            formula="Σ_iΣ_j a_i b_j ⟨u_i, v_j⟩² / norm, a_i = λ_i/(λ_i+κ_x), b_j = λ_j/(λ_j+κ_y)",
            function=cca.canonical_ridge,
            decomposes=True,
            prepare=cca.prepare,
            score=cca.score_canonical_ridge,
            prepare_options={},
            score_options={"kappa_x": 1.0, "kappa_y": 1.0, "normalizer": "full"},
            facts=_canonical_ridge_facts,
            variants=({}, {"kappa_x": math.inf, "kappa_y": 0.0}, {"kappa_x": 0.5, "kappa_y": 50.0}),
            cost="as cca",
            references=(f"{_KORNBLITH}, App. D.1", "Vinod 1976"),
        ),
        Measure(
            id="distance_correlation",
            title="Distance correlation",
            formula="⟨A, B⟩ / (‖A‖ ‖B‖) of U-centred distances; √ of it for doubly centred ones, biased",
            function=dependence.distance_correlation,
            prepare=dependence.prepare,
            score=dependence.score,
            prepare_options={"estimator": "unbiased"},
            score_options={},
            facts=_dependence_facts,
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
            prepare_options={},
            score_options={},
            facts=_rv2_facts,
            variants=({},),
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
            prepare_options={"rdm": "correlation", "compare": "spearman"},
            score_options={},
            facts=_rsa_facts,
            variants=(
                {"rdm": "euclidean"},
                {"rdm": "euclidean", "compare": "pearson"},
                {"rdm": "squared_euclidean", "compare": "cosine_cov"},
            ),
            cost="n²(p + q) multiplications, n² numbers a layer; n² log n for ranks, and a pair for τ_a",
            references=("Kriegeskorte, Mur & Bandettini 2008", "Diedrichsen et al. 2021", "Schütt et al. 2023"),
        ),
        Measure(
            id="mutual_knn",
            title="Mutual nearest neighbours",
            formula="(1/n) Σ_i |N_x(i) ∩ N_y(i)| / k",
            function=neighbors.mutual_knn,
            prepare=neighbors.prepare,
            score=neighbors.score_mutual_knn,
            prepare_options={"k": 10, "metric": "cosine"},
            score_options={},
            facts=_neighbor_facts("mutual_knn"),
            variants=({"k": 3}, {"k": 3, "metric": "euclidean"}),
            cost="n²(p + q) multiplications and a sort of n² distances a layer; n² a pair",
            references=("Huh, Cheung, Wang & Isola 2024, The Platonic Representation Hypothesis",),
        ),
        Measure(
            id="jaccard_knn",
            title="Jaccard similarity of nearest neighbours",
            formula="(1/n) Σ_i |N_x(i) ∩ N_y(i)| / |N_x(i) ∪ N_y(i)|",
            function=neighbors.jaccard_knn,
            prepare=neighbors.prepare,
            score=neighbors.score_jaccard_knn,
            prepare_options={"k": 10, "metric": "cosine"},
            score_options={},
            facts=_neighbor_facts("jaccard_knn"),
            variants=({"k": 3}, {"k": 3, "metric": "euclidean"}),
            cost="as mutual_knn",
            references=("Schumacher et al. 2021", "Wang et al. 2022", "Klabunde et al. 2024, ReSi"),
        ),
        Measure(
            id="rank_similarity",
            title="Rank similarity of nearest neighbours",
            formula="(1/n) Σ_i Σ_j 2/((1+|r_j−s_j|)(r_j+s_j)) / Σ_{r≤K} 1/r, j the K neighbours in common",
            function=neighbors.rank_similarity,
            prepare=neighbors.prepare,
            score=neighbors.score_rank_similarity,
            prepare_options={"k": 10, "metric": "cosine"},
            score_options={},
            facts=_neighbor_facts("rank_similarity"),
            variants=({"k": 3}, {"k": 3, "metric": "euclidean"}),
            cost="as mutual_knn",
            references=("Wang et al. 2022", "Klabunde et al. 2023"),
        ),
        Measure(
            id="second_order_cosine",
            title="Second-order cosine similarity",
            formula="(1/n) Σ_i cos(d_x(i, U_i), d_y(i, U_i)), U_i = N_x(i) ∪ N_y(i), d the cosine distance",
            function=neighbors.second_order_cosine,
            prepare=neighbors.prepare_surroundings,
            score=neighbors.score_second_order_cosine,
            prepare_options={"k": 10},
            score_options={},
            facts=_neighbor_facts("second_order_cosine"),
            variants=({"k": 3},),
            cost="as mutual_knn",
            references=("Hamilton, Leskovec & Jurafsky 2016", "Klabunde et al. 2024, ReSi"),
        ),
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
    configured = ConfiguredMeasure(row, {**row.options, **options})
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
    return check_pair(measure.id, x, y, minimum_examples=measure.facts.minimum_examples)
