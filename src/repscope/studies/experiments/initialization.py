"""Appendix F.3 (Figures F.4 and F.5): similarity before training."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

    from repscope.studies.zoo import NetworkSpec

PANELS = {
    "same network": "untrained, same network",
    "different networks": "untrained, different networks",
    "untrained x trained": "untrained × trained",
}
_OTHERS = ("plain-34", "plain-66", "resnet-62")

_STATISTICS = ("data", "initial")

_STATISTICS_IMAGES = 256
"""Training images whose statistics batch normalisation of untrained networks takes."""


_WIDE_BATCH = 64
"""Images in a batch of the widest networks: all layers of one batch must fit memory."""


def run(context: Context) -> Findings:
    """Compare untrained networks with themselves, with each other, and with trained ones."""
    from repscope.studies.zoo import NetworkSpec

    depth, count, seed = context["depth"], context["networks"], context["seed"]
    if count < 2:
        raise InputError("reproduce: initialization needs two networks or more, got one.")
    if context["statistics"] not in _STATISTICS:
        raise InputError(
            f"reproduce: statistics must be {' or '.join(_STATISTICS)}, got {context['statistics']!r}. They are what "
            "batch normalisation of untrained networks runs with."
        )
    name = f"Plain-{depth}"
    wide, narrow = (
        NetworkSpec("plain", {"depth": depth, "width": context[width]}) for width in ("untrained_width", "width")
    )
    few = context.data("test", limit=context["untrained_images"])
    untrained = {spec: _untrained(context, spec, name, count) for spec in dict.fromkeys([wide, narrow])}
    alone = context.compare("untrained", untrained[wide], few, batch_size=_WIDE_BATCH)
    models = untrained[narrow] | {
        f"trained/{net.seed}": net.model for net in context.train(narrow, range(seed, seed + count), title=name)
    }
    fresh, trained = ([n for n in models if n.startswith(kind)] for kind in ("untrained", "trained"))
    both = context.compare("untrained-and-trained", models, context.data("test"))
    means: dict[str, PairMean] = {
        "same network": mean_over_pairs(alone, fresh, pairs=operator.eq, names=("untrained", "untrained")),
        "different networks": mean_over_pairs(alone, fresh, names=("untrained a", "untrained b")),
        "untrained x trained": mean_over_pairs(both, fresh, trained, pairs=_other_seed, names=("untrained", "trained")),
    }
    others = {other: _deep(context, other, few) for other in context["others"]}
    published = {panel: paper.panel(f"figF4/{panel}") for panel in PANELS}
    shown = {PANELS[panel]: mean.comparison for panel, mean in means.items()}
    pictures = [
        Picture(
            "figure-f4",
            f"Figure F.4: {name} at initialisation",
            _row(shown),
            _row({PANELS[panel]: paper.comparison(f"figF4/{panel}") for panel in PANELS}),
        )
    ]
    if others:
        pictures.append(
            Picture(
                "figure-f5",
                "Figure F.5: deep networks at initialisation, layers of one network",
                _row(others),
                _row({panel: paper.comparison(f"figF5/{panel}") for panel in _OTHERS}),
            )
        )
    return Findings(
        tables=(_table(means, published), *([_others_table(others)] if others else [])),
        pictures=tuple(pictures),
        claims=_claims(context, means, published, others),
        numbers={
            "mean CKA": {panel: mean.values for panel, mean in means.items()},
            "one untrained network": {other: block.values for other, block in others.items()},
        },
        notes=("Pairs of an untrained and a trained network are of different seeds.",),
    )


def _row(panels: Mapping[str, Comparison]) -> Figure:
    return maps(panels, columns=3, shared=(0.0, 1.0), panel_size=3.0)


def _other_seed(a: str, b: str) -> bool:
    """Whether two networks do not start from the same weights."""
    return a.split("/")[1] != b.split("/")[1]


def _untrained(context: Context, spec: NetworkSpec, title: str, count: int) -> dict[str, nn.Module]:
    """Untrained networks of one kind, with the statistics for batch normalisation that the settings name."""
    from repscope.studies.networks import take_statistics

    seeds = range(context["seed"], context["seed"] + count)
    nets = context.train(spec, seeds, epochs=0, title=f"{title}, untrained")
    if context["statistics"] == "data":
        images = context.data("train", limit=_STATISTICS_IMAGES)
        for net in nets:
            take_statistics(net.model, images)
    return {f"untrained/{net.seed}": net.model for net in nets}


def _deep(context: Context, name: str, data: NDArray[np.float32]) -> Comparison:
    """One untrained network of the given kind and depth with itself."""
    (model,) = _untrained(context, _deep_spec(context, name), name, 1).values()
    return context.compare(f"untrained-{name}", {name: model}, data, batch_size=_WIDE_BATCH)


def _deep_spec(settings: Context | Mapping[str, Any], name: str) -> NetworkSpec:
    from repscope.studies.zoo import NetworkSpec

    kind, depth = name.split("-")
    width = settings["untrained_width"] if kind == "plain" else settings["resnet_width"]
    return NetworkSpec(kind, {"depth": int(depth), "width": width})


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
    wide, narrow = (
        NetworkSpec("plain", {"depth": settings["depth"], "width": settings[width]})
        for width in ("untrained_width", "width")
    )
    others = [_deep_spec(settings, name) for name in settings["others"]]
    trainings = [Training(spec, data, count, 0, limit) for spec in dict.fromkeys([wide, narrow])]
    trainings += [Training(narrow, data, count, settings["epochs"], limit)]
    trainings += [Training(other, data, 1, 0, limit) for other in others]
    alone = [[(wide, count)], *([(other, 1)] for other in others)]
    return Plan(
        trainings,
        [
            *(Comparing(networks, data, settings["untrained_images"]) for networks in alone),
            Comparing([(narrow, 2 * count)], data, settings["images"]),
        ],
    )


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
        "Batch normalisation of untrained networks takes the statistics of 256 training images (statistics=data); the "
        "paper does not say which it took. With those it starts with, mean 0 and variance 1 (statistics=initial), the "
        "first and the last layer of the deepest networks stay alike.",
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
            "untrained_width": 2,
            "resnet_width": 2,
            "images": 100,
            "untrained_images": 100,
            "statistics": "data",
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
            "untrained_width": 96,
            "resnet_width": 16,
            "images": 3000,
            "untrained_images": 500,
            "statistics": "data",
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
            "untrained_width": 96,
            "resnet_width": 16,
            "images": 10000,
            "untrained_images": 10000,
            "statistics": "data",
            "seed": 0,
        },
    },
    reductions={
        "tiny": ("Two channels and seconds of training on handwritten digits: a test of the code only.",),
        "small": (
            "Six epochs and three networks, of a sixth of the paper's channels where trained and untrained ones are "
            "compared; untrained networks by themselves have all of them, because random features of fewer channels "
            "differ more (with 16 channels the first third of the layers are at 0.73 in place of 0.95).",
            "500 images for the untrained networks by themselves: biased estimates are slightly higher.",
        ),
        "paper": (),
    },
    run=run,
    plan=plan,
)
