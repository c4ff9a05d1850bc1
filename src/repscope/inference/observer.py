"""What diagnostics keep of a stream of activations: sums over all examples, a few whole examples, nothing else.

The observer sees each activation beside those who compute the scores, so there is no further pass over the models or
the data. Of every example of a layer it takes four numbers (a length, two projections, a variance); of a random sample,
and of the examples that lie farthest out, it keeps the features, or two random sketches of them where they are many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.engine.partial import Arrays, Shard, with_prefix, without_prefix
from repscope.engine.products import native, to_numpy
from repscope.engine.reservoir import Reservoir
from repscope.engine.stream import Source, Together, Visitor
from repscope.engine.tiles import typical_example
from repscope.measures._arrays import Array, squared_lengths

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]

SAMPLE = 256
"""Examples whose features are kept, drawn at random: enough for the spectrum's large parts, small beside a batch."""

LEDGER = 1 << 14
"""Examples of which four numbers are kept; a random sample, where there are more."""

FARTHEST = 32
"""Examples kept because they lie farthest from the others."""

FARTHEST_SHARE = 0.01
"""Of all examples, at least one, that count as the farthest."""

BYTES = 32 << 20
"""Memory for the features of those examples in all layers together."""

_FEATURES = 4096
"""Features of an example that are kept as they are, where the memory allows it; of more, two sketches half as long."""

_FEWEST_SKETCHED = 128
"""Numbers a sketch has at least, however many layers share the memory."""

_ALIGNED = 64
"""Numbers in a sketch are a multiple of this; BLAS is up to ten times slower on rows that begin anywhere."""

_FIRST = 32
"""Examples that the place and the constant features are first looked for in."""

_OFFSET = 10.0
"""Squared length of the mean over the spread around it, from which on features are shifted before they are squared.

Below, the difference of the two costs one digit of single precision, and a copy of the activations is saved.
"""


class Observer:
    """Keeps of every layer what :mod:`repscope.inference.diagnostics` needs; a visitor of the stream.

    Args:
        names: Layer names.
        widths: Features of each layer.
        seed: For the sample, the sketches and the projections.
        shard: This process's share of the batches, or of the blocks of ``held_batches``.
        held_batches: Batches that are given out together.
    """

    def __init__(
        self,
        names: Sequence[str],
        widths: Sequence[int],
        *,
        seed: int = 0,
        shard: Shard | None = None,
        held_batches: int = 1,
    ) -> None:
        self.names, self.widths, self.seed = tuple(names), tuple(int(w) for w in widths), seed
        self.shard, self.held_batches = shard or Shard(), held_batches
        self.layers = [
            LayerRecord(p, sketched_to=f, seed=(seed, i))
            for i, (p, f) in enumerate(zip(self.widths, _sketches(self.widths), strict=True))
        ]
        self.sample, self.ledger = Reservoir(SAMPLE), Reservoir(LEDGER)
        self.sample_rows, self.ledger_rows = np.empty(0, np.int64), np.empty(0, np.int64)
        self.n = 0
        self.seen = -1  # the last batch
        self._batch, self._step = 0, 1
        self._places: tuple[Integers, ...] | None = None

    def fit(self, source: Source) -> None:
        """Look at examples that every process sees alike, unless the stream begins with them."""
        if self.shard.count > 1 or not source.peeks_at_first_batch:
            with np.errstate(all="ignore"):
                source.peek(_Fitting(self.layers))

    def of_stream(self, source: Source, visitors: Sequence[Visitor] = ()) -> None:
        """Run through all that is this process's share of the stream, together with others who look at it."""
        self.fit(source)
        start, step = self.shard.index, self.shard.count
        self.begin(start, step)
        source.stream(Together([self, *visitors]), start=start, step=step)

    def begin(self, start: int = 0, step: int = 1) -> None:
        """A stream begins that shows the batches start, start + step, …; those seen before are passed over."""
        self._batch, self._step, self._places = start, step, None

    @property
    def _wanted(self) -> bool:
        return self._batch > self.seen and self.shard.owns(self._batch // self.held_batches)

    def layer(self, index: int, x: Array) -> None:
        """Look at one layer."""
        if not self._wanted:
            return
        x = native(x)
        if self._places is None:
            keys = np.random.default_rng([self.seed, self._batch]).random(x.shape[0])
            self._places = (*self.sample.offer(keys), *self.ledger.offer(keys))
        with np.errstate(all="ignore"):  # NaN and infinity are for those to refuse who compute the scores
            self.layers[index].update(x, *self._places)

    def end(self, rows: slice) -> None:
        """The batch is over."""
        if self._wanted and self._places is not None:
            added, places, listed, lines = self._places
            self.sample_rows = _placed(self.sample_rows, places, added + rows.start)
            self.ledger_rows = _placed(self.ledger_rows, lines, listed + rows.start)
            for layer in self.layers:
                layer.name_rows(rows.start)
            self.n += rows.stop - rows.start
            self.seen = self._batch
        self._batch += self._step
        self._places = None

    # -- work that is divided ----------------------------------------------------------------------------------

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All of it as plain arrays, to be saved or sent."""
        found: dict[str, npt.NDArray[Any]] = {
            "counts": np.array([self.n, self.seen, self.seed, self.held_batches]),
            "widths": np.array(self.widths),
            "sample.keys": self.sample.keys,
            "sample.rows": self.sample_rows,
            "ledger.keys": self.ledger.keys,
            "ledger.rows": self.ledger_rows,
        }
        for index, layer in enumerate(self.layers):
            found |= with_prefix(f"layer{index}.", layer.arrays(self.sample.keys.size, self.ledger.keys.size))
        return found

    @classmethod
    def from_arrays(cls, arrays: Arrays, names: Sequence[str], shard: Shard | None = None) -> Self:
        """The inverse of :meth:`arrays`."""
        n, seen, seed, held_batches = (int(v) for v in arrays["counts"])
        observer = cls(names, [int(w) for w in arrays["widths"]], seed=seed, shard=shard, held_batches=held_batches)
        observer.n, observer.seen = n, seen
        observer.sample, observer.ledger = (
            Reservoir(SAMPLE, arrays["sample.keys"]),
            Reservoir(LEDGER, arrays["ledger.keys"]),
        )
        observer.sample_rows, observer.ledger_rows = arrays["sample.rows"], arrays["ledger.rows"]
        for index, layer in enumerate(observer.layers):
            layer.restore(without_prefix(f"layer{index}.", arrays))
        return observer

    def merge(self, other: Self) -> None:
        """Add what another process has seen of other batches."""
        added, places = self.sample.offer(other.sample.keys)
        listed, lines = self.ledger.offer(other.ledger.keys)
        self.sample_rows = _placed(self.sample_rows, places, other.sample_rows[added])
        self.ledger_rows = _placed(self.ledger_rows, lines, other.ledger_rows[listed])
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.merge(theirs, added, places, listed, lines)
        self.n += other.n


def expected_bytes(widths: Sequence[int], n: int) -> float:
    """Memory that an observer of these layers takes for n examples."""
    kept, listed = min(SAMPLE, n) + min(FARTHEST, n), min(LEDGER, n)
    numbers = [2 * f or p for p, f in zip(widths, _sketches(widths), strict=True)]
    # Four sums and three directions for each feature; the examples of one layer once more on their way.
    held = sum(4 * kept * f + 16 * listed + 52 * p for p, f in zip(widths, numbers, strict=True))
    return float(held + 4 * kept * max(widths))


def _sketches(widths: Sequence[int]) -> list[int]:
    """Numbers in a sketch of each layer, 0 where features are kept as they are."""
    room = min(_FEATURES, BYTES // (4 * (SAMPLE + FARTHEST) * len(widths)))
    return [0 if p <= room else max(_FEWEST_SKETCHED, room // 2 & -_ALIGNED) for p in widths]


class _Fitting:
    """Fixes the axes of every layer on the examples that it is shown."""

    def __init__(self, layers: Sequence[LayerRecord]) -> None:
        self.layers = layers

    def layer(self, index: int, x: Array) -> None:
        self.layers[index].fit(native(x))

    def end(self, rows: slice) -> None:
        pass


class Watched:
    """A source whose batches the observer sees as they go by."""

    def __init__(self, source: Source, observer: Observer) -> None:
        self._source, self._observer = source, observer

    @property
    def names(self) -> Sequence[str]:
        """Layer names."""
        return self._source.names

    @property
    def widths(self) -> Sequence[int]:
        """Features of each layer."""
        return self._source.widths

    @property
    def n(self) -> int:
        """Number of examples."""
        return self._source.n

    @property
    def peeks_at_first_batch(self) -> bool:
        """As of the source."""
        return self._source.peeks_at_first_batch

    def peek(self, visitor: Visitor) -> None:
        """As the source does."""
        self._source.peek(visitor)

    def stream(self, visitor: Visitor, *, start: int = 0, stop: int | None = None, step: int = 1) -> None:
        """As the source does, before the observer's eyes."""
        self._observer.begin(start, step)
        # First the observer: a checkpoint that the other writes at a batch's end has this batch in it.
        self._source.stream(Together([self._observer, visitor]), start=start, stop=stop, step=step)


@dataclass
class _Axes:
    """What the examples of one layer are projected on, fixed at its first batch.

    Attributes:
        shift: A typical example (1, p).
        shifted: Whether features are shifted before they are squared.
        directions: Ones, the shift less its mean, random signs (p, 3), in the library of the activations.
        placed: The shift in that library.
    """

    shift: Floats
    shifted: bool
    directions: Array
    placed: Array


class LayerRecord:
    """What is kept of one layer.

    Attributes:
        width: Features p.
        sketched_to: Numbers in each of two independent sketches of an example; 0 where its features are kept.
        n: Examples seen.
        sample: Features or sketches (m, f) of the sampled examples, less the shift.
        ledger: Squared distance from the shift, projections on ones and on random signs, and variance over the
            features (N, 4) of the listed examples.
        far: Squared distance from the shift (k,) of the examples farthest from it, ``far_rows`` their rows and
            ``far_features`` their features or sketches.
        columns: Count, and for each feature the sum, sum of squares, highest and lowest, less the shift, over the
            examples that were sampled or farthest at some time.
        constant: Indices of features that have had one value so far, and these values.
    """

    def __init__(self, width: int, *, sketched_to: int, seed: tuple[int, int]) -> None:
        self.width, self.sketched_to, self.seed = width, sketched_to, seed
        f = 2 * sketched_to or width
        self.n = 0
        self.sample = np.empty((0, f), np.float32)
        self.ledger = np.empty((0, 4), np.float32)
        self.far, self.far_rows = np.empty(0), np.empty(0, np.int64)
        self.far_features = np.empty((0, f), np.float32)
        self.columns = np.zeros((4, width))
        self.columns[2], self.columns[3] = -math.inf, math.inf
        self.gathered = 0
        self.constant: Integers = np.empty(0, np.int64)
        self.constants: Floats = np.empty(0)
        self.axes: _Axes | None = None
        self._new_far = np.empty(0, bool)

    @property
    def shift(self) -> Floats:
        """The typical example (p,) that all features are taken relative to."""
        assert self.axes is not None
        place: Floats = self.axes.shift[0]
        return place

    def fit(self, x: Array) -> None:
        """Fix the axes on some examples (b, p)."""
        xp = array_api_compat.array_namespace(x)
        first = x[:: -(-x.shape[0] // _FIRST), :]
        typical = typical_example(xp, first)
        shift = _numbers(typical)
        spread = float(xp.mean(squared_lengths(first - typical)))
        self._set_axes(xp, x, shift, not float(np.vdot(shift, shift)) <= _OFFSET * spread)

    def _set_axes(self, xp: Any, x: Array, shift: Floats, shifted: bool) -> None:
        directions = np.stack([np.ones(self.width), shift[0] - shift.mean(), self._signs(0)], axis=1)
        device = array_api_compat.device(x)
        placed = xp.astype(xp.asarray(shift, device=device), x.dtype)
        self.axes = _Axes(shift, shifted, xp.astype(xp.asarray(directions, device=device), x.dtype), placed)

    def update(self, x: Array, added: Integers, places: Integers, listed: Integers, lines: Integers) -> None:
        """Add a batch (b, p): ``added`` go into the sample at these places, ``listed`` into the ledger at these."""
        xp = array_api_compat.array_namespace(x)
        if self.axes is None:
            self.fit(x)
        assert self.axes is not None
        self._look_for_constants(xp, x)
        lengths, entries = self._numbers(x)
        self.ledger = _placed(self.ledger, lines, entries[listed])
        self.n += int(x.shape[0])
        outer = self._outermost(lengths)
        gathered = np.union1d(added, outer)
        if not gathered.size:
            self._new_far = np.zeros(self.far.size, bool)
            return
        rows = _numbers(xp.take(x, xp.asarray(gathered, device=array_api_compat.device(x)), axis=0))
        rows = (rows - self.axes.shift).astype(np.float32)
        self._add_columns(rows)
        features = rows if not self.sketched_to else self._sketched(rows)
        self.sample = _placed(self.sample, places, features[np.searchsorted(gathered, added)])
        self._add_far(lengths[outer], outer, features[np.searchsorted(gathered, outer)])

    def name_rows(self, start: int) -> None:
        """Rows of the batch that was added last become rows of the data set."""
        self.far_rows[self._new_far] += start
        self._new_far = np.zeros(self.far.size, bool)

    # -- the parts of an update --------------------------------------------------------------------------------

    def _numbers(self, x: Array) -> tuple[Floats, Floats]:
        """Squared distances (b,) from the shift, and the entries of the ledger (b, 4)."""
        axes = self.axes
        assert axes is not None
        p, shift, mean = self.width, axes.shift[0].astype(np.float64), float(axes.shift.mean(dtype=np.float64))
        y = x - axes.placed if axes.shifted else x
        squares = to_numpy(squared_lengths(y))
        ones, along, signs = to_numpy(y @ axes.directions).T
        if axes.shifted:
            lengths = squares
            # The features are y + shift; neither the mean of the shift nor that of y varies over the features.
            variance = squares - ones * ones / p + 2 * along + float(((shift - mean) ** 2).sum())
        else:
            lengths = squares - 2 * (along + mean * ones) + float(shift @ shift)
            variance = squares - ones * ones / p
        lengths = np.maximum(lengths, 0.0)
        return lengths, np.stack([lengths, ones, signs, np.maximum(variance, 0.0)], axis=1).astype(np.float32)

    def _outermost(self, lengths: Floats) -> Integers:
        """Examples of the batch that are among the farthest so far, in the order of their rows."""
        full = self.far.size >= FARTHEST
        outer = np.flatnonzero(lengths > self.far.min()) if full else np.arange(lengths.size)
        if outer.size > FARTHEST:
            outer = np.sort(outer[np.argpartition(lengths[outer], -FARTHEST)[-FARTHEST:]])
        return outer

    def _add_far(self, lengths: Floats, rows: Integers, features: Floats) -> None:
        new = np.concatenate([np.zeros(self.far.size, bool), np.ones(lengths.size, bool)])
        self.far = np.concatenate([self.far, lengths])
        self.far_rows = np.concatenate([self.far_rows, rows])
        self.far_features = np.concatenate([self.far_features, features])
        if self.far.size > FARTHEST:
            kept = np.argsort(-self.far, kind="stable")[:FARTHEST]
            new, self.far, self.far_rows = new[kept], self.far[kept], self.far_rows[kept]
            self.far_features = self.far_features[kept]
        self._new_far = new

    def _add_columns(self, rows: Floats) -> None:
        self.gathered += len(rows)
        self.columns[0] += rows.sum(axis=0)
        self.columns[1] += np.einsum("ij,ij->j", rows, rows)
        np.maximum(self.columns[2], rows.max(axis=0), out=self.columns[2])
        np.minimum(self.columns[3], rows.min(axis=0), out=self.columns[3])

    def _look_for_constants(self, xp: Any, x: Array) -> None:
        if self.n == 0:
            few = x[:_FIRST, :]
            same = xp.all(few == few[:1, :], axis=0)
            self.constant = np.flatnonzero(np.asarray(same.cpu() if hasattr(same, "cpu") else same))
            self.constants = _numbers(x[0, :])[self.constant]
        if not self.constant.size:
            return
        columns = xp.take(x, xp.asarray(self.constant, device=array_api_compat.device(x)), axis=1)
        kept = (_numbers(columns) == self.constants).all(axis=0)
        self.constant, self.constants = self.constant[kept], self.constants[kept]

    def _sketched(self, rows: Floats) -> Floats:
        """Two sketches (b, 2f) of features (b, p): each adds up, with random signs, every f-th of them.

        Products of sketches are products of the features on average over the signs (Charikar et al. 2002), and those
        of two independent sketches may be multiplied where squares of products are wanted.
        """
        f = self.sketched_to
        sketch = np.zeros((len(rows), 2 * f), np.float32)
        for half in (0, 1):
            signs = self._signs(1 + half)
            part = sketch[:, half * f : (half + 1) * f]
            for start in range(0, self.width, f):
                block = slice(start, min(start + f, self.width))
                part[:, : block.stop - block.start] += rows[:, block] * signs[block]
        return sketch

    # -- work that is divided ----------------------------------------------------------------------------------

    def arrays(self, sampled: int, listed: int) -> dict[str, npt.NDArray[Any]]:
        """All of it as plain arrays."""
        if self.axes is None:
            return {"counts": np.zeros(2)}
        return {
            "counts": np.array([self.n, self.gathered]),
            "shift": self.axes.shift,
            "shifted": np.array(self.axes.shifted),
            "sample": self.sample[:sampled],
            "ledger": self.ledger[:listed],
            "far": self.far,
            "far_rows": self.far_rows,
            "far_features": self.far_features,
            "columns": self.columns,
            "constant": self.constant,
            "constants": self.constants,
        }

    def restore(self, arrays: Arrays) -> None:
        """Take over what :meth:`arrays` gave."""
        self.n, self.gathered = (int(v) for v in arrays["counts"])
        if self.n == 0:
            return
        self._set_axes(np, arrays["shift"], arrays["shift"], bool(arrays["shifted"]))
        for name in ("sample", "ledger", "far", "far_rows", "far_features", "columns", "constant", "constants"):
            setattr(self, name, arrays[name])
        self._new_far = np.zeros(self.far.size, bool)

    def merge(self, other: Self, added: Integers, places: Integers, listed: Integers, lines: Integers) -> None:
        """Add what another process has kept of other examples, ``added`` and ``listed`` of them at these places."""
        if other.n == 0:
            return
        if self.axes is None:
            self.axes = other.axes
        same = np.isin(self.constant, other.constant) if self.n else np.empty(0, bool)
        if self.n:
            theirs = other.constants[np.searchsorted(other.constant, self.constant[same])]
            kept = np.flatnonzero(same)[self.constants[same] == theirs]
            self.constant, self.constants = self.constant[kept], self.constants[kept]
        else:
            self.constant, self.constants = other.constant, other.constants
        self.n += other.n
        self.gathered += other.gathered
        self.columns[:2] += other.columns[:2]
        np.maximum(self.columns[2], other.columns[2], out=self.columns[2])
        np.minimum(self.columns[3], other.columns[3], out=self.columns[3])
        self.sample = _placed(self.sample, places, other.sample[added])
        self.ledger = _placed(self.ledger, lines, other.ledger[listed])
        self._add_far(other.far, other.far_rows, other.far_features)
        self._new_far = np.zeros(self.far.size, bool)

    def _signs(self, number: int) -> Floats:
        return _signs(self.width, (*self.seed, number))


def _signs(width: int, seed: tuple[int, ...]) -> Floats:
    """Random signs (p,)."""
    bits = np.random.default_rng(seed).integers(0, 2, width, dtype=np.int8)
    return (2 * bits - 1).astype(np.float32)


def _numbers(x: Array) -> Floats:
    """An array on the host, in its own precision."""
    return np.asarray(x.cpu() if array_api_compat.is_torch_array(x) else x.get() if hasattr(x, "get") else x)


def _placed(held: npt.NDArray[Any], places: Integers, new: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``held`` with the new rows at these places, enlarged where they lie behind its end."""
    short = int(places.max(initial=-1)) + 1 - len(held)
    if short > 0:
        held = np.concatenate([held, np.empty((short, *held.shape[1:]), held.dtype)])
    held[places] = new
    return held
