"""Figure 7: networks trained on different data sets, and networks that are not trained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from repscope.studies import paper
from repscope.studies.claims import Check, Claim
from repscope.studies.findings import Findings, Picture, Table
from repscope.studies.pairs import mean_over_pairs
from repscope.studies.plans import Comparing, Plan, Training
from repscope.studies.study import Context, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAIRS = (
    ("first", "first"),
    ("second", "second"),
    ("first", "second"),
    ("untrained", "first"),
    ("untrained", "second"),
)
"""The lines of the figure: groups of networks on both sides."""

PAPER_GROUPS = {"first": "cifar10", "second": "cifar100", "untrained": "untrained"}
TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "untrained": "untrained", "digits": "digits"}

Curves = dict[str, dict[str, dict[str, list[float]]]]


def run(context: Context) -> Findings:
    """Train on both data sets, compare on the test images of both."""
    from repscope.studies.zoo import NetworkSpec

    spec = NetworkSpec("plain", {"depth": 10, "width": context["width"]})
    sets = {"first": context["data"], "second": context["other"]}
    seed, count = context["seed"], context["networks"]
    # Seeds of their own for every group: networks of one seed start from the same weights.
    nets = {
        group: context.train(
            spec,
            range(seed + place * count, seed + (place + 1) * count),
            data=name,
            epochs=_epochs(context, name),
            title=f"Plain-10 on {TITLES.get(name, name)}",
        )
        for place, (group, name) in enumerate(sets.items())
    }
    fresh = range(seed + 2 * count, seed + 3 * count)
    nets["untrained"] = context.train(spec, fresh, epochs=0, title="Plain-10, untrained")
    models = {f"{group}/{net.seed}": net.model for group, found in nets.items() for net in found}
    groups = {group: [name for name in models if name.startswith(f"{group}/")] for group in nets}
    curves: Curves = {}
    for on, name in sets.items():
        found = context.compare(f"on-{name}", models, context.data("test", name))
        curves[on] = {}
        for a, b in PAIRS:
            mean = mean_over_pairs(found, groups[a], groups[b])
            curves[on][f"{a} x {b}"] = {
                "cka": mean.same_layer.tolist(),
                "errors": mean.same_layer_errors.tolist(),
            }
    layers = list(dict.fromkeys(found.row_layers))
    names = sets | {"untrained": "untrained"}
    return Findings(
        tables=tuple(_table(curves[on], layers, on, names) for on in sets),
        pictures=(
            Picture(
                "figure-7",
                "Figure 7: CKA of the same layer of networks trained on different data; bands are standard errors",
                _draw(curves, names),
                _draw(_published(), {"first": "cifar10", "second": "cifar100", "untrained": "untrained"}),
            ),
        ),
        claims=_claims(context, curves),
        numbers={"layers": layers, "data sets": sets, "curves": curves},
        notes=(
            "Every network sees images standardised by the training set that they belong to.",
            *(note for images in context.loaded.values() for note in images.notes),
        ),
    )


def _epochs(context: Context, data: str) -> int:
    """Passes over a data set after which a network has seen as many images as those of the study's own."""
    wanted, epochs = int(context["train_images"]), int(context["epochs"])
    shown = epochs * min(wanted, context.images(context["data"]).train_examples)
    return round(shown / min(wanted, context.images(data).train_examples))


def _published() -> Curves:
    return {
        on: {
            f"{a} x {b}": dict(zip(("cka", "errors"), (side.tolist() for side in _paper_line(on, a, b)), strict=True))
            for a, b in PAIRS
        }
        for on in ("first", "second")
    }


def _paper_line(on: str, a: str, b: str) -> Any:
    return paper.curve(f"fig7/{PAPER_GROUPS[on]}/{PAPER_GROUPS[a]} x {PAPER_GROUPS[b]}")


def _table(
    curves: Mapping[str, Mapping[str, list[float]]], layers: list[str], on: str, names: Mapping[str, str]
) -> Table:
    rows: list[list[Any]] = []
    for a, b in PAIRS:
        theirs, _ = _paper_line(on, a, b)
        ours = curves[f"{a} x {b}"]["cka"]
        cells = [f"{their:.3f} | {our:.3f}" for their, our in zip(theirs, ours, strict=True)]
        rows.append([f"{_title(names[a])} – {_title(names[b])}", *cells])
    return Table(
        f"CKA of the same layer on test images of {_title(names[on])}: paper | ours",
        ["networks", *layers],
        rows,
    )


def _title(name: str) -> str:
    return TITLES.get(name, name)


def _claims(context: Context, curves: Curves) -> list[Claim]:
    def mean(on: str, pair: str, places: slice) -> float:
        return float(np.mean(curves[on][pair]["cka"][places]))

    early, late, published = slice(0, 4), slice(6, 8), _published()

    def theirs(on: str, pair: str, places: slice) -> float:
        return float(np.mean(published[on][pair]["cka"][places]))

    across, checks, untrained = "first x second", [], []
    for on, title in (("first", "first"), ("second", "second")):
        checks += [
            Check(
                f"early layers across data sets, on the {title}",
                mean(on, across, early),
                "≥",
                0.85,
                paper=theirs(on, across, early),
            ),
            Check(
                f"conv7 and conv8 across data sets, on the {title}",
                mean(on, across, late),
                "<",
                mean(on, f"{on} x {on}", late),
                "within the one of these images",
                theirs(on, across, late),
            ),
            Check(
                f"drop from early to late layers across data sets, on the {title}",
                mean(on, across, early) - mean(on, across, late),
                ">",
                mean(on, f"{on} x {on}", early) - mean(on, f"{on} x {on}", late),
                "within",
            ),
        ]
        for group in ("first", "second"):
            pair = f"untrained x {group}"
            gaps = np.array(curves[on][across]["cka"]) - np.array(curves[on][pair]["cka"])
            untrained += [
                Check(
                    f"untrained and {group}, conv3 to avg_pool, on the {title}",
                    mean(on, pair, slice(2, 9)),
                    "<",
                    0.5,
                    paper=theirs(on, pair, slice(2, 9)),
                ),
                Check(
                    "smallest distance below trained on different data, any layer",
                    float(gaps.min()) if len(gaps) else math.nan,
                    ">",
                    0.0,
                ),
            ]
    return [
        context.claim(
            "Networks trained on different data sets have similar early layers and different late ones",
            "§6.3, Figure 7",
            *checks,
        ),
        context.claim(
            "Untrained networks are far less similar to trained ones than these are to each other",
            "§6.3, Figure 7",
            *untrained,
        ),
    ]


def _draw(curves: Curves, names: Mapping[str, str]) -> Figure:
    from repscope.plot import curve, panels

    axes = panels(1, 2, size=(4.4, 3.6))
    for ax, (on, lines) in zip(axes, curves.items(), strict=True):
        for place, (pair, line) in enumerate(lines.items()):
            a, b = pair.split(" x ")
            label = f"{_title(names[a])} – {_title(names[b])}"
            curve(line["cka"], ax, errors=line["errors"], label=label, color=f"C{place}", marker="o")
        ax.set_ylim(0, 1.02)
        ax.set_title(f"on test images of {_title(names[on])}", fontsize="medium")
        ax.set_xlabel("layer")
    axes[0].set_ylabel("CKA (linear)")
    axes[1].legend(fontsize="x-small", frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return axes[0].get_figure(root=True)  # type: ignore[return-value]


def plan(settings: Mapping[str, Any]) -> Plan:
    """What the study trains and compares."""
    from repscope.studies.zoo import NetworkSpec

    count = settings["networks"]
    spec = NetworkSpec("plain", {"depth": 10, "width": settings["width"]})
    sets = [settings["data"], settings["other"]]
    trainings = [Training(spec, name, count, settings["epochs"], settings["train_images"]) for name in sets]
    trainings.append(Training(spec, sets[0], count, 0, settings["train_images"]))
    return Plan(trainings, [Comparing([(spec, 3 * count)], name, settings["images"]) for name in sets])


STUDY = Study(
    name="datasets",
    title="Do networks trained on different data learn the same?",
    source="Figure 7, section 6.3",
    shows=(
        "Networks trained on CIFAR-10 and on CIFAR-100 have similar early layers; late layers differ. Untrained "
        "networks are much less like trained ones, but for the first layers."
    ),
    protocol=(
        "Plain-10 networks, all from different seeds: trained on one data set, on the other, and untrained; linear "
        "CKA of the same layer on the test images of each set.",
        "Networks of both data sets see as many images: where one set has fewer, more often.",
        "Mean over all pairs of different networks of the two groups (the paper says 45 pairs, which fits pairs "
        "within a group only); standard errors by the jackknife over networks of both groups.",
    ),
    settings={
        "tiny": {
            "data": "digits",
            "other": "digits-transposed",
            "networks": 2,
            "epochs": 1,
            "train_images": 150,
            "width": 2,
            "images": 100,
            "seed": 0,
        },
        "small": {
            "data": "cifar10",
            "other": "cifar100",
            "networks": 3,
            "epochs": 8,
            "train_images": 50000,
            "width": 24,
            "images": 5000,
            "seed": 0,
        },
        "paper": {
            "data": "cifar10",
            "other": "cifar100",
            "networks": 10,
            "epochs": 60,
            "train_images": 50000,
            "width": 96,
            "images": 10000,
            "seed": 0,
        },
    },
    reductions={
        "tiny": ("Digits and the same digits mirrored at the diagonal, seconds of training: a test of the code only.",),
        "small": (
            "A quarter of the paper's channels: all trained networks are less alike, as figure 6 would have it.",
            "Three networks of each kind and eight epochs: wider standard errors, less settled late layers.",
        ),
        "paper": (),
    },
    run=run,
    plan=plan,
)
