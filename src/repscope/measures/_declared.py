"""What is declared of every measure of the catalogue, for any of its options; options that mean nothing are refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from repscope.measures import (
    cca,
    chance,
    gulp,
    heat_trace,
    local_alignment,
    matching,
    neighbors,
    regression,
    rsa,
    shape,
    stochastic,
    topology,
    transport,
    whitening,
)
from repscope.measures.kernels import Kernel, Polynomial, as_kernel, check_estimator
from repscope.measures.kernels import minimum_examples as _minimum_examples
from repscope.measures.measure import Chance, Facts, Invariance

_LINEAR = frozenset(Invariance)
_ORTHOGONAL = frozenset({Invariance.PERMUTATION, Invariance.ORTHOGONAL})
_TRANSLATION = frozenset({Invariance.TRANSLATION})
_SCALING = frozenset({Invariance.ISOTROPIC_SCALING})
_SHAPE = _ORTHOGONAL | _TRANSLATION | _SCALING
_UNITS = frozenset({Invariance.PERMUTATION}) | _TRANSLATION


def _same(
    kind: Literal["similarity", "distance"],
    low: float,
    high: float,
    invariances: frozenset[Invariance],
    *,
    metric: bool = False,
    minimum_examples: int = 2,
    metric_through: Literal["arccos", "square root"] | None = None,
    chance: Chance | None = None,
) -> Facts:
    """Facts of a symmetric measure."""
    return Facts(kind, (low, high), True, metric, invariances, invariances, minimum_examples, metric_through, chance)


def _kernel_invariances(kernel: Kernel) -> frozenset[Invariance]:
    invariances = frozenset() if kernel.name == "custom" else _ORTHOGONAL
    if kernel.translation_invariant:
        invariances |= _TRANSLATION
    if kernel.scale_invariant:
        invariances |= _SCALING
    return invariances


def ensd_facts(options: Mapping[str, Any]) -> Facts:
    return _same("similarity", 0.0, math.inf, _SHAPE)


def eigenspace_overlap_facts(options: Mapping[str, Any]) -> Facts:
    return _same("similarity", 0.0, 1.0, _LINEAR, chance=chance.EIGENSPACES)


def magnitude_facts(options: Mapping[str, Any]) -> Facts:
    return _same("distance", 0.0, math.inf, _ORTHOGONAL)


def concentricity_facts(options: Mapping[str, Any]) -> Facts:
    return _same("distance", 0.0, 2.0, _ORTHOGONAL | _SCALING)


def uniformity_facts(options: Mapping[str, Any]) -> Facts:
    return _same("distance", 0.0, math.inf, _ORTHOGONAL | _TRANSLATION)


def imd_facts(options: Mapping[str, Any]) -> Facts:
    fewest = heat_trace.check_options(options)
    return _same("distance", 0.0, heat_trace.largest(), _SHAPE, minimum_examples=fewest)


def rtd_facts(options: Mapping[str, Any]) -> Facts:
    topology.check_options(options)
    return _same("distance", 0.0, math.inf, _SHAPE, minimum_examples=3)


def hsic_facts(options: Mapping[str, Any]) -> Facts:
    estimator = check_estimator("hsic", options["estimator"])
    low = 0.0 if estimator == "biased" else -math.inf
    invariances = _kernel_invariances(as_kernel(options["kernel"], "hsic"))
    level = chance.NOTHING if estimator == "unbiased" else None
    return _same("similarity", low, math.inf, invariances, minimum_examples=_minimum_examples(estimator), chance=level)


def cka_facts(options: Mapping[str, Any]) -> Facts:
    estimator = check_estimator("cka", options["estimator"])
    kernel = as_kernel(options["kernel"], "cka")
    scales_as_one = kernel.homogeneous or (isinstance(kernel, Polynomial) and kernel.constant == 0)
    invariances = _kernel_invariances(kernel) | (_SCALING if scales_as_one else frozenset())
    low = 0.0 if estimator == "biased" else -1.0
    fewest = _minimum_examples(estimator)
    level = chance.NOTHING if estimator == "unbiased" else chance.BIASED_CKA if kernel.name == "linear" else None
    return _same("similarity", low, 1.0, invariances, minimum_examples=fewest, metric_through="arccos", chance=level)


def cca_facts(options: Mapping[str, Any]) -> Facts:
    cca.check_summary("cca", options["summary"])
    return _same("similarity", 0.0, 1.0, _LINEAR, chance=chance.CCA if options["summary"] == "r2" else None)


def svcca_facts(options: Mapping[str, Any]) -> Facts:
    cca.check_summary("svcca", options["summary"])
    cca.check_variance(options["variance"])
    return _same("similarity", 0.0, 1.0, _LINEAR if options["variance"] == 1 else _SHAPE)


def pwcca_facts(options: Mapping[str, Any]) -> Facts:
    x = frozenset({Invariance.PERMUTATION}) | _SCALING | _TRANSLATION
    return Facts("similarity", (0.0, 1.0), False, False, x, _LINEAR, 2)


def canonical_ridge_facts(options: Mapping[str, Any]) -> Facts:
    cca.check_ridge(options["kappa_x"], options["kappa_y"], options["normalizer"])
    invariances = _ORTHOGONAL | _TRANSLATION
    x, y = (_ridge_invariances(options[k]) for k in ("kappa_x", "kappa_y"))
    symmetric = options["kappa_x"] == options["kappa_y"]
    return Facts("similarity", (0.0, 1.0), symmetric, False, invariances | x, invariances | y, 2)


def _ridge_invariances(kappa: float) -> frozenset[Invariance]:
    if kappa == 0:
        return _LINEAR
    return _SCALING if math.isinf(kappa) else frozenset()


def regression_facts(options: Mapping[str, Any]) -> Facts:
    fewest = regression.check_options(options)
    low = 0.0 if options["folds"] is None else -math.inf
    y = _SHAPE if options["regularization"] else _LINEAR
    level = chance.REGRESSION if options["folds"] is None and not options["regularization"] else None
    return Facts("similarity", (low, 1.0), False, False, _SHAPE, y, fewest, chance=level)


def gulp_facts(options: Mapping[str, Any]) -> Facts:
    regularization = options["regularization"]
    gulp.check_regularization(regularization)
    invariances = _LINEAR if regularization == 0 else _SHAPE
    return _same("distance", 0.0, math.inf, invariances, metric_through="square root")


def procrustes_facts(options: Mapping[str, Any]) -> Facts:
    kind = options["kind"]
    shape.check_kind(kind)
    if kind == "cosine":
        return _same("similarity", 0.0, 1.0, _SHAPE, metric_through="arccos", chance=chance.PROCRUSTES)
    if kind == "squared":
        return _same("distance", 0.0, 2.0, _SHAPE, metric_through="square root")
    if kind == "distance":
        return _same("distance", 0.0, math.inf, _ORTHOGONAL | _TRANSLATION, metric=True)
    return _same("distance", 0.0, math.pi / 2, _SHAPE, metric=True, chance=chance.PROCRUSTES_ANGLE)


def shape_distance_facts(options: Mapping[str, Any]) -> Facts:
    alpha = options["alpha"]
    whitening.check_alpha(alpha)
    invariances = {0.0: _LINEAR, 1.0: _SHAPE}.get(alpha, _ORTHOGONAL | _TRANSLATION)
    level = chance.PROCRUSTES_ANGLE if alpha == 1 else None
    return _same("distance", 0.0, math.pi / 2, invariances, metric=True, chance=level)


def stochastic_facts(options: Mapping[str, Any]) -> Facts:
    repeats, alpha = options["repeats"], options["alpha"]
    fewest = stochastic.check_options(repeats, alpha, options["starts"])
    exact = alpha == 2 or (repeats == 1 and alpha > 0)  # elsewhere the best rotation that is found
    return _same("distance", 0.0, math.inf, _ORTHOGONAL | _TRANSLATION, metric=exact, minimum_examples=fewest)


def angular_cka_facts(options: Mapping[str, Any]) -> Facts:
    return _same("distance", 0.0, math.pi / 2, _SHAPE, metric=True, chance=chance.ANGULAR_CKA)


def aligned_cosine_facts(options: Mapping[str, Any]) -> Facts:
    return _same("similarity", -1.0, 1.0, _SHAPE)


def permutation_procrustes_facts(options: Mapping[str, Any]) -> Facts:
    kind = options["kind"]
    matching.check_kind(kind)
    if kind == "distance":
        return _same("distance", 0.0, math.inf, _UNITS)
    return _same("distance", 0.0, math.pi, _UNITS | _SCALING)


def correlation_matching_facts(options: Mapping[str, Any]) -> Facts:
    matching.check_assignment(options["assignment"])
    return _same("similarity", -1.0, 1.0, _UNITS | _SCALING)


def soft_matching_facts(options: Mapping[str, Any]) -> Facts:
    transport.check_options(options["kind"], options["mass"])
    if options["kind"] == "correlation":
        return _same("similarity", -1.0, 1.0, _UNITS | _SCALING)
    return _same("distance", 0.0, math.inf, _UNITS, metric=options["mass"] == 1)


def dependence_facts(options: Mapping[str, Any]) -> Facts:
    estimator = check_estimator("distance_correlation", options["estimator"])
    fewest = _minimum_examples(estimator)
    if estimator == "biased":  # the root of a cosine
        return _same("similarity", 0.0, 1.0, _SHAPE, minimum_examples=fewest)
    return _same(
        "similarity", -1.0, 1.0, _SHAPE, minimum_examples=fewest, metric_through="arccos", chance=chance.NOTHING
    )


def rv2_facts(options: Mapping[str, Any]) -> Facts:
    return _same("similarity", -1.0, 1.0, _SHAPE, metric_through="arccos")


def rsa_facts(options: Mapping[str, Any]) -> Facts:
    fewest = rsa.check_options(options)
    rdm, of_noise = options["rdm"], options["rdm"] == "crossnobis" or options["repeats"] > 1
    invariances = {
        "correlation": frozenset({Invariance.PERMUTATION}) | _SCALING,
        "cosine": _ORTHOGONAL | _SCALING,
        "mahalanobis": _SHAPE if of_noise else _LINEAR,
    }.get(rdm, _SHAPE)
    if rdm in ("mahalanobis", "crossnobis") and of_noise and options["noise"] == "diagonal":
        invariances -= {Invariance.ORTHOGONAL}
    through: Literal["arccos"] | None = None if options["compare"] in ("rho_a", "tau_a") else "arccos"  # no cosines
    level = None if of_noise or options["compare"] in ("cosine", "cosine_cov") else chance.NOTHING
    if rdm == "squared_euclidean" and options["compare"] == "cosine_cov" and not of_noise:
        level = chance.BIASED_CKA
    return _same("similarity", -1.0, 1.0, invariances, minimum_examples=fewest, metric_through=through, chance=level)


def neighbor_facts(function: str) -> Callable[[Mapping[str, Any]], Facts]:
    def facts(options: Mapping[str, Any]) -> Facts:
        fewest = neighbors.check_options(function, options)
        translation = _TRANSLATION if options.get("metric") == "euclidean" else frozenset()
        level = chance.neighbors(options["k"]) if function == "mutual_knn" else None
        invariances = _ORTHOGONAL | _SCALING | translation
        return _same("similarity", 0.0, 1.0, invariances, minimum_examples=fewest, chance=level)

    return facts


def cknna_facts(options: Mapping[str, Any]) -> Facts:
    invariances = _ORTHOGONAL | _SCALING
    fewest = local_alignment.check_cknna(options)
    return Facts("similarity", (-math.inf, math.inf), False, False, invariances, invariances, fewest)


def cycle_knn_facts(options: Mapping[str, Any]) -> Facts:
    return replace(neighbor_facts("cycle_knn")(options), symmetric=False)
