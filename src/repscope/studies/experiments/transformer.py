"""Appendix F.1 (Table F.1, Figures F.1 and F.2): which indexes identify corresponding sublayers of Transformers?"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repscope.errors import InputError
from repscope.studies.claims import Check, Claim, percent
from repscope.studies.drawing import maps
from repscope.studies.family import OF_TABLES, assembled, pairs_of_networks
from repscope.studies.figuref1 import (
    FIGURE_F1,
    TITLES,
    checkerboard,
    contrast_table,
    panels,
    paper_panels,
    published_contrast,
)
from repscope.studies.findings import Findings, Picture, Table
from repscope.studies.identification import (
    Identification,
    compare_identification,
    mean_over_pairs,
    symmetrised,
)
from repscope.studies.plans import Plan, Training
from repscope.studies.study import Context, Study
from repscope.studies.table2 import by_network
from repscope.studies.tablef1 import BEST, INDEXES, TAPS, published
from repscope.studies.translations import quality, quality_checks, quality_table

if TYPE_CHECKING:
    from torch import Tensor, nn

    from repscope.studies.text import ParallelText
    from repscope.studies.zoo import NetworkSpec

KERNEL = tuple(index for index in INDEXES if index.measure.id == "cka")
_IDENTICAL = ("cca-mean", "cca-r2")

Scores = dict[str, dict[str, NDArray[np.float64]]]
"""Tap, then index, to scores (networks, networks, sublayers, sublayers), without symmetrisation."""


def run(context: Context) -> Findings:
    """Train, translate, compare all with all at every tap, identify."""
    from repscope.studies.translator import tapped_layers

    if context["networks"] < 3:
        raise InputError(
            f"reproduce: transformer needs three networks or more for the jackknife, got {context['networks']}."
        )
    text = context.text()
    nets = context.train_translators(
        _spec(context),
        range(context["seed"], context["seed"] + context["networks"]),
        title="translator",
    )
    judged = {f"net {net.seed}": quality(context, net, text) for net in nets}
    batches = _batches(context, text)
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    scores = _scored(context, {f"net {net.seed}": net.model for net in nets}, batches, tokens)
    found = {tap: _identified(tables) for tap, tables in scores.items()}
    means = {tap: {index: mean_over_pairs(table) for index, table in tables.items()} for tap, tables in scores.items()}
    contrasts = {tap: {index: checkerboard(means[tap][index]) for index in TITLES} for tap in TAPS}
    names = tuple(layer.split(".")[1] for layer in tapped_layers(nets[0].model, "residual"))  # type: ignore[arg-type]
    return Findings(
        tables=(_accuracy_table(found), quality_table(judged), contrast_table(contrasts), _taps_table()),
        pictures=(
            Picture(
                "figure-f1",
                "Figure F.1: similarity of sublayers at the four taps, averaged over pairs of networks",
                maps(panels(means, names), columns=len(TAPS)),
                maps(paper_panels(names), columns=len(TAPS)),
            ),
        ),
        claims=_claims(context, found, means, contrasts, judged),
        numbers={
            "accuracy of identification": {
                tap: {index: vars(one) for index, one in indexes.items()} for tap, indexes in found.items()
            },
            "mean similarity": means,
            "checkerboard": contrasts,
            "translations": judged,
            "tokens compared": tokens,
            "chance": 1 / len(names),
        },
        notes=(
            f"Layers are compared on {tokens:,} tokens.",
            "PWCCA and linear regression are ranked as s(x, y) + s(y, x), as in the paper.",
            "SVCCA keeps 99 % of the variance, the squared singular values; the paper does not say whether it squared.",
            "Figure F.1 of the paper has no colour bars: its panels, read as places on their colour scales, show which "
            "scores are higher, not how high they are.",
        ),
    )


def _spec(settings: Context | Mapping[str, Any]) -> NetworkSpec:
    """The architecture of all networks."""
    from repscope.studies.zoo import NetworkSpec

    options = ("width", "heads", "inner", "decoder_layers", "dropout")
    return NetworkSpec("translator", {name: settings[name] for name in options})


# -- scores -------------------------------------------------------------------------------------------------------


def _batches(context: Context, text: ParallelText) -> list[dict[str, Tensor]]:
    """The first sentences of the test sets, in their order, that layers are compared on."""
    from repscope.studies.translating import token_batches

    pairs = [pair for pairs in text.tests.values() for pair in pairs][: context["sentences"]]
    return list(token_batches([source for source, _ in text.tokens(pairs)]))


def _encode(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    encoded: Tensor = model.encode(batch["tokens"])
    return encoded


def _scored(
    context: Context, models: Mapping[str, nn.Module], batches: Sequence[Mapping[str, Tensor]], tokens: int
) -> Scores:
    from repscope.studies.translator import tapped_layers

    capture = {"reduce": "tokens", "forward": _encode}
    # In double precision, so that what the algebra says of CCA can be seen to the last digits.
    doubled = {name: copy.deepcopy(model).double() for name, model in models.items()}
    pairs = list(itertools.combinations(models, 2))
    scores: Scores = {}
    for tap in TAPS:
        layers = {name: list(tapped_layers(model, tap)) for name, model in models.items()}  # type: ignore[arg-type]
        kernel = context.compare_all(
            {f"{tap}-{index.id}": index.measure for index in KERNEL}, models, batches, layers=layers, capture=capture
        )
        tables = {index.id: by_network(kernel[f"{tap}-{index.id}"]) for index in KERNEL}
        family = pairs_of_networks(
            context, doubled, batches, pairs, layers=layers, capture=capture, examples=tokens, together=True
        )
        for index in INDEXES:
            if index not in KERNEL:
                tables[index.id] = assembled(family, list(models), OF_TABLES.get(index.id, index.id))
        scores[tap] = {index.id: tables[index.id] for index in INDEXES}
    return scores


def _identified(tables: Mapping[str, NDArray[np.float64]]) -> dict[str, Identification]:
    return compare_identification(
        {index.id: symmetrised(tables[index.id]) if index.symmetrise else tables[index.id] for index in INDEXES}
    )


# -- tables and pictures ------------------------------------------------------------------------------------------


def _accuracy_table(found: Mapping[str, Mapping[str, Identification]]) -> Table:
    columns = ["index", *itertools.chain.from_iterable((f"{tap}: paper", "ours") for tap in TAPS.values())]
    rows: list[list[Any]] = []
    for index in INDEXES:
        row = [index.title]
        for tap in TAPS:
            one = found[tap][index.id]
            row.append(percent(published(index.id, tap)) + ("*" if (index.id, tap) in BEST else ""))
            row.append(f"{percent(one.accuracy)} ± {percent(one.standard_error)}" + ("*" if one.among_best else ""))
        rows.append(row)
    rows.append(["chance", *(percent(1 / 12),) * 8])
    return Table(
        "Table F.1: accuracy of identifying corresponding sublayers, %",
        columns,
        rows,
        "± jackknife standard error over networks. *: not significantly worse than the best index of its column "
        "(jackknife z-test, p < 0.05); in the paper, printed in bold. The paper: 10 networks, 75,804 tokens.",
    )


def _taps_table() -> Table:
    rows = [
        ["Layer Norm", "encoder.attention1.layer_norm", "(x − mean) / standard deviation, without scale"],
        ["Scale", "encoder.attention1.scale", "each channel times a weight"],
        ["Attention/FFN", "encoder.attention1.operation", "self-attention; in encoder.ffn1 and so on feed-forward"],
        ["Residual", "encoder.attention1.residual", "the sum with what came in"],
    ]
    return Table(
        "Figure F.2: a sublayer and its taps",
        ["tap", "module of the first sublayer", "what it gives"],
        rows,
        "The encoder has 12 sublayers, self-attention and feed-forward in turn.",
    )


# -- claims -------------------------------------------------------------------------------------------------------


def _claims(
    context: Context,
    found: Mapping[str, Mapping[str, Identification]],
    means: Mapping[str, Mapping[str, NDArray[np.float64]]],
    contrasts: Mapping[str, Mapping[str, float]],
    judged: Mapping[str, Mapping[str, Any]],
) -> list[Claim]:
    accuracy = {tap: {index: one.accuracy for index, one in indexes.items()} for tap, indexes in found.items()}
    overall = {index: float(np.mean([accuracy[tap][index] for tap in TAPS])) for index in TITLES}
    theirs = {index: float(np.mean([published(index, tap) for tap in TAPS])) for index in TITLES}
    others = [index for index in FIGURE_F1 if not index.startswith("cka")]
    rise = {index: contrasts["scale"][index] - contrasts["layer-norm"][index] for index in FIGURE_F1}
    chance = 1 / means["residual"]["cca-r2"].shape[0]
    cka = ("cka-linear", "cka-rbf-0.4")
    return [
        context.claim("The networks translate", "App. F.1", *quality_checks(judged)),
        context.claim(
            "Every index identifies corresponding sublayers far above chance, at every tap",
            "App. F.1, table F.1",
            *(_worst(accuracy[tap], tap, chance) for tap in TAPS),
        ),
        Claim(
            "CCA is the same before and after the channel-wise scale",
            "App. F.1, table F.1, figure F.1",
            (
                *(
                    Check(
                        f"largest difference of a mean similarity by {TITLES[index]}",
                        float(np.abs(means["scale"][index] - means["layer-norm"][index]).max()),
                        "≤",
                        1e-9,
                    )
                    for index in _IDENTICAL
                ),
                *(
                    Check(
                        f"difference of the accuracies of {TITLES[index]}, points",
                        100 * abs(accuracy["scale"][index] - accuracy["layer-norm"][index]),
                        "≤",
                        0.0,
                        paper=0.0,
                    )
                    for index in _IDENTICAL
                ),
            ),
        ),
        context.claim(
            "After attention or feed-forward network every index shows a checkerboard: attention is like attention, "
            "feed-forward like feed-forward",
            "App. F.1, figure F.1",
            *(
                Check(
                    f"contrast by {TITLES[index]}",
                    contrasts["operation"][index],
                    "≥",
                    0.1,
                    paper=published_contrast(index, "operation"),
                )
                for index in FIGURE_F1
            ),
        ),
        context.claim(
            "At the scale only CKA shows a checkerboard",
            "App. F.1, figure F.1",
            *(
                Check(
                    f"rise of the contrast from layer norm to scale by {TITLES[index]}",
                    rise[index],
                    ">",
                    max(rise[other] for other in others),
                    "the largest rise by an index other than CKA",
                    paper=published_contrast(index, "scale") - published_contrast(index, "layer-norm"),
                )
                for index in cka
            ),
        ),
        context.claim(
            "RBF CKA (0.4) and CCA (R²) are among the best indexes",
            "App. F.1, table F.1",
            *(
                Check(
                    f"place of {TITLES[index]} by mean accuracy over the taps",
                    _place(overall, index),
                    "≤",
                    3,
                    paper=_place(theirs, index),
                )
                for index in ("cka-rbf-0.4", "cca-r2")
            ),
        ),
        context.claim(
            "RBF CKA (0.4) identifies nearly every sublayer by the residual stream",
            "Table F.1",
            Check(
                "CKA (RBF 0.4) at Residual, %",
                100 * accuracy["residual"]["cka-rbf-0.4"],
                "≥",
                85.0,
                paper=100 * published("cka-rbf-0.4", "residual"),
            ),
        ),
    ]


def _worst(accuracy: Mapping[str, float], tap: str, chance: float) -> Check:
    index = min(accuracy, key=accuracy.__getitem__)
    return Check(
        f"lowest accuracy at {TAPS[tap]}, that of {TITLES[index]}, %",
        100 * accuracy[index],
        "≥",
        300 * chance,
        "three times chance",
        paper=100 * min(published(one, tap) for one in accuracy),
    )


def _place(values: Mapping[str, float], index: str) -> int:
    """1 for the largest."""
    return 1 + sum(value > values[index] for value in values.values())


def plan(settings: Mapping[str, Any]) -> Plan:
    """What the study trains and compares."""
    return Plan(
        [Training(_spec(settings), settings["data"], settings["networks"], settings["epochs"], settings["train_pairs"])]
    )


STUDY = Study(
    name="transformer",
    title="Which indexes identify corresponding sublayers of Transformers that differ in their seed only?",
    source="Appendix F.1: Table F.1, Figures F.1 and F.2",
    shows=(
        "Ten Transformers are trained to translate from English to German, and each sublayer of an encoder looks for "
        "its counterpart in the other encoders, at four taps. All indexes find far more than chance; RBF CKA and CCA "
        "(R²) are best by a little. CCA cannot see the channel-wise scale, by which CKA tells attention from "
        "feed-forward sublayers."
    ),
    protocol=(
        "Networks: encoder–decoder Transformers, pre-norm, with an encoder of 12 sublayers; layer normalisation has no "
        "scale, a channel-wise scale follows it (figure F.2). One vocabulary for both languages, whose embedding also "
        "reads the output; sines and cosines for places.",
        "Training: Adam (β 0.9, 0.98), one-cycle learning rate, label smoothing 0.1, gradients cut to norm 1, batches "
        "of sentences of like length. The paper names no width, recipe or BLEU.",
        "Decoders are shallower than encoders, which are what is compared; translations are greedy.",
        "Every token of a test sentence is an example; padding and the end of the sentence are left out. Biased "
        "estimators, as in the paper.",
        "Accuracy: share of (ordered pair of networks, sublayer) whose most similar sublayer in the other network is "
        "the one at the same place; ties count their share.",
        "Standard errors and tests: jackknife over networks, z-test of the difference to the best index of a tap.",
        "The CCA family from representations in double precision, one decomposition a layer and one product a pair.",
    ),
    settings={
        "tiny": {
            "data": "numbers",
            "vocabulary": 0,
            "networks": 3,
            "epochs": 6,
            "train_pairs": 4000,
            "batch_size": 32,
            "learning_rate": 5e-3,
            "width": 32,
            "heads": 4,
            "inner": 64,
            "decoder_layers": 1,
            "dropout": 0.0,
            "sentences": 100,
            "test_sets": 1,
            "cca_precision": "float64",
            "seed": 0,
        },
        "small": {
            "data": "multi30k",
            "vocabulary": 4000,
            "networks": 5,
            "epochs": 5,
            "train_pairs": 29000,
            "batch_size": 32,
            "learning_rate": 2e-3,
            "width": 128,
            "heads": 4,
            "inner": 256,
            "decoder_layers": 1,
            "dropout": 0.0,
            "sentences": 400,
            "test_sets": 1,
            "cca_precision": "float64",
            "seed": 0,
        },
        "paper": {
            "data": "multi30k",
            "vocabulary": 8000,
            "networks": 10,
            "epochs": 30,
            "train_pairs": 29000,
            "batch_size": 64,
            "learning_rate": 1e-3,
            "width": 256,
            "heads": 8,
            "inner": 1024,
            "decoder_layers": 3,
            "dropout": 0.1,
            "sentences": 3532,
            "test_sets": 4,
            "cca_precision": "float64",
            "seed": 0,
        },
    },
    reductions={
        "tiny": (
            "Three networks of width 32 that translate number words: a test of the code, not of the paper. A minute of "
            "training solves nearly all of the task.",
        ),
        "small": (
            "Multi30k, 29,000 descriptions of images, in place of the millions of sentences of WMT18; width 128 in "
            "place of (presumably) 512; five epochs without dropout. The residual stream of a network that has learned "
            "less changes less from sublayer to sublayer, so that neighbours are harder to tell apart.",
            "Five networks in place of ten: 20 ordered pairs in place of 90. Standard errors are about √2 times as "
            "large; accuracies are not biased by it.",
            "400 sentences, some 6,000 tokens, in place of 75,804. Each layer has 128 features, so that CCA has 50 "
            "tokens for each; its values come out slightly higher than with more tokens, for all layers alike.",
        ),
        "paper": (
            "Multi30k in place of WMT18, whose text does not come with the package; width 256. All four test sets are "
            "compared on, some 50,000 tokens in place of 75,804.",
        ),
    },
    run=run,
    plan=plan,
)
