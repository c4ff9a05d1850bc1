"""The activations of one comparison: where they come from, and what is known of them before any is looked at."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from repscope.engine import distributed
from repscope.engine.plan import Plan, memory_budget
from repscope.engine.products import native
from repscope.engine.stream import ArraySource
from repscope.errors import InputError
from repscope.facts import describe_reduction, qualified
from repscope.store_source import StoreSource
from repscope.subjects import Subject, check_examples

Forward = Callable[..., Any] | None


@dataclass(frozen=True)
class Opened:
    """The activations to be compared.

    Attributes:
        source: Where they come from.
        layers: Layer names of each subject.
        memory: Budget in bytes.
        dtypes: Types of the activations.
        items: Items in a batch of the data, for models.
        given: The arrays as they were given, or None for models and stores.
        identity: A hash of models and data, empty where unknown.
        reduce: How the activations of a store were made matrices, None for others.
        rows_per_item: Examples that one item of the data gives; NaN where that differs or is unknown.
    """

    source: Any
    layers: Sequence[Sequence[str]]
    memory: float
    dtypes: Sequence[str]
    items: int | None = None
    given: Sequence[Any] | None = None
    identity: str = ""
    reduce: Any = None
    rows_per_item: float = 1.0

    def holding(self, held: ArraySource) -> Opened:
        """The same activations in memory."""
        return replace(self, source=held)

    def cut(self, chosen: Plan) -> Opened:
        """Arrays in memory in slices of the size that the plan says."""
        source = self.source
        return replace(self, source=ArraySource(source.arrays, source.names, batch_size=chosen.batch_size))

    def as_given(self) -> Opened:
        """Arrays in memory in the library that they came in, for a kernel that is a function of the caller's."""
        source = self.source
        if not isinstance(source, ArraySource):
            return self
        arrays = self.given or [_tensor(x) for x in source.arrays]
        return replace(self, source=ArraySource(arrays, source.names, batch_size=source.batch_size))


def open_activations(
    subjects: Sequence[Subject],
    data: Any,
    forward: Forward,
    *,
    reduce: Any,
    batch_size: int,
    memory: float | None,
    identified: bool,
    progress: bool | None,
) -> Opened:
    """Open what is compared: models that are to run on data, stores, or arrays.

    Args:
        subjects: What is compared.
        data: What models run on.
        forward: How they are called, or None.
        reduce: How an activation becomes (examples, features).
        batch_size: Examples per batch, where the data do not come in batches.
        memory: Budget in bytes; None: half of what is free.
        identified: Models and data need an identity, because sums of several runs or processes are put together.
        progress: Show a bar; None: where stderr is a terminal.

    Raises:
        InputError: Data where none are wanted or none where some are, models beside arrays, or ranks that differ.
    """
    if all(subject.model is None for subject in subjects):
        if data is not None:
            raise InputError(
                "compare: data must be left out when layers are given as arrays; they are compared as they are."
            )
        return _open_arrays(subjects, memory, identified)
    if any(subject.model is None for subject in subjects):
        raise InputError(
            "compare: models and stored arrays cannot be mixed, because nothing tells whether their examples "
            "match. Store the model's activations first (repscope capture, or repscope.representations), then "
            "compare what is stored."
        )
    if data is None:
        raise InputError("compare: data must be given to run the models on: a DataLoader, a Dataset or arrays.")
    from repscope.capture import batches
    from repscope.sources import ModelSource

    models = ModelSource(
        subjects,
        batches(data, batch_size=batch_size),
        reduce=reduce,
        forward=forward,
        progress=progress,
    )
    identity = ""
    if identified:  # costs a look at every weight
        identity = models.identity
        if distributed.agree(identity) != identity:
            raise InputError(
                "compare: all ranks must have the same models and data in the same order, got others than rank 0. "
                "Load the same weights everywhere, and do not shuffle, or by the same seed."
            )
    return Opened(
        models,
        models.layers,
        _budget(memory, models.device),
        models.dtypes,
        models.first_items,
        identity=identity,
        rows_per_item=_common(models.examples_per_item, describe_reduction(reduce)),
    )


def _open_arrays(subjects: Sequence[Subject], memory: float | None, identified: bool) -> Opened:
    if any(subject.store is not None for subject in subjects):
        stored = StoreSource(subjects)
        return Opened(
            stored,
            stored.layers,
            _budget(memory, None),
            stored.dtypes,
            identity=stored.identity if identified else "",
            reduce=stored.reduce,
            rows_per_item=_common([1.0], stored.reduce),
        )
    check_examples(subjects)
    layers = [tuple(subject.arrays or ()) for subject in subjects]
    given = [x for subject in subjects for x in (subject.arrays or {}).values()]
    names = qualified(subjects, layers)
    source = ArraySource([native(x) for x in given], names)
    dtypes = list(dict.fromkeys(dtype for subject in subjects for dtype in subject.dtypes))
    identity = source.identity if identified else ""
    rates = [subject.rows_per_item for subject in subjects]
    rate = rates[0] if len(set(rates)) == 1 else math.nan
    budget = _budget(memory, None)
    return Opened(source, layers, budget, dtypes, given=given, identity=identity, rows_per_item=rate)


def _budget(memory: float | None, device: Any) -> float:
    """Bytes for activations and tiles, where these are to lie."""
    if memory is not None:
        return memory
    from repscope.sources import free_memory

    free = None if device is None else free_memory(device)
    return memory_budget(None) / distributed.neighbours() if free is None else free / 2


def _common(rows_per_item: Sequence[float], reduce: Any) -> float:
    """Examples that an item of the data gives in every layer; NaN where nothing tells, 1 where items are unknown."""
    if any(way in json.dumps(reduce) for way in ("tokens", "words")):
        return math.nan
    if len(set(rows_per_item)) > 1:
        return math.nan
    if "positions" in json.dumps(reduce) and rows_per_item[0] == 1.0:
        return math.nan
    return 1.0 if math.isnan(rows_per_item[0]) else rows_per_item[0]


def _tensor(x: Any) -> Any:
    import torch

    return torch.from_numpy(x) if isinstance(x, np.ndarray) else x
