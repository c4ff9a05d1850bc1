"""How often are unrelated layers called related at 5 % and 1 %?

    python -m benchmarks.type_one_error [--trials 2048] [--sizes 16,32,64,128,256,1000] [--out FILE]

Draws unrelated layers, 16 for each side at a time, and takes the p values that compare gives of all 256 pairs; a layer
is in 16 trials, which is why trials are many and cheap. Kinds of layers: ``flat`` has equal variances, ``dominant`` a
first direction with half of the variance, ``decay`` variances 1/i, ``uneven`` examples whose lengths vary by a factor
exp(N(0, 1)). Seeds: (n, p, q, number of the draw). The interval is Wilson's, of 95 %, for the binomial error of the
trials.
"""

from __future__ import annotations

import itertools
import math
import time
import warnings
from typing import Any

import numpy as np

import repscope
from benchmarks.tables import Table, parser, whole_numbers

SIDE = 16
"""Layers of a side that are compared at once."""

WIDTHS = [(4, 4), (16, 64), (512, 256)]
KINDS = ("flat", "dominant", "decay", "uneven")
MEASURES: dict[str, dict[str, Any]] = {
    "cka unbiased": {},
    "cka biased": {"estimator": "biased"},
    "cka rbf": {"kernel": repscope.RBF(0.5)},
    "cka rbf biased": {"kernel": repscope.RBF(0.5), "estimator": "biased"},
    "cca r2": {"measure": "cca"},
    "regression r2": {"measure": "linear_regression"},
}
ALLOWED = (0.035, 0.065)


def layer(n: int, p: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Independent normal features (n, p)."""
    variances = {"dominant": np.r_[p, np.ones(p - 1)], "decay": 1 / np.arange(1, p + 1)}.get(kind, np.ones(p))
    lengths = np.exp(rng.standard_normal((n, 1))) if kind == "uneven" else 1.0
    return lengths * rng.standard_normal((n, p)) * np.sqrt(variances)


def skipped(name: str, n: int, p: int, q: int, kind: str) -> bool:
    """Scores that the widths force, and such as cost minutes or are of flat layers under another name."""
    if name not in ("cca r2", "regression r2"):
        return False
    same_as_flat = name == "cca r2" and kind in ("dominant", "decay")
    return p + q >= n - 1 or same_as_flat or (p + q > n / 2 and kind != "flat")


def rejections(n: int, p: int, q: int, kind: str, trials: int) -> dict[str, np.ndarray]:
    """The p values (trials,) of each measure."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in MEASURES if not skipped(name, n, p, q, kind)}
    for draw in range(-(-trials // SIDE**2)):
        rng = np.random.default_rng([n, p, q, draw])
        x, y = ({f"layer{i}": layer(n, width, kind, rng) for i in range(SIDE)} for width in (p, q))
        for name, p_values in found.items():
            result = repscope.compare(x, y, intervals=False, **MEASURES[name])
            assert result.p_values is not None
            p_values.append(result.p_values.ravel())
    return {name: np.concatenate(p_values) for name, p_values in found.items()}


def wilson(share: float, trials: int) -> tuple[float, float]:
    """95 % interval of a probability from the share of the trials."""
    z2 = 1.96**2
    middle, width = share + z2 / (2 * trials), math.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials**2)))
    return (middle - width) / (1 + z2 / trials), (middle + width) / (1 + z2 / trials)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--trials", type=int, default=2048)
    arguments.add_argument("--sizes", type=whole_numbers, default=[16, 32, 64, 128, 256, 1000], help="of examples")
    given = arguments.parse_args()
    table, begun, shares = Table(given.out), time.perf_counter(), []
    warnings.simplefilter("ignore")
    table.head("measure", "kind", "n", "p", "q", "trials", "p ≤ 0.05", "95 % interval", "p ≤ 0.01")
    for n, (p, q), kind in itertools.product(given.sizes, WIDTHS, KINDS):
        for name, p_values in rejections(n, p, q, kind, given.trials).items():
            five, one = (float(np.mean(p_values <= level)) for level in (0.05, 0.01))
            low, high = wilson(five, p_values.size)
            interval = f"{low:.2%} to {high:.2%}"
            table.row(name, kind, n, p, q, p_values.size, f"{five:.2%}", interval, f"{one:.2%}")
            shares.append((kind != "uneven", five))
    for usual, kinds in ((True, "flat, dominant and decay"), (False, "uneven")):
        found = np.array([five for even, five in shares if even == usual])
        within = int(((found >= ALLOWED[0]) & (found <= ALLOWED[1])).sum())
        table.text()
        table.text(
            f"{kinds}: {within} of {found.size} cells within {ALLOWED[0]:.1%} to {ALLOWED[1]:.1%}; "
            f"lowest {found.min():.2%}, mean {found.mean():.2%}, highest {found.max():.2%}."
        )
    table.text()
    table.text(f"{time.perf_counter() - begun:.0f} s.")


if __name__ == "__main__":
    main()
