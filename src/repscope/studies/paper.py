"""The numbers of Kornblith et al. (2019), as printed or read from its figures, to stand beside ours.

``data/ATTRIBUTION.md`` says how they were read and how precise they are.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repscope._words import did_you_mean
from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.studies import drawing


def panel(name: str) -> NDArray[np.float64]:
    """Return one heat map of the paper.

    Args:
        name: Figure and panel, such as ``"fig2/cka-linear"``; :func:`panels` lists them.

    Returns:
        Similarities of shape (layers on the y axis, layers on the x axis), layer 1 first.

    Raises:
        InputError: There is no such panel.
    """
    stored = _one("panel", "panels", name)
    rows, columns = stored["shape"]
    values = np.empty((rows, columns))
    for i, row in enumerate(stored["rows"]):
        start = i if stored["symmetric"] else 0
        values[i, start:] = row
        if stored["symmetric"]:
            values[i:, i] = row
    scaled: NDArray[np.float64] = values * stored["unit"]
    return scaled


def curve(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return one curve of the paper and the half width of its band.

    Args:
        name: Figure, panel and line, such as ``"fig6/same/conv1"``; :func:`curves` lists them.

    Returns:
        Values and errors, each of shape (points,); the errors are NaN where the figure has no band.

    Raises:
        InputError: There is no such curve.
    """
    stored = _one("curve", "curves", name)
    values = np.array(stored["values"], dtype=np.float64)
    errors = np.array(stored.get("errors", np.full(len(values), np.nan)), dtype=np.float64)
    return values, errors


def number(group: str, name: str) -> float:
    """Return one printed number, such as ``number("test accuracy", "tiny-10")``, shares as 0 to 1.

    Raises:
        InputError: There is no such number.
    """
    stored = _read()["numbers"]
    if group not in stored or name not in stored[group]:
        known = [f"{g}: {n}" for g, names in stored.items() for n in names]
        raise InputError(f"number: group and name must be one of {', '.join(known)}, got {group}: {name}.")
    return float(stored[group][name])


def comparison(name: str, rows: Sequence[str] | None = None, columns: Sequence[str] | None = None) -> Comparison:
    """Return one heat map of the paper as a comparison, to be drawn beside ours.

    Args:
        name: As for :func:`panel`.
        rows: Names of the layers on the y axis; None numbers them from 1, as the paper does.
        columns: The same for the x axis.

    Raises:
        InputError: There is no such panel, or the names are not one for each of its layers.
    """
    values = panel(name)
    names = [
        tuple(given) if given is not None else tuple(str(i + 1) for i in range(count))
        for given, count in zip((rows, columns), values.shape, strict=True)
    ]
    return replace(drawing.panel(values, *names), details={"source": _read()["source"]})


def panels() -> tuple[str, ...]:
    """Return the names of all heat maps."""
    return tuple(_read()["panels"])


def curves() -> tuple[str, ...]:
    """Return the names of all curves."""
    return tuple(_read()["curves"])


def widths() -> tuple[int, ...]:
    """Return the widths of figure 6, at which its curves have their points."""
    return tuple(_read()["widths"])


def _one(function: str, kind: str, name: str) -> dict[str, Any]:
    known = _read()[kind]
    if name not in known:
        raise InputError(
            f"{function}: name must be a {function} of the paper, got {name!r}.{did_you_mean(name, known)}"
        )
    found: dict[str, Any] = known[name]
    return found


@functools.cache
def _read() -> dict[str, Any]:
    file = resources.files("repscope.studies").joinpath("data/paper_figures.json")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
