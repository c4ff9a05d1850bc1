"""What measures score of unrelated layers, where a closed form is known, for features that are independent and alike.

Features of unequal variance, or that depend on each other, count as fewer: their participation ratio takes the place of
the width in the forms for CKA and Procrustes, the rank in those for CCA and regression.
"""

from __future__ import annotations

import math

from repscope.measures.measure import Chance

NOTHING = Chance("0", lambda n, p, q: 0.0)
"""Of unbiased estimators, and of correlations over pairs of examples: exactly the mean over all permutations."""

BIASED_CKA = Chance("√(pq / ((n+p)(n+q)))", lambda n, p, q: math.sqrt(p * q / ((n + p) * (n + q))))
"""⟨K, L⟩ ≈ npq and ‖K‖² ≈ np(n+p), normal features: the moments of a Wishart matrix."""

ANGULAR_CKA = Chance(BIASED_CKA.formula, BIASED_CKA.level, of="its cosine")

CCA = Chance("max(p, q)/(n−1)", lambda n, p, q: min(max(p, q) / (n - 1), 1.0))
"""Two projectors of ranks p and q among n − 1 directions."""

EIGENSPACES = Chance("min(p, q)/(n−1)", lambda n, p, q: min(min(p, q) / (n - 1), 1.0))

REGRESSION = Chance("q/(n−1)", lambda n, p, q: min(q / (n - 1), 1.0))

PROCRUSTES = Chance("√(pq / (pq + n(p+q)))", lambda n, p, q: math.sqrt(p * q / (p * q + n * (p + q))), at_least=True)
"""‖A‖_* ≥ ‖A‖_F³ / ‖A‖_4² (Hölder), A = XᵀY, with E‖A‖_F² = npq and E‖A‖_4⁴ ≈ npq(pq + n(p+q)), normal features."""

PROCRUSTES_ANGLE = Chance(PROCRUSTES.formula, PROCRUSTES.level, of="its cosine", at_least=True)


def neighbors(k: int) -> Chance:
    """Of k neighbours among n − 1 the share in common."""
    return Chance("k/(n−1)", lambda n, p, q: min(k / (n - 1), 1.0))
