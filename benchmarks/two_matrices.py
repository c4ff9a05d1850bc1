"""How long does one pair of matrices take, and how much memory, beside other packages and the algorithms they run?

    python -m benchmarks.two_matrices [--shape tall|wide] [--rounds 3] [--only cka cca …]

tall: n = 10,000 examples, 512 features each. wide: n = 2,000 examples, 50,000 features each. First each side runs once
in a process of its own, which gives the peak of memory above the data and stops what takes more than 60 s or 8 GiB;
then those that are left run in turn, A B A B, in one process. "plain" is the public algorithm written in numpy
(benchmarks/plain.py), so that neither another array library nor an old release decides. Some five minutes a shape
on two cores; see benchmarks/requirements.txt for the other packages.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import warnings
from collections.abc import Callable, Mapping

import numpy as np

import repscope
from benchmarks import plain
from benchmarks.timing import Apart, Timing, in_turn, measured_apart

SHAPES = {"tall": (10_000, 512), "wide": (2_000, 50_000)}
SECONDS, MEBIBYTES = 60.0, 8192.0
PAUSE = 0.2
"""Seconds between two sides, so that no library's threads still spin when another's begin."""

Matrix = np.ndarray
Side = Callable[[Matrix, Matrix], object]


def matrices(n: int, p: int) -> tuple[Matrix, Matrix]:
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((n, 40), dtype=np.float32)
    found = []
    for _ in range(2):
        x = rng.standard_normal((n, p), dtype=np.float32)
        x += shared @ rng.standard_normal((40, p), dtype=np.float32) / 6
        found.append(x)
    return found[0], found[1]


def sides() -> dict[str, dict[str, Side]]:
    """Who computes each measure; our own first."""
    return {
        "cka": {
            "repscope": repscope.cka,
            **packaged_cka(),
            "plain: features": plain.cka_of_features,
            "plain: Gram matrices": plain.linear_cka_of_grams,
        },
        "cka RBF": {
            "repscope": lambda x, y: repscope.cka(x, y, kernel=repscope.RBF(0.5)),
            "plain: Gram matrices": plain.rbf_cka,
        },
        "cca": {
            "repscope": repscope.cca,
            "plain: SVD": plain.cca_by_svd,
            "plain: covariance": plain.cca_by_covariance,
        },
        "svcca": {
            "repscope": repscope.svcca,
            "plain: SVD": plain.svcca_by_svd,
            "plain: covariance": plain.svcca_by_covariance,
        },
        "pwcca": {
            "repscope": repscope.pwcca,
            "plain: SVD": plain.pwcca_by_svd,
            "plain: covariance": plain.pwcca_by_covariance,
        },
        "linear regression": {
            "repscope": repscope.linear_regression,
            "plain: QR": plain.regression_by_qr,
        },
        "procrustes": {
            "repscope": repscope.procrustes,
            **packaged_procrustes(),
            "plain: XᵀY": plain.procrustes_by_product,
        },
    }


def packaged_cka() -> dict[str, Side]:
    found: dict[str, Side] = {}
    with contextlib.suppress(ImportError):
        import torch
        from cka import cka_from_features

        found["pytorch-cka"] = lambda x, y: cka_from_features(torch.from_numpy(x), torch.from_numpy(y))
    with contextlib.suppress(ImportError):
        from netrep.metrics import LinearCKA  # type: ignore[import-not-found]

        found["netrep"] = lambda x, y: LinearCKA().fit(x, y).score(x, y)
    with contextlib.suppress(ImportError):
        from rsatoolbox.data import Dataset
        from rsatoolbox.rdm import calc_rdm, compare

        found["rsatoolbox cosine_cov"] = lambda x, y: compare(
            calc_rdm(Dataset(x), method="euclidean"), calc_rdm(Dataset(y), method="euclidean"), method="cosine_cov"
        )
    return found


def packaged_procrustes() -> dict[str, Side]:
    found: dict[str, Side] = {}
    with contextlib.suppress(ImportError):
        from scipy.spatial import procrustes

        found["scipy.spatial"] = procrustes
    with contextlib.suppress(ImportError):
        from netrep.metrics import LinearMetric  # type: ignore[import-not-found]

        found["netrep"] = lambda x, y: LinearMetric(alpha=1.0).fit(x, y).score(x, y)
    return found


def prepared(shape: str, measure: str, who: str) -> Callable[[], object]:
    """One side on its data, after a small run that loads what it needs; called in a process of its own."""
    warnings.simplefilter("ignore")
    side = sides()[measure][who]
    side(*(z[:, :8] for z in matrices(64, 16)))
    x, y = matrices(*SHAPES[shape])
    return lambda: side(x, y)


def table(measure: str, apart: Mapping[str, Apart], timings: Mapping[str, Timing]) -> str:
    ours = timings["repscope"].median
    peers = {who: timing.median / ours for who, timing in timings.items() if who != "repscope"}
    lines = []
    for who, found in apart.items():
        cells = [measure, who]
        if found.stopped:
            cells += ["—", found.stopped, "—"]
        else:
            ratio = f"{peers[who]:.1f} ×" if who in peers else "1"
            cells += [str(timings[who]), f"{found.mebibytes:.0f} MiB", ratio]
        lines.append("| " + " | ".join(cells) + " |")
    if peers:
        best = min(peers, key=lambda who: peers[who])
        lines.append(f"| {measure} | **best peer: {best}** | | | **{peers[best]:.2f} ×** |")
    return "\n".join(lines)


def machine() -> str:
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[index, call-overload]
    versions = [f"numpy {np.__version__} ({blas['name']} {blas['version']})"]
    for name in ("scipy", "torch"):
        with contextlib.suppress(ImportError):
            versions.append(f"{name} {__import__(name).__version__}")
    return f"{platform.machine()}, Python {platform.python_version()}, {', '.join(versions)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="tall")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="measures, such as cka or 'cka RBF'")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    n, p = SHAPES[arguments.shape]
    x, y = matrices(n, p)
    print(f"{machine()}\n\nn = {n:,}, p = q = {p:,}, float32; seconds: median (least–most) of {arguments.rounds}\n")
    print("| measure | who | seconds | peak above the data | time / ours |\n| --- | --- | --- | --- | --- |")
    for measure, who in sides().items():
        if arguments.only and measure not in arguments.only:
            continue
        apart = {
            name: measured_apart(prepared, (arguments.shape, measure, name), seconds=SECONDS, mebibytes=MEBIBYTES)
            for name in who
        }
        work = {name: lambda side=side: side(x, y) for name, side in who.items() if not apart[name].stopped}
        print(table(measure, apart, in_turn(work, arguments.rounds, pause=PAUSE)), flush=True)


if __name__ == "__main__":
    main()
