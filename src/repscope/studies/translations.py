"""How well networks translate: token accuracy, corpus BLEU and exact translations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repscope.errors import MissingExtraError
from repscope.studies.claims import Check, percent
from repscope.studies.findings import Table

if TYPE_CHECKING:
    from repscope.studies.study import Context
    from repscope.studies.text import ParallelText
    from repscope.studies.zoo import TrainedNetwork


def quality(context: Context, net: TrainedNetwork, text: ParallelText) -> dict[str, Any]:
    """How well a network translates: token accuracy, and for each test set BLEU and the share of exact translations."""

    def judge() -> dict[str, Any]:
        with context.timed("translating"):
            return {name: _judged(net, text, name) for name in list(text.tests)[: context["test_sets"]]}

    settings = f"{net.file.stem}-{context['test_sets']}"
    return {"token accuracy": net.test_accuracy, "tests": context.folder.kept(f"translations-{settings}", judge)}


def _judged(net: TrainedNetwork, text: ParallelText, name: str) -> dict[str, Any]:
    from repscope.studies.translating import translate

    pairs = text.tests[name]
    wanted = [target for _, target in pairs]
    tokens = translate(net.model, [source for source, _ in text.tokens(pairs)])  # type: ignore[arg-type]
    found = text.vocabulary.decode(tokens)
    exact = sum(ours == theirs for ours, theirs in zip(found, wanted, strict=True)) / len(wanted)
    return {"exact": exact, **bleu(found, wanted, text)}


def bleu(found: Sequence[str], wanted: Sequence[str], text: ParallelText) -> dict[str, Any]:
    """Corpus BLEU with its signature; nothing for numbers, of which a translation is right or wrong."""
    if text.vocabulary.kind == "words":
        return {"bleu": math.nan, "signature": ""}
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        raise MissingExtraError("Scoring translations", "sacrebleu", "text") from None
    scorer = BLEU()
    return {"bleu": scorer.corpus_score(found, [wanted]).score, "signature": str(scorer.get_signature())}


def quality_table(quality: Mapping[str, Mapping[str, Any]]) -> Table:
    """What :func:`quality` found of each network, by name."""
    tests = list(next(iter(quality.values()))["tests"])
    rows = [
        [
            name,
            percent(one["token accuracy"]),
            *itertools.chain.from_iterable(
                (
                    f"{one['tests'][test]['bleu']:.1f}" if _has_bleu(one, test) else None,
                    percent(one["tests"][test]["exact"]),
                )
                for test in tests
            ),
        ]
        for name, one in quality.items()
    ]
    signatures = sorted({one["tests"][test]["signature"] for one in quality.values() for test in tests} - {""})
    return Table(
        "Translations",
        [
            "network",
            "test tokens predicted, %",
            *itertools.chain.from_iterable((f"{test}: BLEU", "exact, %") for test in tests),
        ],
        rows,
        "Greedy decoding. Exact: share of sentences translated word for word as in the reference."
        + "".join(f" sacreBLEU signature: `{signature}`." for signature in signatures)
        + " The paper states neither BLEU nor accuracy of its Transformers.",
    )


def _has_bleu(one: Mapping[str, Any], test: str) -> bool:
    return one["tests"][test]["bleu"] is not None


def quality_checks(quality: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """Whether the networks translate: by BLEU on the first test set, or by exact translations where it has none."""
    test = next(iter(next(iter(quality.values()))["tests"]))
    of_test = [one["tests"][test] for one in quality.values()]
    if all(one["bleu"] is not None for one in of_test):
        return [Check(f"lowest BLEU of a network on {test}", min(one["bleu"] for one in of_test), "≥", 25.0)]
    return [Check("lowest share of exact translations of a network", min(one["exact"] for one in of_test), "≥", 0.5)]
