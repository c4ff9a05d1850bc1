"""Figure 6: networks become more alike as they become wider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from repscope.errors import InputError
from repscope.studies import paper
from repscope.studies.claims import Check, Claim
from repscope.studies.findings import Findings, Picture, Table
from repscope.studies.pairs import PairMean, mean_over_pairs, rank_correlation
from repscope.studies.plans import Comparing, Plan, Training
from repscope.studies.study import Context, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EARLY, LATE = ("conv1", "conv2", "conv3"), ("conv6", "conv7", "conv8")
SIDES = {"widest": "with the widest networks", "same": "within one width"}

Curves = dict[str, dict[str, dict[str, list[float]]]]


def run(context: Context) -> Findings:
    """Train networks of each width and compare each with the widest and with its own kind."""
    from repscope.studies.zoo import NetworkSpec

    widths: list[int] = sorted(context["widths"])
    if len(widths) < 2 or context["networks"] < 2:
        raise InputError("reproduce: width needs two widths and two networks of each, got fewer.")
    models: dict[str, Any] = {}
    accuracies = {}
    for width in widths:
        seeds = range(context["seed"], context["seed"] + context["networks"])
        nets = context.train(NetworkSpec("width_net", {"width": width}), seeds, title=f"Width-{width}")
        models |= {_name(width, net.seed): net.model for net in nets}
        accuracies[width] = float(np.mean([net.test_accuracy for net in nets]))
    groups = {width: [name for name in models if name.startswith(f"{width}/")] for width in widths}
    curves: Curves = {side: {} for side in SIDES}
    for width in widths:
        # Two widths at a time: no more networks in memory than one point of the figure needs.
        names = [*groups[width], *(groups[widths[-1]] if width != widths[-1] else [])]
        found = context.compare(f"width-{width}", {name: models[name] for name in names}, context.data("test"))
        means = {
            "same": mean_over_pairs(found, groups[width]),
            "widest": mean_over_pairs(found, groups[width], groups[widths[-1]]),
        }
        for side, mean in means.items():
            _append(curves[side], mean)
    return Findings(
        tables=tuple(_table(curves[side], widths, side) for side in SIDES),
        pictures=(
            Picture(
                "figure-6",
                "Figure 6: similarity by width; bands are jackknife standard errors over networks",
                _draw(curves, widths),
                _draw(_published(), list(paper.widths())),
            ),
        ),
        claims=_claims(context, curves, widths),
        numbers={"widths": widths, "curves": curves, "test accuracy": {str(w): a for w, a in accuracies.items()}},
    )


def _name(width: int, seed: int) -> str:
    return f"{width}/{seed}"


def _append(curves: dict[str, dict[str, list[float]]], mean: PairMean) -> None:
    for layer, value, error in zip(mean.comparison.row_layers, mean.same_layer, mean.same_layer_errors, strict=True):
        if layer != "avg_pool":  # the paper draws the eight convolutions
            line = curves.setdefault(layer, {"cka": [], "errors": []})
            line["cka"].append(float(value))
            line["errors"].append(float(error))


def _published() -> Curves:
    found: Curves = {}
    for side in SIDES:
        layers = [name.split("/")[-1] for name in paper.curves() if name.startswith(f"fig6/{side}/")]
        lines = {layer: paper.curve(f"fig6/{side}/{layer}") for layer in layers}
        found[side] = {
            layer: {"cka": values.tolist(), "errors": errors.tolist()} for layer, (values, errors) in lines.items()
        }
    return found


def _table(curves: Mapping[str, Mapping[str, list[float]]], widths: list[int], side: str) -> Table:
    published = paper.widths()
    rows: list[list[Any]] = []
    for layer, line in curves.items():
        cells: list[Any] = [layer]
        theirs = paper.curve(f"fig6/{side}/{layer}")[0]
        for width, value in zip(widths, line["cka"], strict=True):
            known = f"{theirs[published.index(width)]:.3f}" if width in published else "–"
            cells.append(f"{known} | {value:.3f}")
        rows.append(cells)
    widest = f"width {widths[-1]} here, 4096 in the paper" if side == "widest" else "the same width"
    return Table(
        f"CKA {SIDES[side]}: paper | ours",
        ["layer", *(f"width {width}" for width in widths)],
        rows,
        f"Mean over pairs of different networks, same layer; against networks of {widest}.",
    )


def _claims(context: Context, curves: Curves, widths: list[int]) -> list[Claim]:
    few = "" if len(widths) >= 3 else "it needs three widths"
    rising = {side: [rank_correlation(widths, line["cka"]) for line in curves[side].values()] for side in SIDES}
    middle = len(widths) // 2

    def mean_of(layers: tuple[str, ...], place: int) -> float:
        return float(np.mean([curves["same"][layer]["cka"][place] for layer in layers]))

    # At the greatest width both are the same pairs.
    points = [
        (same, widest)
        for layer, line in curves["same"].items()
        for same, widest in zip(line["cka"][:-1], curves["widest"][layer]["cka"][:-1], strict=True)
    ]
    share = float(np.mean([same >= widest for same, widest in points]))
    theirs = _published()
    their_points = [
        same >= widest
        for layer, line in theirs["same"].items()
        for same, widest in zip(line["cka"][:-1], theirs["widest"][layer]["cka"][:-1], strict=True)
    ]
    return [
        context.claim(
            "Networks become more alike with width",
            "§6.2, Figure 6",
            *(
                Check(f"lowest rank correlation of CKA {SIDES[side]} with width, over layers", min(found), "≥", 0.8)
                for side, found in rising.items()
            ),
            untested=few,
        ),
        context.claim(
            "Early layers reach their similarity at smaller widths than late layers",
            "§6.2, Figure 6",
            Check(
                f"CKA of conv1 to conv3 at width {widths[middle]}",
                mean_of(EARLY, middle),
                ">",
                mean_of(LATE, middle),
                "conv6 to conv8",
            ),
            Check(
                "what conv1 to conv3 still gain from there to the widest",
                mean_of(EARLY, -1) - mean_of(EARLY, middle),
                "<",
                mean_of(LATE, -1) - mean_of(LATE, middle),
                "conv6 to conv8",
            ),
            untested=few,
        ),
        context.claim(
            "Networks are more like others of their own width than like the widest",
            "§6.2, Figure 6",
            Check("share of layers and widths where it is so", share, "≥", 0.9, paper=float(np.mean(their_points))),
        ),
    ]


def _draw(curves: Curves, widths: list[int]) -> Figure:
    from repscope.plot import curve, panels

    axes = panels(1, 2, size=(4.4, 3.6))
    lowest = min(0.5, *(min(line["cka"]) for side in curves.values() for line in side.values()))
    for ax, side in zip(axes, SIDES, strict=True):
        for place, (layer, line) in enumerate(curves[side].items()):
            color = f"C{place}"
            curve(line["cka"], ax, x=widths, errors=line["errors"], label=layer, color=color, marker="o")
        ax.set_xscale("log", base=2)
        ax.set_xticks(widths, [str(width) for width in widths], rotation=90 if len(widths) > 6 else 0)
        ax.set_ylim(lowest, 1.01)
        ax.set_title(f"CKA {SIDES[side]}", fontsize="medium")
        ax.set_xlabel("width")
    axes[0].set_ylabel("CKA (linear)")
    axes[1].legend(fontsize="x-small", frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return axes[0].get_figure(root=True)  # type: ignore[return-value]


def plan(settings: Mapping[str, Any]) -> Plan:
    """What the study trains and compares."""
    from repscope.studies.zoo import NetworkSpec

    count, data, widths = settings["networks"], settings["data"], sorted(settings["widths"])
    specs = [NetworkSpec("width_net", {"width": width}) for width in widths]
    trainings = [Training(spec, data, count, settings["epochs"], settings["train_images"]) for spec in specs]
    pairs = [[(spec, count), (specs[-1], count)] for spec in specs[:-1]]
    groups = [*pairs, [(specs[-1], count)]]
    return Plan(trainings, [Comparing(group, data, settings["images"]) for group in groups])


STUDY = Study(
    name="width",
    title="Do wider networks learn more similar representations?",
    source="Figure 6, section 6.2",
    shows=(
        "Networks of growing width become more alike, early layers at smaller widths than late ones; a network is in "
        "general more like others of its own width than like the widest."
    ),
    protocol=(
        "Width-n networks (table E.3) from different seeds, linear CKA of the same layer on test images, mean over "
        "pairs of different networks; standard errors by the jackknife over networks.",
    ),
    settings={
        "tiny": {
            "data": "digits",
            "widths": [2, 4],
            "networks": 2,
            "epochs": 1,
            "train_images": 150,
            "images": 120,
            "seed": 0,
        },
        "small": {
            "data": "cifar10",
            "widths": [4, 8, 16, 32, 64],
            "networks": 3,
            "epochs": 6,
            "train_images": 50000,
            "images": 3000,
            "seed": 0,
        },
        "paper": {
            "data": "cifar10",
            "widths": [4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096],
            "networks": 10,
            "epochs": 60,
            "train_images": 50000,
            "images": 10000,
            "seed": 0,
        },
    },
    reductions={
        "tiny": ("Two widths, seconds of training on handwritten digits: a test of the code only.",),
        "small": (
            "The widest network has 64 channels, not 4096, so the similarity with the widest is another quantity: "
            "it is higher at small widths, and late layers stay well below 1.",
            "Three networks of each width: standard errors are about twice the paper's.",
            "Six epochs: late layers are less settled and less alike.",
        ),
        "paper": (),
    },
    run=run,
    plan=plan,
)
