"""How often does the 95 % interval of unbiased CKA hold the population's value?

    python -m benchmarks.coverage

Two layers of one population: five latent variables through random weights, and noise of variance 1, all normal, so that
the CKA of infinitely many examples follows from the covariances. Jackknife intervals of ``repscope.compare`` beside
the percentile bootstrap of examples, which ``compare`` refuses, on the same draws.
"""

from __future__ import annotations

import warnings

import numpy as np

import repscope

SEED = 0
DRAWS = 400
RESAMPLES = 100
BOOTSTRAPPED = 60
"""Draws that are bootstrapped; each costs a hundred comparisons."""


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


def main() -> None:
    warnings.simplefilter("ignore")
    print(f"seed {SEED}, {DRAWS} draws a row (bootstrap: {BOOTSTRAPPED} draws of {RESAMPLES} resamples)")
    print(f"{'p = q':>6}{'CKA':>8}{'n':>6}{'jackknife':>12}{'bootstrap':>12}{'sd of CKA':>12}{'mean s.e.':>12}")
    for p in (16, 64):
        rng = np.random.default_rng([SEED, p])
        a, b, truth = population(p, rng)
        for n in (32, 64, 128, 256):
            held, bootstrapped, values, errors = [], [], [], []
            for number in range(DRAWS):
                x, y = draw(n, a, b, rng)
                result = repscope.compare({"x": x}, {"y": y}, intervals=True)
                low, high = (float(end[0, 0]) for end in result.interval(0.95))
                held.append(low <= truth <= high)
                values.append(float(result.values[0, 0]))
                assert result.standard_errors is not None
                errors.append(float(result.standard_errors[0, 0]))
                if number < BOOTSTRAPPED:
                    rows = rng.integers(0, n, (RESAMPLES, n))
                    again = [float(repscope.cka(x[r], y[r])) for r in rows]
                    lower, upper = np.percentile(again, [2.5, 97.5])
                    bootstrapped.append(lower <= truth <= upper)
            print(
                f"{p:6}{truth:8.3f}{n:6}{np.mean(held):12.1%}{np.mean(bootstrapped):12.1%}"
                f"{np.std(values):12.4f}{np.mean(errors):12.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
