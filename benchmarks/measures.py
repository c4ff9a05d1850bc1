"""How long does each measure of the catalogue take on two whole networks, beside who else computes it?

    python -m benchmarks.measures [--only cka rsa …] [--rounds 3] [--patience 15] [--processor-time] [--out FILE]

18 × 18 layers of 2,000 examples, float32, with the widths of ResNet-18 after pooling over space: the first convolution
and its four stages of four convolutions, 64, 128, 256 and 512 channels, and the average pool. The layers are made here:
rectified mixtures of 60 latent variables that all layers share, and noise. Ours is one call of ``repscope.compare``,
which gives chance levels and diagnostics of the layers besides; peers are packages through their own interface, and the
algorithms of public codes in numpy (benchmarks/plain.py, plain_pairs.py; netrep's among them, which is on no registry),
with what they do once a layer done once.
All sides run in turn, A B A B, in one process; what takes longer than the patience runs once. Every peer's values are
held against ours. Half an hour on one idle core; see benchmarks/requirements.txt and peers.txt for the packages.
"""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Mapping

import numpy as np

import repscope
from benchmarks.measure_peers import CONTESTS, Contest, Layers, Matrix
from benchmarks.tables import Table, parser
from benchmarks.timing import Timing, in_turn
from benchmarks.two_matrices import PAUSE, machine
from repscope.engine.threads import cores
from repscope.measures.catalog import CATALOG, configure
from repscope.measures.measure import ConfiguredMeasure

EXAMPLES, LATENT = 2_000, 60
WIDTHS = (*[64] * 5, *[128] * 4, *[256] * 4, *[512] * 5)


def network(seed: int) -> list[Matrix]:
    """The layers of one network: the same latent variables through other weights, with noise that grows with depth."""
    latent = np.random.default_rng(0).standard_normal((EXAMPLES, LATENT), dtype=np.float32)
    rng = np.random.default_rng([1, seed])
    found = []
    for depth, width in enumerate(WIDTHS):
        weights = rng.standard_normal((LATENT, width), dtype=np.float32) / LATENT**0.5
        noise = rng.standard_normal((EXAMPLES, width), dtype=np.float32)
        found.append(np.maximum(latent @ weights + (0.3 + depth / 40) * noise, 0.0))
    return found


def settled(contest: Contest) -> ConfiguredMeasure:
    options = dict(contest.options)
    if options.get("kernel") == "rbf(0.5)":
        options["kernel"] = repscope.RBF(0.5)
    return configure(contest.measure, **options)


def chosen(layers: Layers, count: int) -> list[Matrix]:
    """So many layers, from the first to the last."""
    return [layers[i] for i in np.linspace(0, len(layers) - 1, count).round().astype(int)]


def ours(measure: ConfiguredMeasure, a: Layers, b: Layers) -> Matrix:
    named = [{f"layer {i}": x for i, x in enumerate(layers)} for layers in (a, b)]
    return repscope.compare(*named, measure=measure, pairs="all", intervals=False, progress=False).values


def differences(measure: ConfiguredMeasure, contest: Contest, a: Layers, b: Layers) -> dict[str, float]:
    """How far each peer's scores are from ours, as a share of our largest, on the layers that are timed."""
    expected = ours(measure, a, b)
    scale = float(np.abs(expected).max())
    return {name: float(np.abs(side(a, b) - expected).max()) / scale for name, side in contest.sides().items()}


def rows(table: Table, contest: Contest, timings: Mapping[str, Timing], apart: Mapping[str, float]) -> None:
    mine = timings["repscope"].median
    label, grid = settled(contest).label, f"{contest.layers} × {contest.layers}"
    table.row(label, grid, "repscope", str(timings["repscope"]).strip(), "", "1")
    for name, difference in apart.items():
        agrees = f"{difference:.0e}" + ("" if difference <= contest.tolerance else ": another definition")
        table.row("", "", name, str(timings[name]).strip(), agrees, f"**{timings[name].median / mine:.1f} ×**")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--only", nargs="*", choices=list(CATALOG), metavar="ID", help="measures")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument(
        "--processor-time", action="store_true", help="count processor time, which other work does not lengthen"
    )
    arguments.add_argument("--patience", type=float, default=15.0, help="seconds from which on a side runs once")
    given = arguments.parse_args()
    warnings.simplefilter("ignore")
    a, b = network(0), network(1)
    table = Table(given.out)
    table.text(f"{machine()}, {cores()} threads. {EXAMPLES:,} examples, float32, widths {_runs(WIDTHS)}.")
    table.text()
    clock, kind = time.perf_counter, "Seconds"
    if given.processor_time:
        clock, kind = time.process_time, "Seconds of processor time"
    table.text(
        f"{kind}: median (least–most) of {given.rounds}, one run where it took more than {given.patience:g} s. "
        "Difference: the largest from our scores, as a share of our largest score. Ratio: their time over ours."
    )
    table.head("measure", "layers", "who", "seconds", "difference", "ratio")
    for contest in CONTESTS:
        if given.only and contest.measure not in given.only:
            continue
        measure = settled(contest)
        left, right = (chosen(layers, contest.layers) for layers in (a, b))
        few = [chosen(layers, min(4, contest.layers)) for layers in (left, right)]
        sides = {"repscope": lambda m=measure, x=left, y=right: ours(m, x, y)}
        sides |= {name: lambda side=side, x=left, y=right: side(x, y) for name, side in contest.sides().items()}
        with contextlib.redirect_stdout(sys.stderr):  # some packages print
            apart = differences(measure, contest, *few)
            timings = in_turn(sides, given.rounds, given.patience, pause=PAUSE, clock=clock)
        rows(table, contest, timings, apart)


def _runs(widths: tuple[int, ...]) -> str:
    return ", ".join(f"{widths.count(width)} × {width}" for width in dict.fromkeys(widths))


if __name__ == "__main__":
    main()
