"""What is compared: models, or layers given as arrays. From a user's arguments to one list of named subjects."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import array_api_compat

from repscope.errors import InputError
from repscope.files import load_representations
from repscope.measures._arrays import check_representation


@dataclass(frozen=True)
class Subject:
    """One model, or one set of layers.

    Attributes:
        name: Model name in the result.
        model: A torch module, or None.
        arrays: Layer name to representation (n, p), or None.
        layers: Which layers: what ``Capture`` takes for a model, names and globs for arrays; None for the default.
    """

    name: str
    model: Any = None
    arrays: Mapping[str, Any] | None = None
    layers: Any = None


def resolve(a: Any, b: Any, layers: Any) -> tuple[list[Subject], bool]:
    """Name the subjects of a comparison.

    Returns:
        The subjects, and whether the first is compared with the second (otherwise all with all).
    """
    if b is None:
        if isinstance(a, Mapping) and a and not _is_layers(a):
            return [_subject(value, str(name), _layers_of(layers, str(name))) for name, value in a.items()], False
        return [_subject(a, _name(a) or "model", layers)], False
    for argument, value in (("a", a), ("b", b)):
        if isinstance(value, Mapping) and not _is_layers(value):
            raise InputError(
                f"compare: {argument} must be one model or its layers when both a and b are given, got a mapping of "
                f"{len(value)} models. Pass all models in one mapping as a, and leave b out."
            )
    first, second = _two_names(a, b)
    pair = layers if isinstance(layers, tuple) and len(layers) == 2 else (layers, layers)
    return [_subject(a, first, pair[0]), _subject(b, second, pair[1])], True


def _is_layers(value: Mapping[str, Any]) -> bool:
    """Whether a mapping holds arrays (layers of one model) rather than models or mappings of arrays."""
    return all(_is_array(item) for item in value.values())


def _is_array(value: Any) -> bool:
    return bool(array_api_compat.is_array_api_obj(value))


def _is_module(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _layers_of(layers: Any, name: str) -> Any:
    return layers.get(name) if isinstance(layers, Mapping) else layers


def _subject(value: Any, name: str, layers: Any) -> Subject:
    if _is_module(value):
        return Subject(name, model=value, layers=layers)
    if isinstance(value, str | os.PathLike):
        value = load_representations(value)
    elif _is_array(value):
        value = {name: value}
    if isinstance(value, Mapping) and value and _is_layers(value):
        return Subject(name, arrays=_select(value, layers, name), layers=layers)
    raise InputError(
        f"compare: {name} must be a torch module, a mapping of layer names to arrays, an array, or a path to stored "
        f"representations, got {type(value).__name__}."
    )


def _select(arrays: Mapping[str, Any], layers: Any, name: str) -> dict[str, Any]:
    """The chosen layers of a mapping, checked; in the mapping's order."""
    chosen = list(arrays)
    if layers is not None:
        patterns = [layers] if isinstance(layers, str) else list(layers)
        chosen = [key for key in arrays if any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)]
        for pattern in patterns:
            if not any(fnmatch.fnmatchcase(key, pattern) for key in arrays):
                raise InputError(
                    f"compare: layers must name layers of {name}, got {pattern!r}. It has {', '.join(arrays)}."
                )
    return {key: check_representation("compare", arrays[key], f"layer {key!r} of {name}") for key in chosen}


def _name(value: Any) -> str | None:
    if isinstance(value, str | os.PathLike):
        return Path(value).stem
    return type(value).__name__ if _is_module(value) else None


def _two_names(a: Any, b: Any) -> tuple[str, str]:
    first, second = _name(a) or "a", _name(b) or "b"
    return (first, second) if first != second else (f"{first} a", f"{second} b")


def check_examples(subjects: Sequence[Subject]) -> int:
    """The number of examples that all arrays share.

    Raises:
        InputError: The layers differ in their number of rows.
    """
    counts = {
        f"{key!r} of {subject.name}": int(x.shape[0])
        for subject in subjects
        for key, x in (subject.arrays or {}).items()
    }
    if len(set(counts.values())) > 1:
        first, n = next(iter(counts.items()))
        other, m = next((k, v) for k, v in counts.items() if v != n)
        raise InputError(
            f"compare: all layers must have the same number of rows (the same examples in the same order), got {n} in "
            f"{first} and {m} in {other}. Rows are examples, columns are features."
        )
    return next(iter(counts.values()))
