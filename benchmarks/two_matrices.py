"""How long does one pair of matrices take, beside other packages?

    python -m benchmarks.two_matrices [--shape tall|wide]

tall: n = 10,000 examples, 512 features each. wide: n = 2,000 examples, 50,000 features each.
"""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections.abc import Callable

import numpy as np

import repscope
from benchmarks.timing import in_turn, peak_memory

SHAPES = {"tall": (10_000, 512), "wide": (2_000, 50_000)}


def matrices(n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((n, 40), dtype=np.float32)
    return tuple(
        shared @ rng.standard_normal((40, p), dtype=np.float32) / 6 + rng.standard_normal((n, p), dtype=np.float32)
        for _ in range(2)
    )


def ours(x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], object]]:
    return {
        "cka linear": lambda: repscope.cka(x, y),
        "cka RBF": lambda: repscope.cka(x, y, kernel=repscope.RBF(0.5)),
        "cca": lambda: repscope.cca(x, y),
        "svcca": lambda: repscope.svcca(x, y),
        "pwcca": lambda: repscope.pwcca(x, y),
        "linear regression": lambda: repscope.linear_regression(x, y),
        "procrustes": lambda: repscope.procrustes(x, y),
    }


def peers(x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {}
    with contextlib.suppress(ImportError):
        import torch
        from cka import cka_from_features

        found["pytorch-cka: cka linear"] = lambda: cka_from_features(torch.from_numpy(x), torch.from_numpy(y))
    with contextlib.suppress(ImportError):
        from netrep.metrics import LinearCKA  # type: ignore[import-not-found]

        found["netrep: cka linear"] = lambda: LinearCKA().fit(x, y).score(x, y)
    with contextlib.suppress(ImportError):
        from rsatoolbox.data import Dataset
        from rsatoolbox.rdm import calc_rdm, compare

        found["rsatoolbox: cosine_cov"] = lambda: compare(
            calc_rdm(Dataset(x), method="euclidean"), calc_rdm(Dataset(y), method="euclidean"), method="cosine_cov"
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="tall")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip", nargs="*", default=[])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    x, y = matrices(*SHAPES[arguments.shape])
    work = {k: v for k, v in {**ours(x, y), **peers(x, y)}.items() if k not in arguments.skip}
    print(f"n, p = {x.shape}, float32")
    for name, timing in in_turn(work, arguments.rounds).items():
        print(f"{name:26} {timing}   peak +{peak_memory(lambda name=name: work[name]):.0f} MiB")


if __name__ == "__main__":
    main()
