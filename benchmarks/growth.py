"""How do time and memory of the exact comparison grow with examples, layers and models?

    python -m benchmarks.growth [--out benchmarks/results]

Unbiased linear CKA of all pairs of layers. Examples: four layers of 1,024 features in memory. Layers: 512 features,
2,000 examples. Models: multilayer perceptrons of nine layers, 1,000 examples, captured and compared in one pass.
Time: the faster of two runs, without and with standard errors. Memory: with them, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

import repscope
from benchmarks.timing import measured_apart, product_rate

SWEEPS = {
    "examples": (1_000, 2_000, 5_000, 10_000, 20_000, 50_000),
    "layers": (4, 8, 16, 32, 64, 128, 200),
    "models": (2, 4, 8, 12, 16, 20),
}


def arrays(n: int, p: int, layers: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((n, 32), dtype=np.float32)
    return {
        f"layer{i}": shared @ rng.standard_normal((32, p), dtype=np.float32) + rng.standard_normal((n, p), np.float32)
        for i in range(layers)
    }


def perceptron(seed: int, width: int = 256, depth: int = 9) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        units = [nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(depth)]
        return nn.Sequential(*units)


def work(sweep: str, size: int, intervals: bool = True) -> Callable[[], repscope.Comparison]:
    """The comparison of one point, its inputs made."""
    warnings.simplefilter("ignore")
    if sweep == "models":
        models = {f"net {seed}": perceptron(seed) for seed in range(size)}
        data = torch.randn(1_000, 256, generator=torch.Generator().manual_seed(0))
        layers = [f"{i}" for i in range(9)]
        settings = {"layers": layers, "pairs": "all", "intervals": intervals, "progress": False}
        return lambda: repscope.compare(models, data=data, **settings)
    given = arrays(size, 1_024, 4) if sweep == "examples" else arrays(2_000, 512, size)
    return lambda: repscope.compare(given, pairs="all", intervals=intervals, progress=False)


def measured(sweep: str, size: int) -> dict[str, object]:
    sides = {"seconds": work(sweep, size, False), "seconds with standard errors": work(sweep, size, True)}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(2):
        for side, run in sides.items():
            start = time.perf_counter()
            result = run()
            seconds[side].append(time.perf_counter() - start)
    apart = measured_apart(work, (sweep, size), seconds=120, mebibytes=8192)
    return {
        "size": size,
        **{side: round(min(times), 4) for side, times in seconds.items()},
        "mebibytes": round(apart.mebibytes, 1),
        "route": result.conventions["route"],
    }


def exact_rate(n: int = 10_000, p: int = 8_192, layers: int = 6) -> dict[str, float]:
    """Time of the exact value by tiles over that of its operations at the rate of the fastest product."""
    given = arrays(n, p, layers)
    flops = float(n) ** 2 * (layers * p + layers**2 / 2)
    rate = product_rate(1_024, p)
    start = time.perf_counter()
    result = repscope.compare(given, pairs="all", intervals=False, progress=False)
    seconds = time.perf_counter() - start
    return {
        "n": n,
        "features": p,
        "layers": layers,
        "route": result.conventions["route"],
        "seconds": round(seconds, 2),
        "product GFLOP/s": round(rate / 1e9),
        "times the product's time": round(seconds * rate / flops, 2),
    }


def draw(points: dict[str, list[dict[str, object]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(10, 5.5), sharex="col", layout="constrained")
    for column, (sweep, found) in enumerate(points.items()):
        sizes = [p["size"] for p in found]
        upper, lower = axes[:, column]
        for style, key in (("o-", "seconds"), ("o--", "seconds with standard errors")):
            upper.loglog(sizes, [p[key] for p in found], style, color="C0", markersize=4, label=key)
        lower.loglog(sizes, [p["mebibytes"] for p in found], "o-", color="C1", markersize=4)
        for ax, unit in ((upper, "time, s"), (lower, "peak memory, MiB")):
            ax.grid(alpha=0.3, which="both")
            if column == 0:
                ax.set_ylabel(unit)
        for point, before in zip(found, [None, *found], strict=False):
            if before is None or before["route"] != point["route"]:
                axes[0, column].annotate(
                    str(point["route"]), (point["size"], point["seconds"]), (5, -10), textcoords="offset points", size=8
                )
        axes[1, column].set_xlabel(sweep)
    axes[0, 0].legend(fontsize=7)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--sweeps", nargs="*", default=list(SWEEPS), choices=SWEEPS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    exact = exact_rate()
    print("exact:", ", ".join(f"{key} {value}" for key, value in exact.items()), flush=True)
    points: dict[str, list[dict[str, object]]] = {}
    for sweep in arguments.sweeps:
        points[sweep] = []
        for size in SWEEPS[sweep]:
            points[sweep].append(measured(sweep, size))
            print(sweep, points[sweep][-1], flush=True)
    (arguments.out / "growth.json").write_text(json.dumps({"exact": exact, "growth": points}, indent=1) + "\n")
    draw(points, arguments.out / "growth.png")


if __name__ == "__main__":
    main()
