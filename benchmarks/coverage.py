"""How often does the 95 % interval of unbiased CKA hold the population's value?

    python -m benchmarks.coverage [--draws 1000] [--differences 200] [--bootstrapped 20] [--sizes 32,64,128,256]
                                  [--populations 5] [--out FILE]

Two layers of one population: five latent variables through random weights, and noise, all normal, so that the CKA of
infinitely many examples follows from the covariances; or layers with latent variables of their own, of which it is 0.
Jackknife intervals of ``repscope.compare`` beside the percentile bootstrap of examples, which ``compare`` refuses, on
the same draws. The last column is that of ``repscope.difference``: how often the interval of the difference of two
scores holds 0, of two layers that are equally like the first in the population and have a latent variable in common
that it does not see.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import numpy as np

import repscope
from benchmarks.tables import Table, parser, whole_numbers

SEED = 0
LATENT = 5
RESAMPLES = 100
"""Of each draw that is bootstrapped."""


@dataclass(frozen=True)
class Population:
    """Two layers of width p: latent variables through random weights, and noise.

    Attributes:
        p: Features of each layer.
        noise: Standard deviation, of each feature.
        related: Whether the layers have their latent variables in common.
    """

    p: int
    noise: float = 1.0
    related: bool = True

    def weights(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
        """Weights (5, p) of both layers, and their CKA in the population."""
        a, b = rng.standard_normal((2, LATENT, self.p))
        if not self.related:
            return a, b, 0.0
        own = [np.linalg.norm(w.T @ w + self.noise**2 * np.eye(self.p)) for w in (a, b)]
        return a, b, float(np.linalg.norm(a.T @ b) ** 2 / (own[0] * own[1]))

    def draw(self, n: int, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Representations of n examples in both layers."""
        of_a = rng.standard_normal((n, LATENT))
        of_b = of_a if self.related else rng.standard_normal((n, LATENT))
        x, y = (z @ w + self.noise * rng.standard_normal((n, self.p)) for z, w in ((of_a, a), (of_b, b)))
        return x, y


POPULATIONS = [
    Population(16),
    Population(64),
    Population(512),
    Population(64, noise=4.0),
    Population(64, related=False),
]


def holds_no_difference(n: int, rng: np.random.Generator) -> bool:
    """Whether the interval of a difference holds 0, where the population has none."""
    x, common = rng.standard_normal((2, n, 5))
    a, b = (x + common + 0.5 * rng.standard_normal((n, 5)) for _ in range(2))
    result = repscope.compare({"a": a, "b": b}, {"x": x}, replicates=True)
    low, high = repscope.difference(result.select(rows="a"), result.select(rows="b")).interval(0.95)
    return bool(low[0, 0] <= 0 <= high[0, 0])


def bootstrap_holds(truth: float, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether the percentile interval of resampled examples holds it."""
    rows = rng.integers(0, len(x), (RESAMPLES, len(x)))
    low, high = np.percentile([float(repscope.cka(x[r], y[r])) for r in rows], [2.5, 97.5])
    return bool(low <= truth <= high)


def share(held: list[bool]) -> str:
    """In per cent, with the binomial error."""
    if not held:
        return "–"
    found = float(np.mean(held))
    return f"{found:.1%} ± {np.sqrt(found * (1 - found) / len(held)):.1%}"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--draws", type=int, default=1000)
    arguments.add_argument("--differences", type=int, default=200, help="of the draws")
    arguments.add_argument("--bootstrapped", type=int, default=20, help="of the draws; each costs 100 comparisons")
    arguments.add_argument("--sizes", type=whole_numbers, default=[32, 64, 128, 256], help="numbers of examples")
    arguments.add_argument("--populations", type=int, default=len(POPULATIONS), help="how many, in their order")
    given = arguments.parse_args()
    table, begun = Table(given.out), time.perf_counter()
    warnings.simplefilter("ignore")
    table.text(f"Seed {SEED}, {given.draws} draws a row (bootstrap: {given.bootstrapped} of {RESAMPLES} resamples).")
    table.head("p = q", "noise", "CKA", "n", "jackknife", "bootstrap", "sd of CKA", "mean s.e.", "difference")
    for number, population in enumerate(POPULATIONS[: given.populations]):
        a, b, truth = population.weights(np.random.default_rng([SEED, number]))
        for n in given.sizes:
            held, bootstrapped, values, errors, same = [], [], [], [], []
            for draw in range(given.draws):
                rng = np.random.default_rng([SEED, number, n, draw])
                x, y = population.draw(n, a, b, rng)
                result = repscope.compare({"x": x}, {"y": y}, intervals=True)
                low, high = (float(end[0, 0]) for end in result.interval(0.95))
                held.append(low <= truth <= high)
                values.append(float(result.values[0, 0]))
                assert result.standard_errors is not None
                errors.append(float(result.standard_errors[0, 0]))
                if draw < given.differences:
                    same.append(holds_no_difference(n, rng))
                if draw < given.bootstrapped:
                    bootstrapped.append(bootstrap_holds(truth, x, y, rng))
            spread = (f"{np.std(values):.4f}", f"{np.mean(errors):.4f}")
            shares = (share(held), share(bootstrapped))
            table.row(population.p, population.noise, f"{truth:.3f}", n, *shares, *spread, share(same))
    table.text()
    table.text(f"{time.perf_counter() - begun:.0f} s.")


if __name__ == "__main__":
    main()
