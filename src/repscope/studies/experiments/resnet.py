"""Figure 4: the layers of a residual network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repscope.studies import paper
from repscope.studies.claims import Check, Claim
from repscope.studies.drawing import maps
from repscope.studies.experiments.depth import ALIKE, like_the_last
from repscope.studies.findings import Findings, Picture, Table
from repscope.studies.plans import Comparing, Plan, Training
from repscope.studies.study import Context, Study

STAGES = 3


def run(context: Context) -> Findings:
    """Train one residual network and compare its layers."""
    from repscope.studies.zoo import NetworkSpec

    depth = context["depth"]
    spec = NetworkSpec("resnet", {"depth": depth, "width": context["width"]})
    (net,) = context.train(spec, [context["seed"]], title=f"ResNet-{depth}")
    name = f"ResNet-{depth}"
    found = context.compare(f"resnet-{depth}", {name: net.model}, context.data("test"))
    published = paper.comparison("fig4/resnet-62")
    ours, theirs = facts(found.values), facts(published.values)
    return Findings(
        tables=(_table(ours, theirs, name),),
        pictures=(
            Picture(
                "figure-4",
                "Figure 4: all layers, those after a residual addition (even), those inside a block (odd)",
                maps(_panels(found), columns=3, shared=(0.1, 1.0), panel_size=3.4),
                maps(_panels(published), columns=3, shared=(0.1, 1.0), panel_size=3.4),
            ),
        ),
        claims=_claims(context, ours, theirs),
        numbers={"cka": found.values, "means": ours, "means in the paper": theirs, "test accuracy": net.test_accuracy},
    )


def facts(values: NDArray[np.float64]) -> dict[str, float]:
    """Means over groups of layers of a residual network.

    Args:
        values: CKA of the 6m layers of the blocks and the average pool, shape (6m + 1, 6m + 1). Even layers, counted
            from 1, are those after an addition.
    """
    inside = len(values) - 1
    stage = np.arange(inside) // (inside // STAGES)
    found: dict[str, float] = {}
    for kind, start in (("even", 1), ("odd", 0)):
        layers = np.arange(start, inside, 2)
        block = values[np.ix_(layers, layers)]
        same = stage[layers][:, None] == stage[layers][None, :]
        off = ~np.eye(len(layers), dtype=bool)
        found[f"{kind}, adjacent"] = _mean(np.diagonal(block, 1))
        found[f"{kind}, same stage"] = _mean(block[same & off])
        found[f"{kind}, other stage"] = _mean(block[~same])
    found["like the last"] = like_the_last(values)
    return found


def _mean(values: NDArray[np.float64]) -> float:
    """The mean; NaN where a group is empty, as in networks of one block a stage."""
    return float(values.mean()) if values.size else math.nan


def _check(
    what: str, ours: Mapping[str, float], theirs: Mapping[str, float], key: str, relation: Any, bound: float
) -> Check:
    return Check(what, ours[key], relation, bound, paper=theirs[key])


def _against(what: str, ours: Mapping[str, float], theirs: Mapping[str, float], key: str, other: str) -> Check:
    return Check(what, ours[key], ">", ours[other], other, theirs[key])


def _panels(found: Any) -> dict[str, Any]:
    layers = found.row_layers
    even, odd = list(layers[1::2]), list(layers[0::2])
    return {"All": found, "Even": found.select(even, even), "Odd": found.select(odd, odd)}


def _table(ours: Mapping[str, float], theirs: Mapping[str, float], name: str) -> Table:
    titles = {"like the last": f"share of layers with CKA ≥ {ALIKE} with the last"}
    rows = [[titles.get(key, f"CKA of {key} layers"), theirs[key], ours[key]] for key in ours]
    return Table(
        "Means over groups of layers",
        ["what", "paper (ResNet-62)", f"ours ({name})"],
        rows,
        "Even layers are those after a residual addition, odd ones those inside a block; the average pool is left "
        "out of the groups.",
    )


def _claims(context: Context, ours: Mapping[str, float], theirs: Mapping[str, float]) -> tuple[Claim, ...]:
    return (
        context.claim(
            "A grid: layers after a residual addition are like each other, layers inside blocks are less",
            "§6.2, Figure 4",
            _check("adjacent even layers", ours, theirs, "even, adjacent", "≥", 0.8),
            _against("adjacent even layers", ours, theirs, "even, adjacent", "odd, adjacent"),
            _against("even layers of one stage", ours, theirs, "even, same stage", "odd, same stage"),
        ),
        context.claim(
            "Layers of one stage are more alike than layers of different stages",
            "§6.2, Figure 4",
            _against("even layers of one stage", ours, theirs, "even, same stage", "even, other stage"),
            _against("odd layers of one stage", ours, theirs, "odd, same stage", "odd, other stage"),
        ),
        context.claim(
            "No block of identical layers at the end, unlike in a plain network of this depth",
            "§6.2",
            _check(
                f"share of layers whose CKA with the last is at least {ALIKE}",
                ours,
                theirs,
                "like the last",
                "<",
                0.5,
            ),
        ),
    )


def plan(settings: Mapping[str, Any]) -> Plan:
    """What the study trains and compares."""
    from repscope.studies.zoo import NetworkSpec

    spec = NetworkSpec("resnet", {"depth": settings["depth"], "width": settings["width"]})
    training = Training(spec, settings["data"], 1, settings["epochs"], settings["train_images"])
    return Plan([training], [Comparing([(spec, 1)], settings["data"], settings["images"])])


STUDY = Study(
    name="resnet",
    title="Do residual networks have layers that do nothing?",
    source="Figure 4, section 6.2",
    shows=(
        "A residual network of 62 layers has no block of identical layers. CKA shows a grid instead: layers after a "
        "residual addition are like each other, those inside blocks are not, and stages of one resolution stand out."
    ),
    protocol=(
        "One network as in He et al. (2016), version 1 with shortcuts without weights (the paper names neither), "
        "linear CKA between all of its layers on test images, maps flattened.",
        "Layers: after the first convolution of each block (odd) and after each addition (even), then the average "
        "pool; the first convolution of the network is left out, as the paper's numbering has it.",
    ),
    settings={
        "tiny": {
            "data": "digits",
            "depth": 14,
            "epochs": 1,
            "train_images": 200,
            "width": 2,
            "images": 150,
            "seed": 0,
        },
        "small": {
            "data": "cifar10",
            "depth": 62,
            "epochs": 5,
            "train_images": 50000,
            "width": 16,
            "images": 5000,
            "seed": 0,
        },
        "paper": {
            "data": "cifar10",
            "depth": 62,
            "epochs": 60,
            "train_images": 50000,
            "width": 16,
            "images": 10000,
            "seed": 0,
        },
    },
    reductions={
        "tiny": ("14 layers, two channels, seconds of training on handwritten digits: a test of the code only.",),
        "small": (
            "Five epochs: less accurate by some ten points; the late layers are less settled, so that they are less "
            "alike.",
            "5,000 of the 10,000 test images: biased CKA of wide layers is higher by some thousandths.",
        ),
        "paper": (),
    },
    run=run,
    plan=plan,
)
