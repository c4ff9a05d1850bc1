"""Appendix F.4 (Figure F.7): similarity within classes against similarity over all examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from repscope.errors import InputError
from repscope.studies import paper
from repscope.studies.claims import Check, Claim
from repscope.studies.drawing import maps
from repscope.studies.findings import Findings, Picture, Table
from repscope.studies.pairs import mean_over_pairs
from repscope.studies.plans import Comparing, Plan, Training
from repscope.studies.study import Context, Study
from repscope.within import average, split


def run(context: Context) -> Findings:
    """Train, compare on all images and on those of each class."""
    from repscope.studies.zoo import NetworkSpec

    if context["networks"] < 2:
        raise InputError("reproduce: within-class needs two networks or more, got one.")
    spec = NetworkSpec("plain", {"depth": 10, "width": context["width"]})
    nets = context.train(spec, range(context["seed"], context["seed"] + context["networks"]), title="Plain-10")
    models = {f"net {net.seed}": net.model for net in nets}
    data = context.data("test")
    labels = context.images().test_labels[: len(data)]
    everything = mean_over_pairs(context.compare("all", models, data), list(models))
    classes, left_out = split(labels, function="reproduce: within-class")
    found = {
        number: mean_over_pairs(context.compare(f"class-{number}", models, data[rows]), list(models)).comparison
        for number, rows in classes.items()
    }
    within = average(found, left_out=left_out)
    blocks = {context.images().classes[int(number)]: comparison.values for number, comparison in found.items()}
    panels = {"all examples": everything.comparison, "within class": within}
    published = {panel: paper.panel(f"figF7/{panel}") for panel in panels}
    layers = within.row_layers
    ours = {panel: found.values for panel, found in panels.items()}
    return Findings(
        tables=(
            Table(
                "CKA of each layer with the same layer, and with the last: paper | ours",
                [
                    "layer",
                    "same, all examples",
                    "same, within class",
                    "with the last, all",
                    "with the last, within class",
                ],
                [
                    [
                        layer,
                        *(_pair(published[panel][i, i], ours[panel][i, i]) for panel in panels),
                        *(_pair(published[panel][i, -1], ours[panel][i, -1]) for panel in panels),
                    ]
                    for i, layer in enumerate(layers)
                ],
            ),
        ),
        pictures=(
            Picture(
                "figure-f7",
                "Figure F.7: CKA over all examples and within classes",
                maps(panels, columns=2, shared=(0.0, 1.0), panel_size=3.2),
                maps(
                    {p: paper.comparison(f"figF7/{p}", layers, layers) for p in panels},
                    columns=2,
                    shared=(0.0, 1.0),
                    panel_size=3.2,
                ),
            ),
        ),
        claims=_claims(context, ours, published),
        numbers={"mean CKA": ours, "within each class": blocks, "images of each class": _counts(labels, context)},
    )


def _pair(theirs: float, ours: float) -> str:
    return f"{theirs:.3f} | {ours:.3f}"


def _agreement(everything: np.ndarray, within: np.ndarray) -> float:
    """Correlation of the entries of two matrices, without the last layer."""
    return float(np.corrcoef(everything[:-1, :-1].ravel(), within[:-1, :-1].ravel())[0, 1])


def _distance(everything: np.ndarray, within: np.ndarray) -> float:
    return float(np.abs(everything[:-1, :-1] - within[:-1, :-1]).mean())


def _counts(labels: np.ndarray, context: Context) -> dict[str, int]:
    return {name: int((labels == number).sum()) for number, name in enumerate(context.images().classes)}


def _claims(context: Context, ours: Mapping[str, np.ndarray], published: Mapping[str, np.ndarray]) -> tuple[Claim, ...]:
    return (
        context.claim(
            "Within classes the similarities of layers are those over all examples, but for the last layer",
            "App. F.4, Figure F.7",
            Check(
                "correlation of the two matrices, without the last layer",
                _agreement(*ours.values()),
                "≥",
                0.9,
                paper=_agreement(*published.values()),
            ),
            Check(
                "mean absolute difference, without the last layer",
                _distance(*ours.values()),
                "≤",
                0.15,
                paper=_distance(*published.values()),
            ),
        ),
        context.claim(
            "Within classes the last layer is unlike all others",
            "Figure F.7",
            Check(
                "largest CKA of another layer with the last, within class",
                float(ours["within class"][:-1, -1].max()),
                "≤",
                0.5,
                paper=float(published["within class"][:-1, -1].max()),
            ),
            Check(
                "its mean over the other layers, within class",
                float(ours["within class"][:-1, -1].mean()),
                "<",
                float(ours["all examples"][:-1, -1].mean()),
                "over all examples",
                float(published["within class"][:-1, -1].mean()),
            ),
        ),
    )


def plan(settings: Mapping[str, Any]) -> Plan:
    """What the study trains and compares."""
    from repscope.studies.zoo import NetworkSpec

    spec, count = NetworkSpec("plain", {"depth": 10, "width": settings["width"]}), settings["networks"]
    training = Training(spec, settings["data"], count, settings["epochs"], settings["train_images"])
    # The classes together have as many images, and each class takes its own Gram matrices only.
    parts = [settings["images"], *[settings["images"] // 10] * 10]
    return Plan([training], [Comparing([(spec, count)], settings["data"], images) for images in parts])


STUDY = Study(
    name="within-class",
    title="Is similarity more than that images of one class are alike?",
    source="Appendix F.4, Figure F.7",
    shows=(
        "CKA computed within each class and averaged over classes is like CKA over all examples, but for the last "
        "layer, which holds little beyond the class."
    ),
    protocol=(
        "Plain-10 networks from different seeds, linear CKA (biased) on all test images and on those of each class, "
        "mean over pairs of networks, then over classes.",
    ),
    settings={
        "tiny": {
            "data": "digits",
            "networks": 2,
            "epochs": 1,
            "train_images": 150,
            "width": 2,
            "images": 150,
            "seed": 0,
        },
        "small": {
            "data": "cifar10",
            "networks": 3,
            "epochs": 8,
            "train_images": 50000,
            "width": 24,
            "images": 10000,
            "seed": 0,
        },
        "paper": {
            "data": "cifar10",
            "networks": 10,
            "epochs": 60,
            "train_images": 50000,
            "width": 96,
            "images": 10000,
            "seed": 0,
        },
    },
    reductions={
        "tiny": ("Two channels and seconds of training on handwritten digits: a test of the code only.",),
        "small": (
            "A quarter of the paper's channels, eight epochs, three networks: less alike than the paper's; the less a "
            "network has learned, the more within-class structure its last layer keeps.",
        ),
        "paper": (),
    },
    run=run,
    plan=plan,
)
