"""Stored activations as a source for the engine: all layers in lock step, one batch of one layer at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.engine.stream import Visitor
from repscope.errors import InputError
from repscope.measures._arrays import Array, on_the_host
from repscope.store import Store
from repscope.subjects import Subject

_PEEKED = 8
"""Batches that the examples are taken from by which layers are shifted and scaled."""


@dataclass(frozen=True)
class _Layer:
    """A layer of a store, or one that is held in memory."""

    features: int
    dtype: str
    held: Array | None = None
    store: Store | None = None
    name: str = ""

    def read(self, rows: slice | npt.NDArray[np.int64]) -> Array:
        if self.store is not None:
            return self.store.read(self.name, rows)
        assert self.held is not None
        if isinstance(rows, slice):
            return self.held[rows, :]
        xp = array_api_compat.array_namespace(self.held)
        return xp.take(self.held, xp.asarray(rows, device=array_api_compat.device(self.held)), axis=0)


class StoreSource:
    """Layers of several stores (and of arrays beside them), read from disk batch by batch.

    Args:
        subjects: What is compared; each has a store or arrays.

    Attributes:
        names: Layer names of all subjects, for messages (``subject: layer`` where there are several).
        layers: Layer names of each subject.
        widths: Features of each layer.
        dtypes: Types of the numbers, in order of appearance.
        itemsize: Bytes of a number as the engine works on it.
        n: Examples.
        batch_size: Examples read at a time: a chunk of the store with the largest.

    Raises:
        InputError: The stores hold different examples.
    """

    one_pass = False
    batches_expected = None  # reading costs no forward passes that an estimate could save

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self._stores = [(subject.name, subject.store) for subject in subjects if subject.store is not None]
        check_same_examples(self._stores)
        columns = [_layers(subject) for subject in subjects]
        self.layers = [tuple(of_one) for of_one in columns]
        self._columns = [column for of_one in columns for column in of_one.values()]
        several = len(subjects) > 1
        self.names = tuple(
            f"{subject.name}: {name}" if several else name
            for subject, names in zip(subjects, self.layers, strict=True)
            for name in names
        )
        self.widths = tuple(column.features for column in self._columns)
        self.dtypes = tuple(dict.fromkeys(column.dtype for column in self._columns))
        self.itemsize = 4 if all(dtype.endswith(("float16", "float32")) for dtype in self.dtypes) else 8
        first_name, first = self._stores[0]
        self.n = first.n
        for name, column in zip(self.names, self._columns, strict=True):
            if column.held is not None and column.held.shape[0] != self.n:
                raise InputError(
                    "compare: all layers must have the same number of rows (the same examples in the same order), got "
                    f"{self.n} in {first_name} and {column.held.shape[0]} in {name!r}."
                )
        self.batch_size = max(store.chunk_rows for _, store in self._stores)

    @property
    def rows_expected(self) -> int:
        """Number of examples."""
        return self.n

    @property
    def rows_told(self) -> int:
        """Number of examples."""
        return self.n

    @property
    def examples_per_batch(self) -> int:
        """Examples in a batch of the usual size."""
        return self.batch_size

    @property
    def reduce(self) -> Any:
        """How activations were made matrices: one rule, or those of the stores by name."""
        rules = {name: store.settings.get("reduce") for name, store in self._stores}
        first = next(iter(rules.values()))
        return first if all(rule == first for rule in rules.values()) else rules

    @property
    def identity(self) -> str:
        """A hash of models and data, of layers that come as arrays a hash of all examples."""
        digest = hashlib.blake2b(digest_size=16)
        for name, store in self._stores:
            marks = [batch.fingerprint for batch in store.batches]
            digest.update(repr((name, sorted(store.settings.items()), marks)).encode())
        digest.update(repr((self.names, self.widths)).encode())
        for column in self._columns:
            if column.held is not None:
                digest.update(np.ascontiguousarray(on_the_host(column.held)).data)
        return digest.hexdigest()

    @property
    def peeks_at_first_batch(self) -> bool:
        """No: at examples from all over the stores."""
        return False

    def slices(self) -> list[slice]:
        """Rows of each batch; a remainder of less than half a batch is folded into the one before."""
        starts = list(range(0, self.n, self.batch_size))
        if len(starts) > 1 and self.n - starts[-1] < self.batch_size / 2:
            starts.pop()
        return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], self.n], strict=True)]

    def peek(self, visitor: Visitor) -> None:
        """Show a batch of examples out of chunks from all over the stores, so that no order of them matters much."""
        batches = self.slices()
        chosen = [batches[i] for i in np.unique(np.linspace(0, len(batches) - 1, _PEEKED).astype(int))]
        rows = np.concatenate([np.arange(b.start, b.stop)[:: len(chosen)] for b in chosen])
        for index, column in enumerate(self._columns):
            visitor.layer(index, column.read(rows))
        visitor.end(slice(0, 0))

    def stream(self, visitor: Visitor, *, start: int = 0, stop: int | None = None, step: int = 1) -> None:
        """Read the batches with numbers start, start + step, … below stop."""
        for rows in self.slices()[start:stop:step]:
            for index, column in enumerate(self._columns):
                visitor.layer(index, column.read(rows))
            visitor.end(rows)


def check_same_examples(stores: Sequence[tuple[str, Store]]) -> None:
    """Check that stores hold the same examples in the same order.

    By their sample identifiers where both of two have them, otherwise by the fingerprints of the data that the models
    were run on, batch by batch.

    Args:
        stores: Names and stores.

    Raises:
        InputError: They differ, or nothing tells; the message says how many differ and which is the first.
    """
    for name, store in stores:
        if store.n == 0:
            raise InputError(f"compare: {name} must hold at least one complete batch, got an empty store.")
    first_name, first = stores[0]
    for name, store in stores[1:]:
        pair = f"{first_name} and {name}"
        if first.settings.get("tokenizer") != store.settings.get("tokenizer"):
            raise InputError(
                f"compare: stores of single tokens must be made by one tokenizer, got two in {pair}. Capture with "
                "reduce='words' or 'characters', or sentences with reduce='mean'."
            )
        if store.n != first.n:
            unfinished = [n for n, s in ((first_name, first), (name, store)) if not s.complete]
            hint = f" {' and '.join(unfinished)} is not complete: finish capturing." if unfinished else ""
            raise InputError(
                f"compare: stores must hold the same examples, got {first.n} in {first_name} and {store.n} in {name}."
                + hint
            )
        if first.sample_ids is not None and store.sample_ids is not None:
            _check_identifiers(pair, first.sample_ids, store.sample_ids)
        else:
            _check_fingerprints(pair, first, store)


def _check_identifiers(pair: str, a: Sequence[Any], b: Sequence[Any]) -> None:
    if a == b:
        return
    differing = [i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
    count = len(differing) + abs(len(a) - len(b))
    where = differing[0] if differing else min(len(a), len(b))
    x, y = (repr(ids[where]) if where < len(ids) else "nothing" for ids in (a, b))
    order = " They are the same in another order." if sorted(map(repr, a)) == sorted(map(repr, b)) else ""
    raise InputError(
        f"compare: stores must hold the same samples in the same order, got {count} of {max(len(a), len(b))} sample "
        f"identifiers that differ between {pair}, the first at item {where}: {x} and {y}.{order} Capture both from one "
        "data set in one order."
    )


def _check_fingerprints(pair: str, a: Store, b: Store) -> None:
    rows = [[batch.rows for batch in store.batches] for store in (a, b)]
    remedy = "Capture both with the same batches of the same data set, or give its items identifiers (sample_ids)."
    if rows[0] != rows[1]:
        raise InputError(
            "compare: stores without sample identifiers must have the same batches, by which their data are told, "
            f"got {len(rows[0])} and {len(rows[1])} batches of {rows[0][0]} and {rows[1][0]} examples in {pair}. "
            + remedy
        )
    differing = [i for i, (x, y) in enumerate(zip(a.batches, b.batches, strict=True)) if x.fingerprint != y.fingerprint]
    if differing:
        raise InputError(
            f"compare: stores must be made from the same data, got {len(differing)} of {len(rows[0])} batches that "
            f"differ between {pair}, the first is batch {differing[0]}. {remedy}"
        )


def _layers(subject: Subject) -> dict[str, _Layer]:
    if subject.store is None:
        return {
            name: _Layer(int(x.shape[1]), str(x.dtype).removeprefix("torch."), held=x)
            for name, x in (subject.arrays or {}).items()
        }
    return {
        layer.name: _Layer(layer.features, layer.dtype, store=subject.store, name=layer.name)
        for layer in subject.store.layers
        if layer.name in subject.layers
    }
