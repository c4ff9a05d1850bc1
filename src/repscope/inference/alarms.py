"""Warnings of layers whose scores mean less than they seem to: each kind once, for all layers that it is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from repscope.errors import DiagnosticWarning
from repscope.inference.diagnostics import LayerDiagnostics
from repscope.inference.passes import Floats
from repscope.measures._messages import warn

FIRST_COMPONENT = 0.8
"""Share of the variance along one direction; CKA is then 0.94 or more the squared correlation along it (0.8² of the
squared Gram matrix, against 0.2² at most of all the rest). The block structure of Nguyen et al. (2021) is of this kind.
"""

TRANSLATION = 0.8
"""Share of all variance that is the translation between two groups: CKA then follows its length alone, by the same sum
(Davari et al. 2022).
"""

FEATURES = 8
"""Features from which on one direction that holds so much is worth a word; of two or three one always holds a lot."""

CONSTANT = 0.75
"""Share of the features that never change. They alter no score here, but of such a layer little works; a half is common
where units are few, rectified and untrained."""

REPEATED = 0.01
"""Share of the examples that repeat another in every layer, as doubled data do. The unbiased estimators leave each
example's product with itself out; a repeated one brings this share of it back, and so of the bias of the biased
estimator, which is at most 1. Examples that are equal in some layers only are draws from few possible ones: no fault.
"""

BLANK = 0.05
"""Share of the examples whose features are all nearly equal: no correlation over features is meant there. A few are
common, as those that leave all units of a rectified layer at 0.
"""

BLANK_EXAMPLES = 5
"""And so many of them."""


@dataclass(frozen=True)
class _Alarm:
    """One kind of warning.

    Attributes:
        holds: Whether it is about a layer.
        size: What the most striking layer is chosen by.
        text: What is wrong, said of that layer.
        remedy: What to do.
    """

    holds: Callable[[LayerDiagnostics], bool]
    size: Callable[[LayerDiagnostics], float]
    text: Callable[[LayerDiagnostics], str]
    remedy: str


def _listed(rows: Sequence[int], most: int = 5) -> str:
    return ", ".join(map(str, rows[:most])) + (", …" if len(rows) > most else "")


ALARMS = (
    _Alarm(
        lambda f: bool(f.dominant_rows),
        lambda f: f.dominant_share or 0.0,
        lambda f: (
            f"{f.dominant_share:.0%} of the squared Gram matrix comes from {len(f.dominant_rows)} of {f.examples} "
            f"examples (row{'s' if len(f.dominant_rows) > 1 else ''} {_listed(f.dominant_rows)})"
        ),
        "Scores follow these examples: look at them, and compare without them.",
    ),
    _Alarm(
        lambda f: (f.translation_share or 0.0) >= TRANSLATION and f.features >= FEATURES and not f.dominant_rows,
        lambda f: f.translation_share or 0.0,
        lambda f: (
            f"{f.apart_share:.0%} of the examples lie apart from the others in one direction, "
            f"{f.translation_share:.0%} of the variance"
        ),
        "CKA follows the length of that translation: compare within the two groups.",
    ),
    _Alarm(
        lambda f: (
            (f.first_component_share or 0.0) >= FIRST_COMPONENT
            and f.features >= FEATURES
            and not f.dominant_rows
            and (f.translation_share or 0.0) < TRANSLATION
        ),
        lambda f: f.first_component_share or 0.0,
        lambda f: f"the first principal component holds {f.first_component_share:.0%} of the variance",
        "Scores follow that direction alone: compare without it, or by CCA.",
    ),
    _Alarm(
        lambda f: f.massive_count > 0,
        lambda f: f.largest_activation or 0.0,
        lambda f: (
            f"{f.massive_count} feature{'s' if f.massive_count > 1 else ''} ({_listed(f.massive_features)}) "
            f"reach{'' if f.massive_count > 1 else 'es'} {f.largest_activation:.0f} times a typical activation"
        ),
        "Products and distances follow such features: compare without them, or scale features first.",
    ),
    _Alarm(
        lambda f: f.participation_ratio is not None and f.constant_features >= CONSTANT * f.features,
        lambda f: f.constant_features / f.features,
        lambda f: f"{f.constant_features} of {f.features} features never change",
        "They alter no score, but look for dead units.",
    ),
    _Alarm(
        lambda f: f.blank_examples >= max(BLANK_EXAMPLES, BLANK * f.listed_examples),
        lambda f: f.blank_examples / f.listed_examples,
        lambda f: f"in {f.blank_examples} of {f.listed_examples} examples all features are nearly equal",
        "Look for blank inputs or padding, and leave them out.",
    ),
)


def dominant_rows(found: Sequence[LayerDiagnostics]) -> list[int]:
    """The examples that dominate any layer."""
    return sorted({row for f in found for row in f.dominant_rows})


def warn_of(names: Sequence[str], found: Sequence[LayerDiagnostics], without: Floats | None = None) -> None:
    """One warning of each kind for all layers that it is about.

    Args:
        names: Layer names.
        found: Their facts.
        without: CKA of all pairs of layers without the examples that dominate some of them, if there are any.
    """
    for alarm in ALARMS:
        about = [(name, f) for name, f in zip(names, found, strict=True) if alarm.holds(f)]
        if not about:
            continue
        name, striking = max(about, key=lambda pair: alarm.size(pair[1]))
        others = [f"{other!r}" for other, _ in about if other != name]
        more = ""
        if others:
            shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
            more = f" (also in {len(others)} other{'s' if len(others) > 1 else ''}: {shown})"
        aside = "" if without is None or alarm is not ALARMS[0] else _without_them(names, found, without)
        warn(f"layer {name!r}: {alarm.text(striking)}{more}. {alarm.remedy}{aside}", DiagnosticWarning)
    _warn_of_repeats(found)


def _without_them(names: Sequence[str], found: Sequence[LayerDiagnostics], without: Floats) -> str:
    """Of the layers that share dominant examples, the two that are least alike without them."""
    dominated = [i for i, f in enumerate(found) if f.dominant_rows]
    pairs = [
        (float(without[i, j]), names[i], names[j])
        for i in dominated
        for j in dominated
        if i < j and set(found[i].dominant_rows) & set(found[j].dominant_rows) and np.isfinite(without[i, j])
    ]
    if not pairs:
        return ""
    value, one, other = min(pairs)
    return f" Without them, linear CKA of {one!r} and {other!r} is about {value:.2f}."


def _warn_of_repeats(found: Sequence[LayerDiagnostics]) -> None:
    varied = [f for f in found if f.participation_ratio is not None]
    least = min(varied, key=lambda f: f.repeated_examples, default=None)
    if least is None or least.repeated_examples < max(1, REPEATED * least.listed_examples):
        return
    warn(
        f"all layers: {least.repeated_examples} of {least.listed_examples} examples equal another one. Unbiased scores "
        "take the examples to be independent: leave repeats out of the data.",
        DiagnosticWarning,
    )
