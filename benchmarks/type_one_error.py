"""How often are unrelated layers called related at 5 % and 1 %?

    python -m benchmarks.type_one_error [--trials 2000] [--sizes 6] [--out FILE]

Each trial draws two unrelated layers and takes the p value that compare gives. Spectra: ``flat`` has equal variances,
``dominant`` a first direction with half of the variance, ``decay`` variances 1/i. The seed of a trial is its number.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np

import repscope
from benchmarks.tables import Table, parser

SIZES = [(32, 8, 200), (64, 16, 16), (64, 512, 256), (128, 50, 50), (256, 16, 2), (256, 400, 400)]
MEASURES: dict[str, dict[str, Any]] = {
    "cka unbiased": {},
    "cka biased": {"estimator": "biased"},
    "cka rbf": {"kernel": repscope.RBF(0.5)},
    "distance correlation": {"measure": "distance_correlation"},
    "cca r2": {"measure": "cca"},
    "regression": {"measure": "linear_regression"},
}


def layer(n: int, p: int, spectrum: str, rng: np.random.Generator) -> np.ndarray:
    variances = {"flat": np.ones(p), "dominant": np.r_[p, np.ones(p - 1)], "decay": 1 / np.arange(1, p + 1)}[spectrum]
    return rng.standard_normal((n, p)) * np.sqrt(variances)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--trials", type=int, default=2000)
    arguments.add_argument("--sizes", type=int, default=len(SIZES), help="how many of the sizes, smallest n first")
    given = arguments.parse_args()
    trials, table = given.trials, Table(given.out)
    warnings.simplefilter("ignore")
    table.text(f"{trials} trials; two standard errors at 5 %: ±{2 * np.sqrt(0.05 * 0.95 / trials):.3f}")
    table.head("measure", "n", "p", "q", "spectrum", "p ≤ 0.05", "p ≤ 0.01")
    for (n, p, q), spectrum in itertools.product(SIZES[: given.sizes], ("flat", "dominant", "decay")):
        found: dict[str, list[float]] = {name: [] for name in MEASURES}
        for trial in range(trials):
            rng = np.random.default_rng(trial)
            x, y = {"x": layer(n, p, spectrum, rng)}, {"y": layer(n, q, spectrum, rng)}
            for name, options in MEASURES.items():
                if options.get("measure") in ("cca", "linear_regression") and p + q >= n - 1:
                    continue  # forced scores
                found[name].append(float(repscope.compare(x, y, **options).p_values[0, 0]))
        for name, p_values in found.items():
            if p_values:
                shares = [np.mean(np.array(p_values) <= level) for level in (0.05, 0.01)]
                table.row(name, n, p, q, spectrum, *(f"{share:.4f}" for share in shares))


if __name__ == "__main__":
    main()
