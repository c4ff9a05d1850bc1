"""Figure 5 and Appendix F.5 (Figure F.8): layers of different architectures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.studies import paper
from repscope.studies.claims import Check, Claim
from repscope.studies.drawing import maps
from repscope.studies.family import pairs_of_networks
from repscope.studies.findings import Findings, Picture, Table
from repscope.studies.pairs import mean_over_pairs, rank_correlation
from repscope.studies.plans import Comparing, Plan, Training
from repscope.studies.study import Context, Study
from repscope.studies.table2 import INDEXES

if TYPE_CHECKING:
    from repscope.studies.zoo import NetworkSpec, TrainedNetwork

EIGHT = ("cca-mean", "cca-r2", "svcca-mean", "svcca-r2", "pwcca", "linear-regression", "cka-linear", "cka-rbf")
"""The panels of figure F.8, in its order."""

RBF_OF_PAPER = "cka-rbf-0.4"
"""The bandwidth of figure F.8 is not printed; 0.4 is that of figure 2."""

MONOTONE = 0.9
"""Rank correlation of the best match with the layer, from which on layers correspond in order …"""

DIFFERENT = 7
"""… and how many of nine layers need to have different best matches: an index that sends all late layers to one does
not tell them apart. In the paper's figure F.8 CKA has eight, every other index five at most."""


def run(context: Context) -> Findings:
    """Train one or several networks of each architecture and compare across architectures."""
    pairs = [tuple(pair.split(" x ")) for pair in context["pairs"]]
    if any(len(pair) != 2 for pair in pairs):
        raise InputError(f"reproduce: pairs must be like 'plain-10 x resnet-14', got {context['pairs']}.")
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    nets = {name: _trained(context, name, place) for place, name in enumerate(names)}
    data = context.data("test")
    means: dict[str, Comparison] = {}
    for a, b in pairs:
        models = {f"{name}/{net.seed}": net.model for name in (a, b) for net in nets[name]}
        sides = [[key for key in models if key.startswith(f"{name}/")] for name in (a, b)]
        found = context.compare(f"{a}-and-{b}", models, data)
        means[f"{a} x {b}"] = mean_over_pairs(found, *sides, names=(_title(a), _title(b))).comparison
    indexes = _all_indexes(context)
    published = {name: _published(f"fig5/{name}", found) for name, found in means.items()}
    return Findings(
        tables=(_path_table(means, published), _index_table(indexes)),
        pictures=(
            Picture(
                "figure-5",
                "Figure 5: linear CKA between architectures; the path joins the best matches of the rows",
                _maps(means),
                _maps({name: found for name, found in published.items() if found is not None}),
            ),
            Picture(
                "figure-f8",
                "Figure F.8: Tiny-10 (rows) and ResNet-14 (columns) by eight indexes",
                maps({_index_title(i): indexes[i] for i in EIGHT}, columns=4, paths=True),
                maps({_index_title(i): _paper_map(f"figF8/{i}", indexes[i]) for i in EIGHT}, columns=4, paths=True),
            ),
        ),
        claims=_claims(context, means, published, indexes),
        numbers={
            "mean CKA": {name: found.values for name, found in means.items()},
            "best match": {name: matches(found.values) for name, found in means.items()},
            "figure F.8": {index: found.values for index, found in indexes.items()},
            "best match, figure F.8": {index: matches(found.values) for index, found in indexes.items()},
        },
        notes=(
            "Linear regression is R² of predicting the layer on the columns from that on the rows, as in figure 2.",
        ),
    )


def matches(values: NDArray[np.float64]) -> list[int]:
    """The best column of each row, counted from 1."""
    return [int(place) + 1 for place in np.nanargmax(values, axis=1)]


# -- networks -----------------------------------------------------------------------------------------------------


def _spec(name: str, width: Mapping[str, int]) -> NetworkSpec:
    from repscope.studies.zoo import NetworkSpec

    found = re.fullmatch(r"(plain|resnet|tiny)-(\d+)", name)
    if not found:
        raise InputError(f"reproduce: networks must be like plain-10, resnet-14 or tiny-10, got {name!r}.")
    kind, depth = found[1], int(found[2])
    if kind == "tiny":
        return NetworkSpec("tiny10", {"width": width["tiny"]})
    return NetworkSpec(kind, {"depth": depth, "width": width[kind]})


def _trained(context: Context, name: str, place: int) -> list[TrainedNetwork]:
    """Networks of one kind, from seeds that no other kind has: with one seed the first weights would be the same."""
    width = {"plain": context["plain_width"], "resnet": context["resnet_width"], "tiny": context["resnet_width"]}
    count = context["networks"]
    first = context["seed"] + place * count
    return context.train(_spec(name, width), range(first, first + count), title=_title(name))


def _title(name: str) -> str:
    kind, depth = name.split("-")
    return f"{'ResNet' if kind == 'resnet' else kind.capitalize()}-{depth}"


# -- figure F.8 ---------------------------------------------------------------------------------------------------


def _all_indexes(context: Context) -> dict[str, Comparison]:
    """Tiny-10 (rows) and ResNet-14 (columns) by the eight indexes of figure F.8, on training images."""
    width = dict.fromkeys(("plain", "resnet", "tiny"), context["f8_width"])
    models = {}
    for place, name in enumerate(("tiny-10", "resnet-14")):
        (net,) = context.train(_spec(name, width), [context["seed"] + place], title=f"{_title(name)} of figure F.8")
        models[_title(name)] = net.model
    data = context.data("train", limit=context["f8_images"])
    (tables,) = pairs_of_networks(context, models, data, [("Tiny-10", "ResNet-14")]).values()
    kernel = {index.id: index.measure for index in INDEXES if index.id in ("cka-linear", RBF_OF_PAPER)}
    found = context.compare_all({f"f8-{name}": measure for name, measure in kernel.items()}, models, data)
    blocks = {name.removeprefix("f8-"): one.between("Tiny-10", "ResNet-14") for name, one in found.items()}
    linear = blocks["cka-linear"]
    indexes = {"cka-linear": linear, "cka-rbf": blocks[RBF_OF_PAPER]}
    for index in EIGHT[:6]:
        forward, backward = tables[f"{index}-0.99" if index.startswith("svcca") else index]
        # s(row, column), but R² as the paper draws it: of the layer on the columns, predicted from that on the rows.
        indexes[index] = _map(backward if index == "linear-regression" else forward, linear)
    return indexes


def _map(values: NDArray[np.float64], like: Comparison) -> Comparison:
    return Comparison(
        values=values,
        row_layers=like.row_layers,
        column_layers=like.column_layers,
        measure="cka",
        row_models=like.row_models,
        column_models=like.column_models,
    )


def _index_title(index: str) -> str:
    titles = {one.id: one.title for one in INDEXES} | {"cka-rbf": "CKA (RBF)"}
    return titles[index]


def _index_table(indexes: Mapping[str, Comparison]) -> Table:
    rows: list[list[Any]] = []
    for index in EIGHT:
        theirs, ours = paper.panel(f"figF8/{index}"), indexes[index].values
        rows.append(
            [_index_title(index), _listed(matches(theirs)), _listed(matches(ours)), _rising(theirs), _rising(ours)]
        )
    return Table(
        "Figure F.8: best layer of ResNet-14 for each layer of Tiny-10",
        ["index", "paper", "ours", "rank correlation (paper)", "ours"],
        rows,
        "Rank correlation of the best match with the place of the layer: 1 for layers that correspond in order.",
    )


# -- figure 5 -----------------------------------------------------------------------------------------------------


def _published(name: str, ours: Comparison) -> Comparison | None:
    if name not in paper.panels():
        return None
    return _paper_map(name, ours)


def _paper_map(name: str, ours: Comparison) -> Comparison:
    values = paper.panel(name)
    same = values.shape == ours.values.shape
    return paper.comparison(name, ours.row_layers, ours.column_layers) if same else paper.comparison(name)


def _maps(found: Mapping[str, Comparison]) -> Any:
    titled = {" × ".join(map(_title, name.split(" x "))): one for name, one in found.items()}
    return maps(titled, columns=2, shared=(0.1, 1.0), paths=True, panel_size=3.4)


def _rising(values: NDArray[np.float64]) -> float:
    places = matches(values)
    return rank_correlation(range(len(places)), places)


def _different(values: NDArray[np.float64]) -> int:
    return len(set(matches(values)))


def _listed(places: Sequence[int]) -> str:
    return " ".join(map(str, places))


def _path_table(means: Mapping[str, Comparison], published: Mapping[str, Comparison | None]) -> Table:
    rows: list[list[Any]] = []
    for name, found in means.items():
        theirs = published[name]
        rows.append(
            [
                " × ".join(map(_title, name.split(" x "))),
                "–" if theirs is None else _listed(matches(theirs.values)),
                _listed(matches(found.values)),
                None if theirs is None else _rising(theirs.values),
                _rising(found.values),
            ]
        )
    return Table(
        "Figure 5: best match of each layer of the first network in the second",
        ["networks", "paper", "ours", "rank correlation (paper)", "ours"],
        rows,
        "Layers are numbered from 1; those of a residual network as in figure 4.",
    )


def _claims(
    context: Context,
    means: Mapping[str, Comparison],
    published: Mapping[str, Comparison | None],
    indexes: Mapping[str, Comparison],
) -> list[Claim]:
    in_order, ends = [], []
    for name, found in means.items():
        title = " × ".join(map(_title, name.split(" x ")))
        theirs = published[name]
        last = matches(found.values)[-1] / found.values.shape[1]
        in_order.append(
            Check(
                f"{title}, rank correlation of the best match",
                _rising(found.values),
                "≥",
                MONOTONE,
                paper=None if theirs is None else _rising(theirs.values),
            )
        )
        ends.append(
            Check(
                f"{title}, place of the match of the last layer, share of the depth",
                last,
                "≥",
                0.75,
                paper=None if theirs is None else matches(theirs.values)[-1] / theirs.values.shape[1],
            )
        )
    reveal = [index for index in EIGHT if index.startswith("cka")]
    return [
        context.claim(
            "Layers of different architectures correspond in order; a deeper network has its additional layers in "
            "between",
            "§6.2, Figure 5",
            *in_order,
            *ends,
        ),
        context.claim(
            "CKA finds the correspondence of Tiny-10 and ResNet-14",
            "App. F.5, Figure F.8",
            *(
                check
                for i in reveal
                for check in (
                    Check(
                        f"{_index_title(i)}, rank correlation of the best match",
                        _rising(indexes[i].values),
                        "≥",
                        MONOTONE,
                        paper=_rising(paper.panel(f"figF8/{i}")),
                    ),
                    Check(
                        f"{_index_title(i)}, different best matches",
                        _different(indexes[i].values),
                        "≥",
                        DIFFERENT,
                        paper=_different(paper.panel(f"figF8/{i}")),
                    ),
                )
            ),
        ),
        context.claim(
            "CCA, SVCCA, PWCCA and linear regression do not",
            "App. F.5, Figure F.8",
            *(
                Check(
                    f"{_index_title(i)}, different best matches",
                    _different(indexes[i].values),
                    "<",
                    DIFFERENT,
                    paper=_different(paper.panel(f"figF8/{i}")),
                )
                for i in EIGHT
                if i not in reveal
            ),
        ),
    ]


def plan(settings: Mapping[str, Any]) -> Plan:
    """What the study trains and compares."""
    data, count, epochs, limit = (settings[key] for key in ("data", "networks", "epochs", "train_images"))
    width = {"plain": settings["plain_width"], "resnet": settings["resnet_width"], "tiny": settings["resnet_width"]}
    pairs = [tuple(pair.split(" x ")) for pair in settings["pairs"]]
    of_f8 = [_spec(name, dict.fromkeys(width, settings["f8_width"])) for name in ("tiny-10", "resnet-14")]
    trainings = [
        Training(_spec(name, width), data, count, epochs, limit) for name in dict.fromkeys(n for p in pairs for n in p)
    ]
    trainings += [Training(spec, data, 1, epochs, limit) for spec in of_f8]
    compared = [Comparing([(_spec(name, width), count) for name in pair], data, settings["images"]) for pair in pairs]
    both = [(spec, 1) for spec in of_f8]
    compared.append(Comparing(both, data, settings["f8_images"], indexes=2, family=True))
    return Plan(trainings, compared)


STUDY = Study(
    name="architectures",
    title="Do layers of different architectures correspond?",
    source="Figure 5, Appendix F.5 with Figure F.8",
    shows=(
        "Linear CKA finds a correspondence of layers between plain and residual networks of different depth: early "
        "layers match early ones, and the layers that a deeper network has more of lie in between. Of eight indexes "
        "only CKA shows it."
    ),
    protocol=(
        "Networks of each architecture, linear CKA between the layers of each pair on test images, mean over pairs of "
        "networks (the paper does not say how many).",
        "Figure F.8: one Tiny-10 and one ResNet-14 by eight indexes on training images, biased estimators; the RBF "
        "kernel has a bandwidth of 0.4 of the median distance (the paper prints none).",
    ),
    settings={
        "tiny": {
            "data": "digits",
            "pairs": ["plain-10 x plain-18", "plain-10 x resnet-14"],
            "networks": 1,
            "epochs": 1,
            "train_images": 100,
            "plain_width": 2,
            "resnet_width": 2,
            "images": 100,
            "f8_width": 2,
            "f8_images": 150,
            "cca_precision": "float64",
            "seed": 0,
        },
        "small": {
            "data": "cifar10",
            "pairs": ["plain-10 x plain-18", "plain-10 x resnet-14", "plain-18 x resnet-32", "resnet-14 x resnet-32"],
            "networks": 1,
            "epochs": 8,
            "train_images": 50000,
            "plain_width": 24,
            "resnet_width": 16,
            "images": 5000,
            "f8_width": 4,
            "f8_images": 12000,
            "cca_precision": "float64",
            "seed": 0,
        },
        "paper": {
            "data": "cifar10",
            "pairs": ["plain-10 x plain-18", "plain-10 x resnet-14", "plain-18 x resnet-32", "resnet-14 x resnet-32"],
            "networks": 1,
            "epochs": 60,
            "train_images": 50000,
            "plain_width": 96,
            "resnet_width": 16,
            "images": 10000,
            "f8_width": 16,
            "f8_images": 50000,
            "cca_precision": "float32",
            "seed": 0,
        },
    },
    reductions={
        "tiny": (
            "Two channels and seconds of training on handwritten digits: a test of the code only.",
            "Layers are wider than the number of images, so the CCA family is forced towards 1 (Theorem 1).",
        ),
        "small": (
            "A quarter of the paper's channels and eight epochs.",
            "Figure F.8 with networks of 4 channels instead of 16 and 12,000 images instead of 50,000, so that the "
            "images outnumber the features of any two layers, as in the paper.",
        ),
        "paper": (),
    },
    run=run,
    plan=plan,
)
