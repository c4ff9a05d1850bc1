"""How long do the decompositions of the CCA family take, by which library, and beside a matrix product?

    python -m benchmarks.decompositions [--features 4096] [--rounds 2] [--out FILE]

Of layers of so many features, three times as many examples. In units: the seconds as operations per cube of the number
of features, at the rate of the fastest product (``repscope doctor``); ``repscope reproduce --list`` expects by them.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.tables import Table, parser
from benchmarks.timing import in_turn
from repscope.engine.products import flops_per_second
from repscope.studies.canonical import multiplied


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--features", type=int, default=4096)
    arguments.add_argument("--rounds", type=int, default=2)
    given = arguments.parse_args()
    p = given.features
    rate = flops_per_second()
    table = Table(given.out)
    table.text(f"{p:,} features, fastest product {rate / 1e9:.0f} GFLOP/s, {torch.get_num_threads()} threads")
    table.head("what", "type", "who", "seconds", "in units")
    rng = np.random.default_rng(0)
    for dtype in (np.float64, np.float32):
        basis = rng.standard_normal((3 * p, p), dtype=dtype)
        x, y = torch.from_numpy(basis), torch.from_numpy(basis[::-1].copy())
        symmetric = basis.T @ basis
        sides = {
            ("eigenvectors", "numpy"): lambda s=symmetric: np.linalg.eigh(s),
            ("eigenvectors", "torch"): lambda s=symmetric: torch.linalg.eigh(torch.from_numpy(s)),
            ("product of two bases", "repscope"): lambda x=x, y=y: multiplied(x.T, y.T),
            ("product of two bases", "torch"): lambda x=x, y=y: x.T @ y,
            ("product with itself", "repscope"): lambda c=x.T: multiplied(c, c),
            ("product with itself", "torch"): lambda x=x: x.T @ x,
        }
        for (what, who), timing in in_turn(sides, given.rounds, patience=60.0, pause=0.5).items():
            table.row(what, dtype.__name__, who, str(timing), f"{timing.median * rate / p**3:.1f} p³")


if __name__ == "__main__":
    main()
