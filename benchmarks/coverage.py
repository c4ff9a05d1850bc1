"""How often does the 95 % interval of unbiased CKA hold the population's value?

    python -m benchmarks.coverage [--draws 400] [--bootstrapped 60] [--sizes 32,64,128,256] [--out FILE]

Two layers of one population: five latent variables through random weights, and noise of variance 1, all normal, so that
the CKA of infinitely many examples follows from the covariances. Jackknife intervals of ``repscope.compare`` beside
the percentile bootstrap of examples, which ``compare`` refuses, on the same draws. The last column is that of
``repscope.difference``: how often the interval of the difference of two scores holds 0, of two layers that are equally
like the first in the population and have a latent variable in common that it does not see.
"""

from __future__ import annotations

import warnings

import numpy as np

import repscope
from benchmarks.tables import Table, parser, whole_numbers

SEED = 0
RESAMPLES = 100
"""Of each draw that is bootstrapped."""


def population(p: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    """Weights (5, p) of two layers, and their CKA in the population."""
    a, b = rng.standard_normal((5, p)), rng.standard_normal((5, p))
    across = a.T @ b
    own = [np.linalg.norm(w.T @ w + np.eye(p)) for w in (a, b)]
    return a, b, float(np.linalg.norm(across) ** 2 / (own[0] * own[1]))


def draw(n: int, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Representations of n examples in both layers."""
    latent = rng.standard_normal((n, 5))
    x, y = (latent @ w + rng.standard_normal((n, w.shape[1])) for w in (a, b))
    return x, y


def holds_no_difference(n: int, rng: np.random.Generator) -> bool:
    """Whether the interval of a difference holds 0, where the population has none."""
    x, common = rng.standard_normal((2, n, 5))
    a, b = (x + common + 0.5 * rng.standard_normal((n, 5)) for _ in range(2))
    result = repscope.compare({"a": a, "b": b}, {"x": x}, replicates=True)
    low, high = repscope.difference(result.select(rows="a"), result.select(rows="b")).interval(0.95)
    return bool(low[0, 0] <= 0 <= high[0, 0])


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--draws", type=int, default=400)
    arguments.add_argument(
        "--bootstrapped", type=int, default=60, help="of the draws; each costs a hundred comparisons"
    )
    arguments.add_argument("--sizes", type=whole_numbers, default=[32, 64, 128, 256], help="numbers of examples")
    given = arguments.parse_args()
    table = Table(given.out)
    warnings.simplefilter("ignore")
    table.text(
        f"Seed {SEED}, {given.draws} draws a row (bootstrap: {given.bootstrapped} draws of {RESAMPLES} resamples)."
    )
    table.head("p = q", "CKA", "n", "jackknife", "bootstrap", "sd of CKA", "mean s.e.", "difference")
    for p in (16, 64):
        rng = np.random.default_rng([SEED, p])
        a, b, truth = population(p, rng)
        for n in given.sizes:
            held, bootstrapped, values, errors, same = [], [], [], [], []
            for number in range(given.draws):
                x, y = draw(n, a, b, rng)
                result = repscope.compare({"x": x}, {"y": y}, intervals=True)
                low, high = (float(end[0, 0]) for end in result.interval(0.95))
                held.append(low <= truth <= high)
                values.append(float(result.values[0, 0]))
                assert result.standard_errors is not None
                errors.append(float(result.standard_errors[0, 0]))
                same.append(holds_no_difference(n, np.random.default_rng([SEED, p, n, number])))
                if number < given.bootstrapped:
                    rows = rng.integers(0, n, (RESAMPLES, n))
                    again = [float(repscope.cka(x[r], y[r])) for r in rows]
                    lower, upper = np.percentile(again, [2.5, 97.5])
                    bootstrapped.append(lower <= truth <= upper)
            resampled = f"{np.mean(bootstrapped):.1%}" if bootstrapped else "–"
            spread = (f"{np.std(values):.4f}", f"{np.mean(errors):.4f}")
            table.row(p, f"{truth:.3f}", n, f"{np.mean(held):.1%}", resampled, *spread, f"{np.mean(same):.1%}")


if __name__ == "__main__":
    main()
