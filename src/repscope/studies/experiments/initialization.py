"""Appendix F.3 (Figures F.4 and F.5): similarity before training."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.studies import paper
from repscope.studies.claims import Check
from repscope.studies.drawing import maps
from repscope.studies.findings import Findings, Picture, Table
from repscope.studies.pairs import PairMean, mean_over_pairs
from repscope.studies.plans import Comparing, Plan, Training
from repscope.studies.study import Context, Study

PANELS = {
    "same network": "untrained, same network",
    "different networks": "untrained, different networks",
    "untrained x trained": "untrained × trained",
}
_OTHERS = ("plain-34", "plain-66", "resnet-62")


def run(context: Context) -> Findings:
    """Compare untrained networks with themselves, with each other, and with trained ones."""
    from repscope.studies.zoo import NetworkSpec

    depth, count, seed = context["depth"], context["networks"], context["seed"]
    if count < 2:
        raise InputError("reproduce: initialization needs two networks or more, got one.")
    spec = NetworkSpec("plain", {"depth": depth, "width": context["width"]})
    name = f"Plain-{depth}"
    before = context.train(spec, range(seed, seed + count), epochs=0, title=f"{name}, untrained")
    after = context.train(spec, range(seed, seed + count), title=name)
    models = {f"untrained/{net.seed}": net.model for net in before} | {
        f"trained/{net.seed}": net.model for net in after
    }
    fresh, trained = ([n for n in models if n.startswith(kind)] for kind in ("untrained", "trained"))
    data = context.data("test")
    found = context.compare("untrained-and-trained", models, data)
    means: dict[str, PairMean] = {
        "same network": mean_over_pairs(found, fresh, pairs=operator.eq, names=("untrained", "untrained")),
        "different networks": mean_over_pairs(found, fresh, names=("untrained a", "untrained b")),
        "untrained x trained": mean_over_pairs(
            found, fresh, trained, pairs=_other_seed, names=("untrained", "trained")
        ),
    }
    others = {other: _untrained(context, other, data) for other in context["others"]}
    published = {panel: paper.panel(f"figF4/{panel}") for panel in PANELS}
    shown = {PANELS[panel]: mean.comparison for panel, mean in means.items()}
    return Findings(
        tables=(_table(means, published), _others_table(others)),
        pictures=(
            Picture(
                "figure-f4",
                f"Figure F.4: {name} at initialisation",
                maps(shown, columns=3, shared=(0.0, 1.0), panel_size=3.0),
                maps(
                    {PANELS[panel]: paper.comparison(f"figF4/{panel}") for panel in PANELS},
                    columns=3,
                    shared=(0.0, 1.0),
                    panel_size=3.0,
                ),
            ),
            Picture(
                "figure-f5",
                "Figure F.5: deep networks at initialisation, layers of one network",
                maps(others, columns=3, shared=(0.0, 1.0), panel_size=3.0),
                maps(
                    {panel: paper.comparison(f"figF5/{panel}") for panel in _OTHERS},
                    columns=3,
                    shared=(0.0, 1.0),
                    panel_size=3.0,
                ),
            ),
        ),
        claims=_claims(context, means, published, others),
        numbers={
            "mean CKA": {panel: mean.values for panel, mean in means.items()},
            "one untrained network": {other: block.values for other, block in others.items()},
        },
        notes=("Pairs of an untrained and a trained network are of different seeds.",),
    )


def _other_seed(a: str, b: str) -> bool:
    """Whether two networks do not start from the same weights."""
    return a.split("/")[1] != b.split("/")[1]


def _untrained(context: Context, name: str, data: NDArray[np.float32]) -> Comparison:
    """One untrained network of the given kind and depth with itself."""
    from repscope.studies.zoo import NetworkSpec

    kind, depth = name.split("-")
    width = context["width"] if kind == "plain" else context["resnet_width"]
    spec = NetworkSpec(kind, {"depth": int(depth), "width": width})
    (net,) = context.train(spec, [context["seed"]], epochs=0, title=f"{name}, untrained")
    return context.compare(f"untrained-{name}", {name: net.model}, data)


def _adjacent(values: NDArray[np.float64]) -> float:
    return float(np.diagonal(values, 1).mean())


def _table(means: Mapping[str, PairMean], published: Mapping[str, NDArray[np.float64]]) -> Table:
    first = next(iter(means.values()))
    rows: list[list[Any]] = []
    for panel, mean in means.items():
        theirs = published[panel]
        for place, said in ((0, "first layer"), (-1, "last layer")):
            # Of one network with itself the same layer is 1; what says something is the first row.
            theirs_line = theirs[0] if panel == "same network" else np.diagonal(theirs)
            ours_line = mean.values[0] if panel == "same network" else mean.same_layer
            rows.append([PANELS[panel], said, float(theirs_line[place]), float(ours_line[place])])
    return Table(
        "CKA at initialisation",
        ["networks", "layer", "paper (Plain-18)", f"ours ({len(first.values) + 1} layers)"],
        rows,
        "Of one network with itself: the first layer with the named one. Else the same layer of both.",
    )


def _others_table(others: Mapping[str, Comparison]) -> Table:
    rows: list[list[Any]] = []
    for name, block in others.items():
        theirs = paper.panel(f"figF5/{name}") if f"figF5/{name}" in paper.panels() else None
        for what, measure in (
            ("adjacent layers, mean", _adjacent),
            ("first and last layer", lambda v: float(v[0, -1])),
        ):
            rows.append([name, what, None if theirs is None else measure(theirs), measure(block.values)])
    return Table(
        "Deep networks at initialisation: CKA of layers of one network", ["network", "layers", "paper", "ours"], rows
    )


def _claims(
    context: Context,
    means: Mapping[str, PairMean],
    published: Mapping[str, NDArray[np.float64]],
    others: Mapping[str, Comparison],
) -> list[Any]:
    different, crossed = means["different networks"].same_layer, means["untrained x trained"].same_layer
    theirs_different, theirs_crossed = (
        np.diagonal(published[panel]) for panel in ("different networks", "untrained x trained")
    )
    third = max(1, len(different) // 3)
    return [
        context.claim(
            "Before training, the same layers of different networks are similar, early ones most",
            "App. F.3, Figure F.4",
            Check(
                "same layer, mean over the first third",
                float(different[:third].mean()),
                "≥",
                0.8,
                paper=float(theirs_different[:third].mean()),
            ),
            Check(
                "same layer, mean over the first third",
                float(different[:third].mean()),
                ">",
                float(different[-third:].mean()),
                "over the last third",
            ),
        ),
        context.claim(
            "Training changes early layers least and late layers beyond recognition",
            "App. F.3, Figure F.4",
            Check("first layer, untrained × trained", float(crossed[0]), "≥", 0.6, paper=float(theirs_crossed[0])),
            Check("last layer, untrained × trained", float(crossed[-1]), "≤", 0.2, paper=float(theirs_crossed[-1])),
            Check("last layer, untrained × trained", float(crossed[-1]), "<", float(different[-1]), "two untrained"),
        ),
        context.claim(
            "In deep untrained networks neighbouring layers are nearly the same, and first and last are not",
            "App. F.3, Figure F.5",
            *(Check(f"adjacent layers of {name}", _adjacent(block.values), "≥", 0.9) for name, block in others.items()),
            *(
                Check(f"first and last layer of {name}", float(block.values[0, -1]), "≤", 0.3)
                for name, block in others.items()
            ),
            untested="" if others else "no deep network is among the settings",
        ),
    ]


def plan(settings: Mapping[str, Any]) -> Plan:
    """What the study trains and compares."""
    from repscope.studies.zoo import NetworkSpec

    data, count, limit = settings["data"], settings["networks"], settings["train_images"]
    widths = {"plain": settings["width"], "resnet": settings["resnet_width"]}
    spec = NetworkSpec("plain", {"depth": settings["depth"], "width": settings["width"]})
    others = [
        NetworkSpec(kind, {"depth": int(depth), "width": widths[kind]})
        for kind, depth in (name.split("-") for name in settings["others"])
    ]
    trainings = [Training(spec, data, count, epochs, limit) for epochs in (0, settings["epochs"])]
    trainings += [Training(other, data, 1, 0, limit) for other in others]
    compared = [[(spec, 2 * count)], *([(other, 1)] for other in others)]
    return Plan(trainings, [Comparing(networks, data, settings["images"]) for networks in compared])


STUDY = Study(
    name="initialization",
    title="How similar are networks before they are trained?",
    source="Appendix F.3, Figures F.4 and F.5",
    shows=(
        "At initialisation the same layers of different networks are similar, and neighbouring layers of one network "
        "nearly the same. Training leaves the first layers recognisable and changes the last ones altogether."
    ),
    protocol=(
        "Plain networks before and after training, from the same seeds; linear CKA on test images, maps flattened. "
        "Untrained networks run with the statistics that batch normalisation starts with (mean 0, variance 1).",
    ),
    settings={
        "tiny": {
            "data": "digits",
            "depth": 18,
            "others": ["plain-34"],
            "networks": 2,
            "epochs": 1,
            "train_images": 100,
            "width": 2,
            "resnet_width": 2,
            "images": 100,
            "seed": 0,
        },
        "small": {
            "data": "cifar10",
            "depth": 18,
            "others": ["plain-34", "plain-66", "resnet-62"],
            "networks": 3,
            "epochs": 6,
            "train_images": 50000,
            "width": 16,
            "resnet_width": 16,
            "images": 3000,
            "seed": 0,
        },
        "paper": {
            "data": "cifar10",
            "depth": 18,
            "others": ["plain-34", "plain-66", "resnet-62"],
            "networks": 10,
            "epochs": 60,
            "train_images": 50000,
            "width": 96,
            "resnet_width": 16,
            "images": 10000,
            "seed": 0,
        },
    },
    reductions={
        "tiny": ("Two channels and seconds of training on handwritten digits: a test of the code only.",),
        "small": (
            "A sixth of the paper's channels: random features of fewer channels differ more, so untrained networks are "
            "less alike than the paper's.",
            "Six epochs and three networks.",
        ),
        "paper": (),
    },
    run=run,
    plan=plan,
)
