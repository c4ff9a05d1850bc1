"""What is compared: models, or layers given as arrays. From a user's arguments to one list of named subjects."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import array_api_compat

from repscope._words import nearest_or_all
from repscope.errors import InputError
from repscope.files import load_representations
from repscope.measures._arrays import check_representation
from repscope.measures._messages import check_names
from repscope.store import Store, open_store


@dataclass(frozen=True)
class Subject:
    """One model, or one set of layers.

    Attributes:
        name: Model name in the result.
        model: A torch module, or None.
        arrays: Layer name to representation (n, p), or None.
        dtypes: Types of the arrays as they were given.
        store: Stored activations, or None.
        layers: Which layers: what ``Capture`` takes for a model (None for the default), names and globs for arrays,
            names for a store.
        rows_per_item: Rows of the arrays that come from one item of the data; NaN where that differs or is unknown.
    """

    name: str
    model: Any = None
    arrays: Mapping[str, Any] | None = None
    layers: Any = None
    dtypes: tuple[str, ...] = ()
    store: Store | None = None
    rows_per_item: float = 1.0


def resolve(a: Any, b: Any, layers: Any) -> tuple[list[Subject], bool]:
    """Name the subjects of a comparison.

    Returns:
        The subjects, and whether the first is compared with the second (otherwise all with all).
    """
    if b is None:
        if isinstance(a, Mapping) and a and not is_layers(a):
            check_names("compare", "a", a)
            _check_models("layers", layers, [str(name) for name in a])
            return [_subject(value, str(name), _layers_of(layers, str(name))) for name, value in a.items()], False
        return [_subject(a, _name(a) or "model", layers)], False
    for argument, value in (("a", a), ("b", b)):
        if isinstance(value, Mapping) and not is_layers(value):
            raise InputError(
                f"compare: {argument} must be one model or its layers when both a and b are given, got a mapping of "
                f"{len(value)} models. Pass all models in one mapping as a, and leave b out."
            )
    first, second = two_names(a, b)
    if isinstance(layers, Mapping):
        _check_models("layers", layers, [first, second])
        pair = (_layers_of(layers, first), _layers_of(layers, second))
    else:
        pair = layers if isinstance(layers, tuple) and len(layers) == 2 else (layers, layers)
    return [_subject(a, first, pair[0]), _subject(b, second, pair[1])], True


def is_layers(value: Mapping[str, Any]) -> bool:
    """Whether a mapping holds arrays (layers of one model) rather than models or mappings of arrays."""
    return all(is_array(item) for item in value.values())


def is_array(value: Any) -> bool:
    """Whether a value is an array of a library that the measures take."""
    return bool(array_api_compat.is_array_api_obj(value))


def is_module(value: Any) -> bool:
    """Whether a value is a torch module; torch is not loaded for the answer."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _check_models(argument: str, given: Any, names: Sequence[str]) -> None:
    unknown = [key for key in given if key not in names] if isinstance(given, Mapping) else []
    if unknown:
        raise InputError(
            f"compare: {argument} must have names of models as keys, got {unknown[0]!r}. There are "
            f"{', '.join(map(repr, names))}."
        )


def _layers_of(layers: Any, name: str) -> Any:
    return layers.get(name) if isinstance(layers, Mapping) else layers


def _subject(value: Any, name: str, layers: Any) -> Subject:
    if isinstance(value, Subject):
        return replace(value, name=name)
    if is_module(value):
        return Subject(name, model=value, layers=layers)
    if isinstance(value, str | os.PathLike):
        value = open_store(value) if Path(value).is_dir() else load_representations(value)
    elif is_array(value):
        value = {name: value}
    if isinstance(value, Store):
        return Subject(name, store=value, layers=tuple(_chosen(value.names, layers, name)))
    if isinstance(value, Mapping) and value and is_layers(value):
        check_names("compare", name, value)
        arrays = _select(value, layers, name)
        given = {str(key): str(x.dtype).removeprefix("torch.") for key, x in value.items()}
        return Subject(name, arrays=arrays, layers=layers, dtypes=tuple(dict.fromkeys(given[key] for key in arrays)))
    got = "an empty mapping" if isinstance(value, Mapping) and not value else type(value).__name__
    raise InputError(
        f"compare: {name} must be a torch module, a mapping of layer names to arrays, an array, or a path to stored "
        f"representations, got {got}."
    )


def _select(arrays: Mapping[str, Any], layers: Any, name: str) -> dict[str, Any]:
    """The chosen layers of a mapping, checked; in the mapping's order."""
    arrays = {str(key): x for key, x in arrays.items()}
    chosen = _chosen(list(arrays), layers, name)
    return {key: check_representation("compare", arrays[key], f"layer {key!r} of {name}") for key in chosen}


def _chosen(known: Sequence[str], layers: Any, name: str) -> list[str]:
    """The layers that names and globs choose, in their own order."""
    chosen = list(known)
    if layers is not None:
        found: set[str] = set()
        for pattern in [layers] if isinstance(layers, str) else list(layers):
            if not isinstance(pattern, str):
                raise InputError(
                    f"compare: layers must be names or globs where layers are given as arrays, got {pattern!r}."
                )
            # A name such as "blocks[0]" reads as a glob too, for another layer: what is a name is taken as one.
            fits = {pattern} & set(known) or {key for key in known if fnmatch.fnmatchcase(key, pattern)}
            if not fits:
                remedy = nearest_or_all(pattern, known)
                raise InputError(f"compare: layers must name layers of {name}, got {pattern!r}.{remedy}")
            found |= fits
        chosen = [key for key in known if key in found]
        if not chosen:
            raise InputError(f"compare: layers must name at least one layer of {name}, got none.")
    return chosen


def _name(value: Any) -> str | None:
    if isinstance(value, str | os.PathLike):
        return Path(value).stem
    if isinstance(value, Store):
        return value.path.stem
    if isinstance(value, Subject):
        return value.name
    return type(value).__name__ if is_module(value) else None


def two_names(a: Any, b: Any) -> tuple[str, str]:
    """What the two subjects of a comparison are called, where they are given one by one."""
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
