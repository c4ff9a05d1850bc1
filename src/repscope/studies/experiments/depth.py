"""Figure 3: what happens to the layers of a network that is too deep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repscope.comparison import Comparison
from repscope.studies import paper
from repscope.studies.claims import Check, Claim, percent
from repscope.studies.findings import Findings, Picture, Table
from repscope.studies.plans import Comparing, Plan, Training
from repscope.studies.study import Context, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from repscope.studies.zoo import TrainedNetwork

ALIKE = 0.7
"""Layers with at least this CKA with the last one belong to its block: 35 of the 65 layers of the paper's Plain-66."""

PLATEAU = 0.02
"""A probe has reached its plateau where it comes this close to that of the last layer."""

DEEPEST, SHALLOW = 66, (10, 18)


def run(context: Context) -> Findings:
    """Train one network of each depth, compare its layers, probe each of them."""
    from repscope.studies.zoo import NetworkSpec

    depths: list[int] = context["depths"]
    nets: dict[int, TrainedNetwork] = {}
    for depth in depths:
        spec = NetworkSpec("plain", {"depth": depth, "width": context["width"]})
        (nets[depth],) = context.train(spec, [context["seed"]], title=f"Plain-{depth}")
    data = context.data("test")
    maps = {
        depth: context.compare(f"plain-{depth}", {f"Plain-{depth}": net.model}, data) for depth, net in nets.items()
    }
    probes = {depth: _probed(context, depth, net) for depth, net in nets.items()}
    accuracies = {depth: net.test_accuracy for depth, net in nets.items()}
    return Findings(
        tables=(_table(maps, probes, accuracies),),
        pictures=(
            Picture(
                "figure-3",
                "Figure 3: layers of one network, and what a probe of each layer knows",
                _draw({d: (maps[d], probes[d]) for d in depths}, accuracies),
                _draw_paper(depths),
            ),
        ),
        claims=_claims(context, maps, probes, accuracies),
        numbers={
            "cka": {f"plain-{depth}": found.values for depth, found in maps.items()},
            "probe accuracy": {f"plain-{depth}": found for depth, found in probes.items()},
            "test accuracy": {f"plain-{depth}": found for depth, found in accuracies.items()},
        },
    )


def _probed(context: Context, depth: int, net: TrainedNetwork) -> list[float]:
    from repscope.studies.networks import representation_layers
    from repscope.studies.probe import probe_layers

    images = context.images()
    count = context["probe_images"]
    few = context.limited("train", images, count)

    def compute() -> list[float]:
        with context.timed("probes"):
            return probe_layers(
                net.model,
                images.standardised("train", few),
                images.train_labels[:few],
                context.data("test"),
                images.test_labels[: context["images"]],
                layers=representation_layers(net.model),
                penalty=context["probe_penalty"],
            )

    found: list[float] = context.folder.kept(f"probe-plain-{depth}", compute)
    return found


def like_the_last(values: NDArray[np.float64]) -> float:
    """Share of the layers whose CKA with the last one is at least ``ALIKE``."""
    return float(np.mean(values[-1] >= ALIKE))


def _plateau(probe: Sequence[float]) -> float:
    """Where the probe first comes close to that of the last layer, as a share of the depth."""
    reached = np.flatnonzero(np.array(probe) >= probe[-1] - PLATEAU)
    return float(reached[0] + 1) / len(probe)


def _paper_name(depth: int) -> str | None:
    name = f"plain-{depth}"
    return name if f"fig3/{name}" in paper.panels() else None


def _table(
    maps: Mapping[int, Comparison], probes: Mapping[int, Sequence[float]], accuracies: Mapping[int, float]
) -> Table:
    rows: list[list[Any]] = []
    for depth, found in maps.items():
        name = _paper_name(depth)
        theirs = paper.panel(f"fig3/{name}") if name else None
        probe = paper.curve(f"fig3/probe/{name}")[0] if name else None
        rows.append(
            [
                f"Plain-{depth}",
                percent(paper.number("test accuracy", name)) if name else "–",
                percent(accuracies[depth]),
                percent(like_the_last(theirs)) if theirs is not None else "–",
                percent(like_the_last(found.values)),
                percent(_plateau(probe.tolist())) if probe is not None else "–",
                percent(_plateau(probes[depth])),
            ]
        )
    return Table(
        "Depth: test accuracy, block of layers like the last, and plateau of the probe, %",
        ["network", "accuracy (paper)", "ours", "like the last (paper)", "ours", "plateau at (paper)", "ours"],
        rows,
        f"Like the last: share of layers whose CKA with the last is at least {ALIKE}. Plateau: depth at which the "
        f"probe comes within {100 * PLATEAU:.0f} points of that of the last layer.",
    )


def _claims(
    context: Context,
    maps: Mapping[int, Comparison],
    probes: Mapping[int, Sequence[float]],
    accuracies: Mapping[int, float],
) -> list[Claim]:
    deep = DEEPEST in maps
    missing = "" if deep else f"Plain-{DEEPEST} is not among the depths of this scale"
    both = "" if deep and all(depth in maps for depth in SHALLOW) else "it needs Plain-10, Plain-18 and Plain-66"

    def of(depth: int, numbers: Mapping[int, float]) -> float:
        return numbers.get(depth, math.nan)

    blocks = {depth: like_the_last(found.values) for depth, found in maps.items()}
    plateaus = {depth: _plateau(probe) for depth, probe in probes.items()}
    shallow = [depth for depth in SHALLOW if depth in maps]
    return [
        context.claim(
            "Doubling the depth improves the accuracy, eight times the depth is worse again",
            "§6.2, Figure 3",
            Check("Plain-18", of(18, accuracies), ">", of(10, accuracies), "Plain-10"),
            Check("Plain-66", of(66, accuracies), "<", of(18, accuracies), "Plain-18"),
            untested=both,
        ),
        context.claim(
            "At eight times the depth more than half of the layers are very similar to the last",
            "§6.2, Figure 3",
            Check(
                "share of such layers in Plain-66",
                of(66, blocks),
                ">",
                0.5,
                paper=like_the_last(paper.panel("fig3/plain-66")),
            ),
            untested=missing,
        ),
        context.claim(
            "Networks of normal depth have no such block",
            "§6.2, Figure 3",
            *(
                Check(
                    f"share of such layers in Plain-{d}",
                    blocks[d],
                    "<",
                    0.5,
                    paper=like_the_last(paper.panel(f"fig3/plain-{d}")),
                )
                for d in shallow
            ),
            untested="" if shallow else "neither Plain-10 nor Plain-18 is among the depths of this scale",
        ),
        context.claim(
            "Probes improve from layer to layer in shallow networks",
            "§6.2, Figure 3",
            *(Check(f"plateau in Plain-{d}, share of the depth", plateaus[d], ">", 0.5) for d in shallow),
            untested="" if shallow else "neither Plain-10 nor Plain-18 is among the depths of this scale",
        ),
        context.claim(
            "At eight times the depth they reach a plateau before half of the layers",
            "§6.2, Figure 3",
            Check("plateau in Plain-66, share of the depth", of(66, plateaus), "<", 0.5),
            untested=missing,
        ),
    ]


def _draw(
    found: Mapping[int, tuple[Comparison, Sequence[float]]], accuracies: Mapping[int, float], title: str = ""
) -> Figure:
    from repscope.plot import curve, heatmap, panels

    count = len(found)
    axes = panels(2, count, size=(3.4, 3.2), title=title)
    for place, (depth, (similarity, probe)) in enumerate(found.items()):
        top, bottom = axes[place], axes[count + place]
        name = f"Plain-{depth} ({100 * accuracies[depth]:.1f} %)"
        heatmap(similarity, top, limits=(0.1, 1.0), colorbar=place == count - 1, title=name, max_labels=12)
        _plain_labels(top, first=place == 0)
        curve(probe, bottom, color="C0", marker="o" if len(probe) < 20 else "")
        bottom.set_ylim(min(0.5, *probe), 1.0)
        bottom.set_xlabel("layer")
        if place == 0:
            bottom.set_ylabel("accuracy of a probe")
    return axes[0].get_figure(root=True)  # type: ignore[return-value]


def _plain_labels(ax: Axes, *, first: bool) -> None:
    ax.set_xlabel("layer")
    ax.set_ylabel("layer" if first else "")
    ax.tick_params(labelsize=6)


def _draw_paper(depths: Sequence[int]) -> Figure | None:
    known = {depth: name for depth in depths if (name := _paper_name(depth))}
    if not known:
        return None
    found = {
        depth: (paper.comparison(f"fig3/{name}"), paper.curve(f"fig3/probe/{name}")[0].tolist())
        for depth, name in known.items()
    }
    return _draw(found, {depth: paper.number("test accuracy", name) for depth, name in known.items()})


def plan(settings: Mapping[str, Any]) -> Plan:
    """What the study trains and compares."""
    from repscope.studies.zoo import NetworkSpec

    data = settings["data"]
    specs = [NetworkSpec("plain", {"depth": depth, "width": settings["width"]}) for depth in settings["depths"]]
    trainings = [Training(spec, data, 1, settings["epochs"], settings["train_images"]) for spec in specs]
    return Plan(trainings, [Comparing([(spec, 1)], data, settings["images"]) for spec in specs])


STUDY = Study(
    name="depth",
    title="What happens to the layers of a network that is too deep?",
    source="Figure 3, section 6.2",
    shows=(
        "Plain networks get better when their depth is doubled and worse when it is multiplied by four or eight. "
        "Linear CKA shows why: more than half of the layers of the deepest network are nearly the same, and a "
        "linear probe of each layer stops improving where that block begins."
    ),
    protocol=(
        "One network of each depth (table E.2), linear CKA between all of its layers on test images, maps flattened.",
        "Probe: multinomial logistic regression with an L2 penalty on each layer, fitted on training images and "
        "judged on test images; maps averaged over a grid of 4 × 4 fields, features standardised; L-BFGS from zero. "
        "The paper gives neither penalty nor solver nor pooling.",
    ),
    settings={
        "tiny": {
            "data": "digits",
            "depths": [10, 18],
            "epochs": 1,
            "train_images": 200,
            "width": 2,
            "images": 150,
            "probe_images": 150,
            "probe_penalty": 1e-3,
            "seed": 0,
        },
        "small": {
            "data": "cifar10",
            "depths": [10, 18, 34, 66],
            "epochs": 5,
            "train_images": 50000,
            "width": 16,
            "images": 5000,
            "probe_images": 5000,
            "probe_penalty": 1e-2,
            "seed": 0,
        },
        "paper": {
            "data": "cifar10",
            "depths": [10, 18, 34, 66],
            "epochs": 60,
            "train_images": 50000,
            "width": 96,
            "images": 10000,
            "probe_images": 50000,
            "probe_penalty": 1e-3,
            "seed": 0,
        },
    },
    reductions={
        "tiny": ("Two depths, two channels, seconds of training on handwritten digits: a test of the code only.",),
        "small": (
            "A sixth of the paper's channels and five epochs: accuracies are lower by some ten points, and the deepest "
            "network may not train at all, which makes its block of identical layers larger than the paper's.",
            "Probes are fitted on 5,000 images, so their accuracies are some points lower.",
        ),
        "paper": (),
    },
    run=run,
    plan=plan,
)
