"""What diagnostics keep of a stream of activations: sums over all examples, a few whole examples, nothing else.

The observer sees each activation beside those who compute the scores, so there is no further pass over the models or
the data. Of every example of a layer it takes four numbers (a length, two projections, a variance); of a random sample,
and of the examples that lie farthest out, it keeps the features, or two random sketches of them where they are many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from repscope.engine.partial import Arrays, Shard, with_prefix, without_prefix
from repscope.engine.products import native
from repscope.engine.reservoir import Reservoir, placed
from repscope.engine.stream import Source, Together, Visitor
from repscope.inference.record import FARTHEST, Integers, LayerRecord
from repscope.measures._arrays import Array

SAMPLE = 256
"""Examples whose features are kept, drawn at random: enough for the spectrum's large parts, small beside a batch."""

_EXAMPLES_USED = 8
"""One in so many of the examples is looked at as a whole (from 128 on), so that this costs little beside the scores."""

_LEAST_USED = 128

CANDIDATES = 1.25
"""Times as many examples as are used come into question for the sample, of a stream of known length; the others cost
nothing. That fewer do happens at most a few times in a thousand.
"""

LEDGER = 1 << 14
"""Examples of which four numbers are kept; a random sample, where there are more."""

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


class Observer:
    """Keeps of every layer what :mod:`repscope.inference.diagnostics` needs; a visitor of the stream.

    Args:
        names: Layer names.
        widths: Features of each layer.
        seed: For the sample, the sketches and the projections.
        expected: Examples of the whole stream, about; None where that is not known.
        shard: This process's share of the batches, or of the blocks of ``held_batches``.
        held_batches: Batches that are given out together.
    """

    def __init__(
        self,
        names: Sequence[str],
        widths: Sequence[int],
        *,
        seed: int = 0,
        expected: int | None = None,
        shard: Shard | None = None,
        held_batches: int = 1,
    ) -> None:
        self.names, self.widths, self.seed = tuple(names), tuple(int(w) for w in widths), seed
        self.shard, self.held_batches = shard or Shard(), held_batches
        self.layers = [
            LayerRecord(p, sketched_to=f, seed=(seed, i))
            for i, (p, f) in enumerate(zip(self.widths, _sketches(self.widths), strict=True))
        ]
        bound = 1.0
        if expected is not None:
            bound = min(1.0, CANDIDATES * self.examples_used(expected) / max(1, expected))
        self.sample, self.ledger = Reservoir(SAMPLE, bound=bound), Reservoir(LEDGER)
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

    def examples_used(self, n: int) -> int:
        """Examples of n, drawn at random, that are looked at as a whole."""
        sketched = any(layer.sketched_to for layer in self.layers)  # then nothing is exact, with however many
        return n if n <= SAMPLE and not sketched else min(n, SAMPLE, max(_LEAST_USED, n // _EXAMPLES_USED))

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
            self.sample_rows = placed(self.sample_rows, places, added + rows.start)
            self.ledger_rows = placed(self.ledger_rows, lines, listed + rows.start)
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
            "sample.bound": np.array(self.sample.bound),
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
            Reservoir(SAMPLE, arrays["sample.keys"], float(arrays["sample.bound"])),
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
        self.sample_rows = placed(self.sample_rows, places, other.sample_rows[added])
        self.ledger_rows = placed(self.ledger_rows, lines, other.ledger_rows[listed])
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.merge(theirs, added, places, listed, lines)
        self.n += other.n


def expected_bytes(widths: Sequence[int], n: int) -> float:
    """Memory that an observer of these layers takes for n examples."""
    kept, listed = min(SAMPLE, n) + min(FARTHEST, n), min(LEDGER, n)
    numbers = [2 * f or p for p, f in zip(widths, _sketches(widths), strict=True)]
    # Four sums, three directions and two signs for each feature; the examples of one layer once more on their way.
    held = sum(4 * kept * f + 16 * listed + 60 * p for p, f in zip(widths, numbers, strict=True))
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
    def rows_expected(self) -> int | None:
        """As of the source."""
        return self._source.rows_expected

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
