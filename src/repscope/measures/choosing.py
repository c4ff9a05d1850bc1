"""Which measure? Three questions, answered from what the catalogue declares of each measure.

Which transformations of a layer shall change nothing, how many examples there are for how many features, and whether
the score must be a metric. Every reason follows from the declared facts of :class:`~repscope.measures.measure.Facts`
and from Theorem 1 of Kornblith et al. (2019); no list of measures is kept here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, TypeAlias

from repscope.errors import InputError
from repscope.measures._messages import check_choice, is_whole
from repscope.measures._neighbor_rows import UNPAIRED_ROWS
from repscope.measures.catalog import CATALOG, configure
from repscope.measures.measure import Chance, ConfiguredMeasure, Facts, Invariance, Measure

WantedInvariance: TypeAlias = Literal["permutation", "orthogonal", "linear"]

INVARIANCES: Mapping[str, Invariance] = {
    "permutation": Invariance.PERMUTATION,
    "orthogonal": Invariance.ORTHOGONAL,
    "linear": Invariance.INVERTIBLE_LINEAR,
}
"""The answers to the first question, from the weakest to the strongest."""

LIKE_CHANCE = 0.5
"""Level of unrelated layers from which on a measure is left out: most of the score would be chance."""

NOTABLE = 0.2
"""Level from which on it is said that a score must be held against it."""

_MEANING = {
    "permutation": "It sees single units: their order changes nothing, a rotation does.",
    "orthogonal": "Rotations change nothing; how much variance a direction carries does.",
    "linear": "Any invertible linear map changes nothing: all directions count alike, whatever variance they carry.",
}


@dataclass(frozen=True)
class Suggestion:
    """A measure that fits the answers.

    Attributes:
        measure: The measure with its options; ``compare(…, measure=suggestion.measure)`` takes it.
        reasons: Why it fits, a sentence each.
        cautions: What to mind, a sentence each.
    """

    measure: ConfiguredMeasure
    reasons: tuple[str, ...]
    cautions: tuple[str, ...]


@dataclass(frozen=True)
class Recommendation:
    """What the catalogue has for the answers to three questions.

    Attributes:
        invariance: ``"permutation"``, ``"orthogonal"`` or ``"linear"``.
        examples: Number of examples n.
        width: Features of the wider layer.
        metric: Whether the score, or a function of it, had to be a metric.
        suggestions: The measures that fit, the best first.
        excluded: Id of every other measure and why it does not fit, in one sentence.
    """

    invariance: WantedInvariance
    examples: int
    width: int
    metric: bool
    suggestions: tuple[Suggestion, ...]
    excluded: Mapping[str, str]


def recommend(invariance: WantedInvariance, examples: int, width: int, *, metric: bool = False) -> Recommendation:
    """Recommend measures, with reasons, from three answers.

    Of each measure its default options are tried first, then those that the catalogue lists beside them. A measure
    fits where both of its arguments are as invariant as wanted and no more, where n is enough, where unrelated layers
    of this width score below 0.5 by its closed form, and, if a metric is wanted, where the score or a declared function
    of it is one. The best come first: the score itself a metric where that is wanted; then those blind to scale and
    offset, bounded, symmetric, with the lowest chance level; one without a closed form counts as 0.5.

    Args:
        invariance: Which maps of a layer's features shall change nothing. ``"permutation"``: their order only, so that
            single units count; ``"orthogonal"``: rotations, so that variance counts (CKA, Procrustes, RSA);
            ``"linear"``: any invertible map, so that only the span counts (CCA).
        examples: Number of examples n.
        width: Features of the wider layer, p or q.
        metric: Whether distances must obey the triangle inequality, as for clustering, embedding and nearest neighbours
            of models.

    Returns:
        The measures that fit, the best first, and why each other does not. The chance levels are those of independent
        features of equal variance, the most that layers of this width can have.

    Raises:
        InputError: For an unknown invariance, fewer than 2 examples or no features.

    Example:
        >>> found = recommend("orthogonal", 2000, 512)
        >>> found.suggestions[0].measure.label
        'cka'
        >>> found.excluded["cca"]
        'Any invertible linear map changes nothing, which is more than wanted: variance would not count.'
    """
    check_choice("recommend", "invariance", invariance, INVARIANCES)
    for name, value, least in (("examples", examples, 2), ("width", width, 1)):
        if not is_whole(value) or value < least:
            raise InputError(f"recommend: {name} must be a whole number from {least}, got {value!r}.")
    suggestions, excluded = [], {}
    for row in CATALOG.values():
        refusals = []
        for candidate in _candidates(row):
            refusal = _refusal(candidate, invariance, examples, width, metric)
            if refusal is None:
                suggestions.append(_suggestion(candidate, invariance, examples, width, metric))
                break
            refusals.append(refusal)
            if refusal.hurdle is _Hurdle.CHANCE:
                break  # other options look no better only because their level is not known
        if refusals and not (suggestions and suggestions[-1].measure.id == row.id):
            excluded[row.id] = max(refusals, key=lambda one: one.hurdle).sentence
    suggestions.sort(key=lambda one: _order(one.measure.facts, examples, width, metric))
    return Recommendation(invariance, examples, width, metric, tuple(suggestions), excluded)


def _candidates(row: Measure) -> Iterator[ConfiguredMeasure]:
    """The defaults, then the options that the catalogue lists."""
    seen: list[Mapping[str, Any]] = []
    for options in ({}, *row.variants):
        candidate = configure(row.id, **options)
        if candidate.options not in seen:
            seen.append(candidate.options)
            yield candidate


class _Hurdle(IntEnum):
    """What a measure has to pass, in this order."""

    INVARIANCE = 1
    METRIC = 2
    EXAMPLES = 3
    CHANCE = 4


@dataclass(frozen=True)
class _Refusal:
    """Where a measure failed, and why."""

    hurdle: _Hurdle
    sentence: str


def _strongest(invariances: frozenset[Invariance]) -> Invariance | None:
    """The largest group of maps that leave the score as it is."""
    return next((one for one in reversed(list(INVARIANCES.values())) if one in invariances), None)


def _refusal(candidate: ConfiguredMeasure, invariance: str, n: int, width: int, metric: bool) -> _Refusal | None:
    """Why a measure does not fit; None where it does."""
    facts = candidate.facts
    if (sentence := _other_invariance(candidate.id, facts, INVARIANCES[invariance])) is not None:
        return _Refusal(_Hurdle.INVARIANCE, sentence)
    if metric and facts.metric_form is None:
        return _Refusal(_Hurdle.METRIC, "Neither the score nor a function of it is declared to be a metric.")
    if (sentence := _too_few(facts, n, width)) is not None:
        return _Refusal(_Hurdle.EXAMPLES, sentence)
    if facts.chance is not None and (level := facts.chance.level(n, width, width)) >= LIKE_CHANCE:
        return _Refusal(_Hurdle.CHANCE, f"{_said(facts.chance, level)}: most of a score would be chance.")
    return None


def _other_invariance(name: str, facts: Facts, wanted: Invariance) -> str | None:
    if any(row.id == name for row in UNPAIRED_ROWS):
        return "It compares what each layer has by itself: it does not ask whether the same examples are alike."
    x, y = (_strongest(side) for side in (facts.invariances_x, facts.invariances_y))
    if x is not y:
        return f"It is directed: invariant to {x or 'no'} maps of x and to {y or 'no'} maps of y."
    if x is wanted:
        return None
    lost = "variance" if wanted is Invariance.ORTHOGONAL else "a single unit"
    if x is Invariance.INVERTIBLE_LINEAR:
        return f"Any invertible linear map changes nothing, which is more than wanted: {lost} would not count."
    if x is Invariance.ORTHOGONAL and wanted is Invariance.PERMUTATION:
        return f"Rotations change nothing, which is more than wanted: {lost} would not count."
    return f"It changes under {'rotations' if wanted is Invariance.ORTHOGONAL else 'invertible linear maps'}."


def _too_few(facts: Facts, n: int, width: int) -> str | None:
    if n < facts.minimum_examples:
        return f"It needs {facts.minimum_examples} examples, and there are {n}."
    if Invariance.INVERTIBLE_LINEAR not in facts.invariances_x:
        return None
    if n - 1 <= width:
        return (
            f"{n} examples are no more than {width} features and one: it says the same of any two layers "
            "(Theorem 1 of Kornblith et al. 2019)."
        )
    if n - 1 < 2 * width:
        return (
            f"{n} examples are not well above the width of {width}: two layers of it have to share some of the {n - 1} "
            "directions that there are, with perfect correlation."
        )
    return None


def _said(chance: Chance, level: float) -> str:
    """What unrelated layers score, as a clause."""
    score = "score" if chance.of == "the score" else "have an angle with a cosine of"
    bound = " at least" * chance.at_least
    return f"Unrelated layers {score}{bound} {chance.formula} = {level:.2f} on average"


def _suggestion(candidate: ConfiguredMeasure, invariance: str, n: int, width: int, metric: bool) -> Suggestion:
    facts = candidate.facts
    reasons, cautions = [_MEANING[invariance]], []
    missing = _missing(facts)
    if missing:
        cautions.append(f"It changes with the {' and the '.join(missing)} of a layer.")
    else:
        reasons.append("Scale and offset of a layer change nothing.")
    if metric:
        reasons.append(f"The triangle inequality holds for {facts.metric_form}.")
    if facts.chance is None:
        cautions.append("What unrelated layers score has no closed form here: see by permutations of the examples.")
    elif (level := facts.chance.level(n, width, width)) == 0:
        reasons.append("Unrelated layers score 0 on average, whatever n and the width.")
    elif level < NOTABLE:
        reasons.append(f"{_said(facts.chance, level)}.")
    else:
        cautions.append(f"{_said(facts.chance, level)}: hold scores against that.")
    if not facts.symmetric:
        cautions.append("It is not symmetric: score(x, y) differs from score(y, x).")
    if not _bounded(facts):
        cautions.append("It has no upper end: scores of different layers have no common scale.")
    return Suggestion(candidate, tuple(reasons), tuple(cautions))


def _missing(facts: Facts) -> list[str]:
    both = facts.invariances_x & facts.invariances_y
    named = {Invariance.ISOTROPIC_SCALING: "scale", Invariance.TRANSLATION: "offset"}
    return [word for one, word in named.items() if one not in both]


def _bounded(facts: Facts) -> bool:
    return facts.range[1] < float("inf")


def _order(facts: Facts, n: int, width: int, metric: bool) -> tuple[float, ...]:
    """Smaller is better."""
    level = LIKE_CHANCE if facts.chance is None else facts.chance.level(n, width, width)
    return (metric and not facts.metric, len(_missing(facts)), not _bounded(facts), not facts.symmetric, level)
