"""Appendix F.4 (Figure F.6): networks with and without batch normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repscope.errors import InputError
from repscope.studies import paper
from repscope.studies.claims import Check, Claim, percent
from repscope.studies.drawing import maps
from repscope.studies.findings import Findings, Picture, Table
from repscope.studies.pairs import mean_over_pairs
from repscope.studies.plans import Comparing, Plan, Training
from repscope.studies.study import Context, Study

PANELS = {
    "with x with": ("with", "with"),
    "without x without": ("without", "without"),
    "with x without": ("with", "without"),
}


def run(context: Context) -> Findings:
    """Train both kinds and compare all with all."""
    from repscope.studies.zoo import NetworkSpec

    if context["networks"] < 2:
        raise InputError("reproduce: batchnorm needs two networks or more, got one.")
    seed, count = context["seed"], context["networks"]
    options = {"depth": 10, "width": context["width"]}
    nets = {
        "with": context.train(NetworkSpec("plain", options), range(seed, seed + count), title="Plain-10"),
        "without": context.train(
            NetworkSpec("plain", {**options, "batch_norm": False}),
            range(seed + count, seed + 2 * count),
            title="Plain-10 without batch normalisation",
            batch_norm=False,
        ),
    }
    models = {f"{kind}/{net.seed}": net.model for kind, found in nets.items() for net in found}
    groups = {kind: [name for name in models if name.startswith(f"{kind}/")] for kind in nets}
    found = context.compare("with-and-without", models, context.data("test"))
    means = {
        panel: mean_over_pairs(found, groups[a], groups[b], names=(f"{a} BN", f"{b} BN"))
        for panel, (a, b) in PANELS.items()
    }
    accuracies = {kind: float(np.mean([net.test_accuracy for net in group])) for kind, group in nets.items()}
    ours = {panel: mean.same_layer for panel, mean in means.items()}
    theirs = {panel: np.diagonal(paper.panel(f"figF6/{panel}")) for panel in PANELS}
    layers = means["with x with"].comparison.row_layers
    return Findings(
        tables=(
            Table(
                "CKA of the same layer: paper | ours",
                ["networks", *layers],
                [
                    [
                        panel.replace(" x ", " × "),
                        *(f"{t:.3f} | {o:.3f}" for t, o in zip(theirs[panel], mean.same_layer, strict=True)),
                    ]
                    for panel, mean in means.items()
                ],
                "Test accuracy, %: with batch normalisation "
                f"{percent(accuracies['with'])} (paper: {percent(paper.number('test accuracy', 'plain-10'))}), without "
                f"{percent(accuracies['without'])} "
                f"(paper: {percent(paper.number('test accuracy', 'plain-10 without batch norm'))}).",
            ),
        ),
        pictures=(
            Picture(
                "figure-f6",
                "Figure F.6: networks with and without batch normalisation, averaged over pairs",
                _draw({panel: mean.comparison for panel, mean in means.items()}),
                _draw({panel: paper.comparison(f"figF6/{panel}", layers, layers) for panel in PANELS}),
            ),
        ),
        claims=_claims(context, ours, theirs),
        numbers={"mean CKA": {panel: mean.values for panel, mean in means.items()}, "test accuracy": accuracies},
    )


def _claims(
    context: Context, ours: Mapping[str, NDArray[np.float64]], theirs: Mapping[str, NDArray[np.float64]]
) -> tuple[Claim, ...]:
    crossed, published = ours["with x without"], theirs["with x without"]

    def gaps(same: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """How far each layer of networks of both kinds is below the layer within either kind."""
        return np.minimum(same["with x with"], same["without x without"]) - same["with x without"]

    return (
        context.claim(
            "Networks with and without batch normalisation have similar representations",
            "App. F.4, Figure F.6",
            Check("same layer, mean over layers", float(crossed.mean()), "≥", 0.7, paper=float(published.mean())),
        ),
        context.claim(
            "They differ most at the last convolution",
            "App. F.4, Figure F.6",
            Check(
                "place of the lowest similarity across kinds, from the end",
                len(crossed) - int(np.argmin(crossed)),
                "≤",
                2,
                paper=len(published) - int(np.argmin(published)),
            ),
            Check(
                "how far conv8 is below both kinds alone",
                float(gaps(ours)[-2]),
                "≥",
                float(np.delete(gaps(ours), -2).max()),
                "any other layer, at most",
                float(gaps(theirs)[-2]),
            ),
        ),
    )


def _draw(panels: dict[str, Any]) -> Any:
    titled = {panel.replace(" x ", " × "): found for panel, found in panels.items()}
    return maps(titled, columns=3, shared=(0.16, 1.0), panel_size=3.0)


def plan(settings: Mapping[str, Any]) -> Plan:
    """What the study trains and compares."""
    from repscope.studies.zoo import NetworkSpec

    data, count = settings["data"], settings["networks"]
    specs = [
        NetworkSpec("plain", {"depth": 10, "width": settings["width"], "batch_norm": kind}) for kind in (True, False)
    ]
    trainings = [
        Training(spec, data, count, settings["epochs"], settings["train_images"], spec.options["batch_norm"])
        for spec in specs
    ]
    return Plan(trainings, [Comparing([(spec, count) for spec in specs], data, settings["images"])])


STUDY = Study(
    name="batchnorm",
    title="Does batch normalisation change what a network learns?",
    source="Appendix F.4, Figure F.6",
    shows=(
        "Plain-10 networks with and without batch normalisation learn similar representations; the difference is "
        "largest at the last convolution."
    ),
    protocol=(
        "Plain-10 networks of both kinds from different seeds, linear CKA on test images, mean over pairs of different "
        "networks. Without batch normalisation convolutions have biases and start from He's weights.",
        "The paper selected hyperparameters separately and names none; here networks without batch normalisation are "
        "trained with a fifth of the peak of the learning rate.",
    ),
    settings={
        "tiny": {
            "data": "digits",
            "networks": 2,
            "epochs": 1,
            "train_images": 150,
            "width": 2,
            "images": 100,
            "seed": 0,
        },
        "small": {
            "data": "cifar10",
            "networks": 3,
            "epochs": 8,
            "train_images": 50000,
            "width": 24,
            "images": 5000,
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
            "A quarter of the paper's channels, eight epochs, three networks of each kind: all networks are less "
            "alike, and those without batch normalisation are further behind in accuracy than the paper's two "
            "points.",
        ),
        "paper": (),
    },
    run=run,
    plan=plan,
)
