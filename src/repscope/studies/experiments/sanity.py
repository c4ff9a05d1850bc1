"""Table 2, Figure 2, Appendix F.2 (Figure F.3): which indexes identify corresponding layers of independent networks?"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repscope.comparison import Comparison
from repscope.studies import paper
from repscope.studies.claims import Check, Claim, percent
from repscope.studies.drawing import as_drawn, maps, panel
from repscope.studies.family import OF_TABLES, assembled, pairs_of_networks
from repscope.studies.findings import Findings, Picture, Table
from repscope.studies.identification import (
    Identification,
    compare_identification,
    identification_accuracy,
    mean_over_pairs,
    symmetrised,
)
from repscope.studies.plans import Comparing, Plan, Training
from repscope.studies.study import Context, Study
from repscope.studies.table2 import INDEXES, by_network
from repscope.studies.thresholds import FIGURE_F3, VARIANCES, threshold_table, title

KERNEL = tuple(index for index in INDEXES if index.measure.id in ("hsic", "cka"))
CANONICAL = tuple(index for index in INDEXES if index.measure.id not in ("hsic", "cka"))
FIGURE_2 = ("cca-r2", "linear-regression", "svcca-mean", "svcca-r2", "cka-linear", "cka-rbf-0.4")
TITLES = {index.id: index.title for index in INDEXES}


@dataclass(frozen=True)
class _Scores:
    """Scores of all layers of all networks.

    Attributes:
        tables: Index to an array (m, m, L, L), without symmetrisation.
        layers: Names of the layers.
        networks: For each index the number of networks; 0 where it was left out.
        images: For each index the number of images.
        forced: Whether some pair of layers has together as many features as the CCA family has images.
        full: Whether a single layer has, so that all of its scores are 1.
    """

    tables: Mapping[str, NDArray[np.float64]]
    layers: tuple[str, ...]
    networks: Mapping[str, int]
    images: Mapping[str, int]
    forced: bool
    full: bool


def run(context: Context) -> Findings:
    """Train, compare all with all, identify."""
    from repscope.studies.zoo import NetworkSpec

    nets = context.train(
        NetworkSpec("tiny10", {"width": context["width"]}),
        range(context["seed"], context["seed"] + context["networks"]),
        title="Tiny-10",
    )
    models = {f"net {net.seed}": net.model for net in nets}
    scores = _scored(context, models)
    found = _identified(scores)
    thresholds = {index: identification_accuracy(scores.tables[index]) for index in FIGURE_F3 if index in scores.tables}
    means = {index: mean_over_pairs(table) for index, table in scores.tables.items()}
    accuracy = float(np.mean([net.test_accuracy for net in nets]))
    pictures = [
        Picture(
            "figure-2",
            "Figure 2: similarity of layers, averaged over pairs of networks",
            maps(_panels(means, scores.layers, FIGURE_2), columns=2),
            maps(_paper_panels("fig2", FIGURE_2, scores.layers), columns=2),
        )
    ]
    if thresholds:
        pictures.append(
            Picture(
                "figure-f3",
                "Figure F.3: SVCCA at other thresholds",
                maps(_panels(means, scores.layers, FIGURE_F3), columns=4),
                maps(_paper_panels("figF3", FIGURE_F3, scores.layers), columns=4),
            )
        )
    return Findings(
        tables=(_table(scores, found), *([threshold_table(thresholds)] if thresholds else [])),
        pictures=tuple(pictures),
        claims=_claims(context, scores, found, thresholds, means, accuracy),
        numbers={
            "accuracy of identification": {index: vars(one) for index, one in found.items()},
            "accuracy by SVCCA threshold": thresholds,
            "mean similarity": means,
            "mean test accuracy": accuracy,
            "chance": 1 / len(scores.layers),
        },
        notes=(
            "PWCCA and linear regression are ranked as s(x, y) + s(y, x), as in the paper.",
            "SVCCA keeps 99 % of the variance, the squared singular values; the paper does not say whether it squared.",
            *(_FORCED if scores.forced else ()),
        ),
    )


_FORCED = (
    "Some pairs of layers have together as many features as there are images for the CCA family: correlations of 1 are "
    "forced between them (Theorem 1), and its scores say less than with more images.",
)


# -- scores -------------------------------------------------------------------------------------------------------


def _scored(context: Context, models: Mapping[str, Any]) -> _Scores:
    data = context.data("train")
    kernel = context.compare_all({index.id: index.measure for index in KERNEL}, models, data)
    tables = {name: by_network(comparison) for name, comparison in kernel.items()}
    networks, images = dict.fromkeys(TITLES, 0), dict.fromkeys(TITLES, 0)
    networks |= dict.fromkeys(tables, len(models))
    images |= dict.fromkeys(tables, len(data))
    any_kernel = kernel["cka-linear"]
    names = list(models)[: context["cca_networks"]]
    few = context.data("train", limit=context["cca_images"])
    if names:
        family = _family(context, {name: models[name] for name in names}, few)
        tables |= family
        networks |= dict.fromkeys(family, len(names))
        images |= dict.fromkeys(family, len(few))
    widest = max(any_kernel.details["features"].values())
    return _Scores(
        tables,
        tuple(dict.fromkeys(any_kernel.row_layers)),
        networks,
        images,
        forced=bool(names) and 2 * widest >= len(few),
        full=bool(names) and widest >= len(few),
    )


def _family(context: Context, models: Mapping[str, Any], data: Any) -> dict[str, NDArray[np.float64]]:
    """Scores of every index of the CCA family."""
    names = list(models)
    found = pairs_of_networks(context, models, data, list(itertools.combinations(names, 2)), variances=VARIANCES)
    tables = {index: assembled(found, names, index) for index in next(iter(found.values()))}
    return tables | {plain: tables[with_share] for plain, with_share in OF_TABLES.items()}


def _identified(scores: _Scores) -> dict[str, Identification]:
    """Every index of Table 2; each against the best on the networks that both were computed for."""
    ranked = {
        index.id: symmetrised(scores.tables[index.id]) if index.symmetrise else scores.tables[index.id]
        for index in INDEXES
        if index.id in scores.tables
    }
    counts = sorted({scores.networks[index] for index in ranked}, reverse=True)
    found = dict.fromkeys(TITLES, Identification(math.nan, math.nan, math.nan, False))
    for count in counts:
        if count < 3:  # the jackknife leaves one out
            found |= {
                index: Identification(identification_accuracy(table), math.nan, math.nan, False)
                for index, table in ranked.items()
                if scores.networks[index] == count
            }
            continue
        among = {index: table[:count, :count] for index, table in ranked.items() if scores.networks[index] >= count}
        for index, one in compare_identification(among).items():
            if scores.networks[index] == count:
                found[index] = one
    return found


# -- tables and pictures ------------------------------------------------------------------------------------------


def _table(scores: _Scores, found: Mapping[str, Identification]) -> Table:
    rows: list[list[Any]] = []
    for index in INDEXES:
        one = found[index.id]
        best = "yes" if one.among_best else "–" if math.isnan(one.p_value) else "no"
        rows.append(
            [
                index.title,
                percent(index.paper),
                percent(one.accuracy),
                percent(one.standard_error),
                "yes" if index.paper > 0.99 else "no",
                best,
                scores.networks[index.id],
                scores.images[index.id],
            ]
        )
    rows.append(["chance", percent(1 / 9), percent(1 / len(scores.layers)), "", "", "", "", ""])
    return Table(
        "Table 2: accuracy of identifying corresponding layers, %",
        ["index", "paper", "ours", "s.e.", "among best (paper)", "ours", "networks", "images"],
        rows,
        "Among best: not significantly worse than the best index (jackknife z-test over networks, p < 0.05). An "
        "index of fewer networks is tested on these alone. The paper: 10 networks, 50,000 training images.",
    )


def _panels(
    means: Mapping[str, NDArray[np.float64]], layers: Sequence[str], indexes: Sequence[str]
) -> dict[str, Comparison]:
    return {_title(index): panel(as_drawn(index, means[index]), layers) for index in indexes if index in means}


def _paper_panels(figure: str, indexes: Sequence[str], layers: Sequence[str]) -> dict[str, Comparison]:
    return {_title(index): paper.comparison(f"{figure}/{index}", layers, layers) for index in indexes}


def _title(index: str) -> str:
    return TITLES[index] if index in TITLES else title(index)


# -- claims -------------------------------------------------------------------------------------------------------


def _claims(
    context: Context,
    scores: _Scores,
    found: Mapping[str, Identification],
    thresholds: Mapping[str, float],
    means: Mapping[str, NDArray[np.float64]],
    accuracy: float,
) -> list[Claim]:
    share = {index: 100 * one.accuracy for index, one in found.items()}
    published = {index.id: 100 * index.paper for index in INDEXES}
    family = [index.id for index in CANONICAL if index.id != "linear-regression"]

    def check(index: str, relation: Any, bound: float, against: str = "") -> Check:
        return Check(f"{TITLES[index]}, %", share[index], relation, bound, against, published[index])

    full = "layers have more features than there are images, so that their scores are 1 (Theorem 1)"
    full = full if scores.full else ""
    if not thresholds:
        full = "the CCA family was left out (cca_networks=0)"
    linear = means["cka-linear"]
    distance = float(np.abs(linear - paper.panel("fig2/cka-linear")).mean()) if linear.shape == (9, 9) else math.nan
    at_threshold = max(thresholds.items(), key=operator.itemgetter(1), default=("svcca-r2-0.99", math.nan))
    return [
        context.claim(
            "The networks are as accurate as the paper's",
            "App. E",
            Check("mean test accuracy", accuracy, "≥", 0.87, paper=paper.number("test accuracy", "tiny-10")),
        ),
        context.claim(
            "Linear CKA identifies almost every corresponding layer", "§6.1, Table 2", check("cka-linear", "≥", 98.0)
        ),
        context.claim(
            "So does RBF CKA with a bandwidth of 0.4 or 0.8 of the median distance",
            "§6.1, Table 2",
            check("cka-rbf-0.4", "≥", 95.0),
            check("cka-rbf-0.8", "≥", 95.0),
        ),
        context.claim(
            "A bandwidth of 0.2 is too narrow: it finds some 20 % fewer",
            "Table 2",
            check("cka-rbf-0.2", "≥", 80.6 - 12),
            check("cka-rbf-0.2", "≤", 80.6 + 12),
            check("cka-rbf-0.2", "<", share["cka-rbf-0.4"], "RBF 0.4"),
        ),
        context.claim(
            "CCA, SVCCA and PWCCA do not identify corresponding layers",
            "§6.1, Table 2",
            *(check(index, "≤", 30.0) for index in family),
            untested=full,
        ),
        context.claim(
            "Linear regression stands in between",
            "§6.1, Table 2",
            check("linear-regression", ">", max(share[index] for index in family), "the best of the CCA family"),
            check("linear-regression", "<", share["cka-linear"], "linear CKA"),
            untested=full,
        ),
        context.claim(
            "Linear CKA, RBF 0.4 and RBF 0.8 are the best indexes; every other is significantly worse",
            "Table 2, bold",
            *(
                Check(f"p-value of {TITLES[index]} against the best", found[index].p_value, "≥", 0.05)
                for index in ("cka-linear", "cka-rbf-0.4", "cka-rbf-0.8")
            ),
            *(
                Check(f"p-value of {TITLES[index]} against the best", one.p_value, "<", 0.05)
                for index, one in found.items()
                if index not in ("cka-linear", "cka-rbf-0.4", "cka-rbf-0.8")
            ),
            untested="" if min(scores.networks.values()) >= 3 else "the jackknife needs three networks for every index",
        ),
        context.claim(
            "The mean similarity by linear CKA is that of figure 2",
            "Figure 2",
            Check("mean absolute difference of the matrices", distance, "≤", 0.05),
        ),
        context.claim(
            "No threshold makes SVCCA reveal corresponding layers",
            "App. F.2, figure F.3",
            Check(f"best of them, {_title(at_threshold[0])}, %", 100 * at_threshold[1], "≤", 50.0),
            Check(
                "how far it is below linear CKA, points",
                share["cka-linear"] - 100 * at_threshold[1],
                "≥",
                30.0,
            ),
            untested=full,
        ),
    ]


_PROTOCOL = (
    "Networks: Tiny-10 (table E.1) from different seeds; layers conv1 to conv8 after batch normalisation and ReLU, and "
    "the average pool; maps flattened to (images, height·width·channels).",
    "Similarities on training images, biased estimators, as in the paper.",
    "Accuracy: share of (ordered pair of networks, layer) whose most similar layer in the other network is the one at "
    "the same place; ties count their share.",
    "Standard errors and tests: jackknife over networks, z-test of the difference to the best index.",
    "The CCA family comes from one decomposition a layer and one product a pair of layers, which all its indexes "
    "share.",
)


def plan(settings: Mapping[str, Any]) -> Plan:
    """What the study trains and compares."""
    from repscope.studies.zoo import NetworkSpec

    data, count, few = settings["data"], settings["networks"], settings["cca_networks"]
    spec = NetworkSpec("tiny10", {"width": settings["width"]})
    training = Training(spec, data, count, settings["epochs"], settings["train_images"])
    compared = [Comparing([(spec, count)], data, settings["images"], indexes=len(KERNEL))]
    if few:
        compared.append(Comparing([(spec, few)], data, settings["cca_images"], indexes=0, family=True))
    return Plan([training], compared)


STUDY = Study(
    name="sanity",
    title="Which indexes identify corresponding layers of networks that differ in their seed only?",
    source="Table 2, Figure 2, Appendix F.2 with Figure F.3",
    shows=(
        "Ten networks of one architecture are trained from different seeds, and each layer looks for its "
        "counterpart in the other networks. CKA finds nearly all, linear regression less than half, CCA, SVCCA and "
        "PWCCA do no better than chance."
    ),
    protocol=_PROTOCOL,
    settings={
        "tiny": {
            "data": "digits",
            "networks": 3,
            "epochs": 1,
            "train_images": 300,
            "width": 2,
            "images": 200,
            "cca_networks": 3,
            "cca_images": 200,
            "cca_precision": "float64",
            "seed": 0,
        },
        "small": {
            "data": "cifar10",
            "networks": 10,
            "epochs": 40,
            "train_images": 50000,
            "width": 16,
            "images": 5000,
            "cca_networks": 3,
            "cca_images": 25000,
            "cca_precision": "float32",
            "seed": 0,
        },
        "paper": {
            "data": "cifar10",
            "networks": 10,
            "epochs": 60,
            "train_images": 50000,
            "width": 16,
            "images": 50000,
            "cca_networks": 10,
            "cca_images": 50000,
            "cca_precision": "float32",
            "seed": 0,
        },
    },
    reductions={
        "tiny": (
            "Three networks an eighth as wide, trained for seconds on handwritten digits: a test of the code, not "
            "of the paper.",
            "Layers are wider than the number of images, so the CCA family is forced towards 1 (Theorem 1).",
        ),
        "small": (
            "HSIC and CKA on the first 5,000 training images: CKA hardly depends on their number.",
            "The CCA family for three networks on the first 25,000: its scores are higher than with 50,000, because "
            "two layers of 16,384 features need more than 32,768 images before no correlation of 1 is forced.",
            "40 epochs: a point of test accuracy below the paper's 89.4 %.",
        ),
        "paper": (),
    },
    run=run,
    plan=plan,
)
