"""Checks of what a :class:`Comparison` is made of; each gives the field as it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from repscope.errors import InputError


def texts(name: str, value: Any) -> tuple[str, ...]:
    """Several texts, as a tuple of plain ones."""
    texts = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
    if isinstance(value, str) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"Comparison: {name} must be a sequence of texts, got {value!r}. Give a list of str.")
    return tuple(str.__str__(text) for text in texts)


def matrix(name: str, value: Any, shape: tuple[int, int]) -> np.ndarray:
    """Numbers of this shape, as a read-only copy in double precision."""
    given = np.asarray(value)
    if given.dtype.kind not in "fiub":
        raise InputError(f"Comparison: {name} must be real numbers, got {given.dtype}. Convert them to float64 first.")
    if given.shape != shape or 0 in shape:
        raise InputError(
            f"Comparison: {name} must have the shape (row layers, column layers) = {shape} and no empty "
            f"axis, got {given.shape}. Give one name a row and one a column."
        )
    return _kept(given)


def replicates(value: Any, shape: tuple[int, int]) -> np.ndarray:
    """Scores of this shape without some of the examples each, two at least, as a read-only copy."""
    given = np.asarray(value)
    if given.dtype.kind not in "fiub" or given.ndim != 3 or given.shape[1:] != shape or len(given) < 2:
        raise InputError(
            f"Comparison: replicates must be real numbers of the shape (replicates, {shape[0]}, {shape[1]}), got "
            f"{given.dtype} of {given.shape}. Take them from repscope.compare(replicates=True)."
        )
    return _kept(given)


def _kept(given: np.ndarray) -> np.ndarray:
    kept: np.ndarray = np.array(given, dtype=np.float64, order="C")
    kept.flags.writeable = False
    return kept


def ends(value: Any) -> tuple[float, float]:
    """The lowest and the highest value of a range."""
    low, high = (float(end) for end in value)
    if not low < high:
        raise InputError(f"Comparison: range must be (lowest, highest), got ({low}, {high}). Exchange them.")
    return low, high


def check_labels(axis: str, layers: tuple[str, ...], models: tuple[str, ...]) -> None:
    """Refuse labels of an axis that do not tell its layers apart."""
    if len(layers) != len(models):
        raise InputError(
            f"Comparison: {axis}_models must name the model of each {axis}, got {len(models)} names for "
            f"{len(layers)} layers. Repeat the model's name for each of its layers."
        )
    seen = set()
    for pair in zip(models, layers, strict=True):
        if pair in seen:
            raise InputError(
                f"Comparison: {axis}_layers must be unique within a model, got {pair[1]!r} of model "
                f"{pair[0]!r} twice. Rename the layer or the model."
            )
        seen.add(pair)
