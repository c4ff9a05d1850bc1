"""One reference for every row of the catalogue; the tests fail while one is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.reference import (
    aligned,
    angular,
    cca,
    dependence,
    descriptive,
    gulp,
    heat_trace,
    hsic,
    matching,
    neighbors,
    regression,
    rsa,
    shape,
    shared_dimensions,
    topology,
    whitening,
)

REFERENCES: Mapping[str, Callable[..., float]] = {
    "cka": hsic.cka,
    "hsic": hsic.hsic,
    "cca": cca.cca,
    "svcca": cca.svcca,
    "pwcca": cca.pwcca,
    "linear_regression": regression.linear_regression,
    "procrustes": shape.procrustes,
    "shape_distance": whitening.shape_distance,
    "angular_cka": angular.angular_cka,
    "aligned_cosine": aligned.aligned_cosine,
    "permutation_procrustes": matching.permutation_procrustes,
    "correlation_matching": matching.correlation_matching,
    "soft_matching": matching.soft_matching,
    "canonical_ridge": cca.canonical_ridge,
    "gulp": gulp.gulp,
    "distance_correlation": dependence.distance_correlation,
    "rsa": rsa.rsa,
    "rv2": dependence.rv2,
    "mutual_knn": neighbors.mutual_knn,
    "jaccard_knn": neighbors.jaccard_knn,
    "rank_similarity": neighbors.rank_similarity,
    "second_order_cosine": neighbors.second_order_cosine,
    "cknna": neighbors.cknna,
    "cycle_knn": neighbors.cycle_knn,
    "ensd": shared_dimensions.ensd,
    "eigenspace_overlap": shared_dimensions.eigenspace_overlap,
    "magnitude_difference": descriptive.magnitude_difference,
    "concentricity_difference": descriptive.concentricity_difference,
    "uniformity_difference": descriptive.uniformity_difference,
    "imd": heat_trace.imd,
    "rtd": topology.rtd,
}
