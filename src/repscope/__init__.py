"""Compare what neural networks have learned.

Representations are matrices (examples, features). The measures take two of them; :func:`compare` takes whole models.
"""

from repscope._matches import Match
from repscope.architectures import Agreement, agreement
from repscope.baselines import Baselines, baselines
from repscope.compare import compare, compare_part, merge, plan_comparison, representations
from repscope.comparison import Comparison, load
from repscope.differences import Difference, difference
from repscope.errors import (
    CaptureError,
    CaptureWarning,
    DataOrderWarning,
    DegenerateInputWarning,
    DiagnosticWarning,
    FileFormatError,
    InputError,
    MissingExtraError,
    RankWarning,
    RepscopeError,
    RepscopeWarning,
)
from repscope.functional import (
    accuracy_difference,
    compare_predictions,
    disagreement,
    jensen_shannon_divergence,
)
from repscope.inference.ceiling import NoiseCeiling, noise_ceiling
from repscope.inference.confounds import Deconfounded, deconfounded_cka, partial_similarity
from repscope.inference.diagnostics import LayerDiagnostics, diagnose, massive_features
from repscope.inference.sampled_units import cka_of_populations
from repscope.measures.aligned import aligned_cosine
from repscope.measures.angular import angular_cka
from repscope.measures.catalog import configure, measures, score
from repscope.measures.cca import canonical_correlations, canonical_ridge, cca, pwcca, svcca
from repscope.measures.choosing import Recommendation, Suggestion, recommend
from repscope.measures.cka import cka
from repscope.measures.crossnobis import crossnobis
from repscope.measures.dependence import distance_correlation, rv2
from repscope.measures.descriptive import concentricity_difference, magnitude_difference, uniformity_difference
from repscope.measures.gulp import gulp
from repscope.measures.heat_trace import imd
from repscope.measures.hsic import hsic
from repscope.measures.kernels import RBF, Cosine, Kernel, Laplace, Linear, Polynomial
from repscope.measures.local_alignment import cknna, cycle_knn
from repscope.measures.matching import correlation_matching, permutation_procrustes
from repscope.measures.neighbors import jaccard_knn, mutual_knn, rank_similarity, second_order_cosine
from repscope.measures.regression import linear_regression
from repscope.measures.rsa import rsa
from repscope.measures.shape import procrustes
from repscope.measures.shared_dimensions import eigenspace_overlap, ensd
from repscope.measures.stochastic import gaussian_shape_distance, stochastic_shape_distance
from repscope.measures.topology import rtd
from repscope.measures.transport import soft_matching
from repscope.measures.whitening import shape_distance
from repscope.required import RequiredExamples, compare_sizes, required_examples
from repscope.significance import BestMatch, PermutationTest, permutation_test
from repscope.within import compare_within

__version__ = "0.1.0"

__all__ = [
    "RBF",
    "Agreement",
    "Baselines",
    "BestMatch",
    "CaptureError",
    "CaptureWarning",
    "Comparison",
    "Cosine",
    "DataOrderWarning",
    "Deconfounded",
    "DegenerateInputWarning",
    "DiagnosticWarning",
    "Difference",
    "FileFormatError",
    "InputError",
    "Kernel",
    "Laplace",
    "LayerDiagnostics",
    "Linear",
    "Match",
    "MissingExtraError",
    "NoiseCeiling",
    "PermutationTest",
    "Polynomial",
    "RankWarning",
    "Recommendation",
    "RepscopeError",
    "RepscopeWarning",
    "RequiredExamples",
    "Suggestion",
    "accuracy_difference",
    "agreement",
    "aligned_cosine",
    "angular_cka",
    "baselines",
    "canonical_correlations",
    "canonical_ridge",
    "cca",
    "cka",
    "cka_of_populations",
    "cknna",
    "compare",
    "compare_part",
    "compare_predictions",
    "compare_sizes",
    "compare_within",
    "concentricity_difference",
    "configure",
    "correlation_matching",
    "crossnobis",
    "cycle_knn",
    "deconfounded_cka",
    "diagnose",
    "difference",
    "disagreement",
    "distance_correlation",
    "eigenspace_overlap",
    "ensd",
    "gaussian_shape_distance",
    "gulp",
    "hsic",
    "imd",
    "jaccard_knn",
    "jensen_shannon_divergence",
    "linear_regression",
    "load",
    "magnitude_difference",
    "massive_features",
    "measures",
    "merge",
    "mutual_knn",
    "noise_ceiling",
    "partial_similarity",
    "permutation_procrustes",
    "permutation_test",
    "plan_comparison",
    "procrustes",
    "pwcca",
    "rank_similarity",
    "recommend",
    "representations",
    "required_examples",
    "rsa",
    "rtd",
    "rv2",
    "score",
    "second_order_cosine",
    "shape_distance",
    "soft_matching",
    "stochastic_shape_distance",
    "svcca",
    "uniformity_difference",
]
