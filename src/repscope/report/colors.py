"""The colours of scores: the script and the images that Python draws for it take them from the same file."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from repscope.comparison import Comparison

UNDEFINED = 255
"""Place of the colour of undefined scores in a palette, the last; those before it are a scale."""

_DIVERGING_FROM = 0.1  # a lowest score this far below zero, relative to the largest magnitude, is no noise


def diverging(comparison: Comparison) -> bool:
    """Whether scores lie on both sides of a zero that means something, so that the colours should part there."""
    finite = comparison.values[np.isfinite(comparison.values)]
    if comparison.range[0] >= 0 or not finite.size or finite.max() <= 0:
        return False
    return bool(finite.min() < -_DIVERGING_FROM * np.abs(finite).max())


def indices(values: npt.NDArray[np.float64], low: float, high: float, *, flip: bool) -> npt.NDArray[np.uint8]:
    """Place of each score in a palette; scores beyond the ends of the scale have the colours of its ends.

    Args:
        values: Scores, of any shape; NaN are undefined.
        low: The score of the first colour.
        high: The score of the last.
        flip: The other way round, as for distances.
    """
    share = (np.clip(values, low, high) - low) / (high - low)
    if flip:
        share = 1.0 - share
    defined = ~np.isnan(share)
    places = np.full(share.shape, UNDEFINED, dtype=np.uint8)
    places[defined] = np.rint(share[defined] * (UNDEFINED - 1)).astype(np.uint8)
    return places


def palette(scale: str = "sequential") -> npt.NDArray[np.uint8]:
    """Red, green and blue of the colours of a scale, from unlike to alike, and of what is undefined; shape (256, 3)."""
    stops = json.loads((files("repscope.report") / "assets" / "colors.json").read_text("utf-8"))
    known = np.array([_rgb(color) for color in stops[scale]])
    places = np.linspace(0, len(known) - 1, UNDEFINED)
    ramp = np.stack([np.interp(places, np.arange(len(known)), channel) for channel in known.T], axis=1)
    return np.concatenate([np.rint(ramp), [_rgb(stops["undefined"])]]).astype(np.uint8)


def _rgb(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]
