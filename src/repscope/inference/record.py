"""What diagnostics keep of one layer: four numbers of each example, and the features of a few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import array_api_compat
import numpy as np
import numpy.typing as npt

from repscope.engine.partial import Arrays
from repscope.engine.products import to_numpy
from repscope.engine.reservoir import placed
from repscope.engine.tiles import typical_example
from repscope.inference.passes import Columns, Floats, features_of, lengths_and_projections
from repscope.measures._arrays import Array, on_the_host, squared_lengths

Integers = npt.NDArray[np.int64]

FARTHEST = 32
"""Examples kept because they lie farthest from the others."""

_FIRST = 32
"""Examples that the place and the constant features are first looked for in."""

_OFFSET = 10.0
"""Squared length of the mean over the spread around it, from which on features are shifted before they are squared.

Below, the difference of the two costs one digit of single precision, and a copy of the activations is saved.
"""

_PLAIN = 1e12
"""Size of the features up to which, and down to whose inverse, their squares are far from the ends of single precision.
Others are divided by a power of two first."""


@dataclass
class _Axes:
    """What the examples of one layer are projected on, fixed at its first batch.

    Attributes:
        unit: What features are divided by: 1, or a power of two.
        shift: A typical example (1, p).
        shifted: Whether features are shifted before they are squared.
        directions: Ones, the shift less its mean, random signs (3, p), in the library of the activations.
        placed: The shift in that library.
    """

    unit: float
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
        columns: Sums and extremes of each feature, less the shift, over the examples that were sampled or farthest at
            some time.
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
        self.columns = Columns.empty(width)
        self.constant: Integers = np.empty(0, np.int64)
        self.constants: Floats = np.empty(0)
        self.axes: _Axes | None = None
        self._sketching: tuple[Floats, ...] = ()
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
        unit = _unit(float(xp.max(xp.abs(first))))
        first = first / unit
        typical = typical_example(xp, first)
        shift = on_the_host(typical)
        spread = float(xp.mean(squared_lengths(first - typical)))
        self._set_axes(xp, x, unit, shift, not float(np.vdot(shift, shift)) <= _OFFSET * spread)

    def _set_axes(self, xp: Any, x: Array, unit: float, shift: Floats, shifted: bool) -> None:
        directions = np.stack([np.ones(self.width), shift[0] - shift.mean(), self._signs(0)])
        device = array_api_compat.device(x)
        placed = xp.astype(xp.asarray(shift, device=device), x.dtype)
        self.axes = _Axes(unit, shift, shifted, xp.astype(xp.asarray(directions, device=device), x.dtype), placed)

    def update(self, x: Array, added: Integers, places: Integers, listed: Integers, lines: Integers) -> None:
        """Add a batch (b, p): ``added`` go into the sample at these places, ``listed`` into the ledger at these."""
        xp = array_api_compat.array_namespace(x)
        if self.axes is None:
            self.fit(x)
        assert self.axes is not None
        if self.axes.unit != 1.0:
            x = x / self.axes.unit
        self._look_for_constants(xp, x)
        lengths, entries = self._numbers(x)
        self.ledger = placed(self.ledger, lines, entries[listed])
        self.n += int(x.shape[0])
        outer = self._outermost(lengths)
        gathered = np.union1d(added, outer)
        if not gathered.size:
            self._new_far = np.zeros(self.far.size, bool)
            return
        features = self._features(xp, x, gathered)
        self.sample = placed(self.sample, places, features[np.searchsorted(gathered, added)])
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
        if isinstance(x, np.ndarray):
            place = axes.placed if axes.shifted else None
            squares, projections = lengths_and_projections(x, place, axes.directions)
        else:
            y = x - axes.placed if axes.shifted else x
            squares, projections = to_numpy(squared_lengths(y)), to_numpy(axes.directions @ y.T)
        ones, along, signs = projections
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

    def _look_for_constants(self, xp: Any, x: Array) -> None:
        if self.n == 0:
            few = x[:_FIRST, :]
            same = xp.all(few == few[:1, :], axis=0)
            self.constant = np.flatnonzero(on_the_host(same))
            self.constants = on_the_host(x[0, :])[self.constant]
        if not self.constant.size:
            return
        columns = xp.take(x, xp.asarray(self.constant, device=array_api_compat.device(x)), axis=1)
        kept = (on_the_host(columns) == self.constants).all(axis=0)
        self.constant, self.constants = self.constant[kept], self.constants[kept]

    def _features(self, xp: Any, x: Array, gathered: Integers) -> Floats:
        """Features or sketches (m, f) of these examples of the batch, less the shift; :attr:`columns` gains them."""
        assert self.axes is not None
        rows = None if gathered.size == x.shape[0] else gathered
        if not isinstance(x, np.ndarray):
            if rows is not None:
                x = xp.take(x, xp.asarray(rows, device=array_api_compat.device(x)), axis=0)
            x, rows = on_the_host(x), None
        if self.sketched_to and not self._sketching:
            self._sketching = (self._signs(1), self._signs(2))
        return features_of(x, rows, self.axes.shift, self.columns, self._sketching, self.sketched_to)

    # -- work that is divided ----------------------------------------------------------------------------------

    def arrays(self, sampled: int, listed: int) -> dict[str, npt.NDArray[Any]]:
        """All of it as plain arrays."""
        if self.axes is None:
            return {"counts": np.zeros(2)}
        c = self.columns
        return {
            "counts": np.array([self.n, self.columns.count]),
            "unit": np.array(self.axes.unit),
            "shift": self.axes.shift,
            "shifted": np.array(self.axes.shifted),
            "sample": self.sample[:sampled],
            "ledger": self.ledger[:listed],
            "far": self.far,
            "far_rows": self.far_rows,
            "far_features": self.far_features,
            "columns": np.stack([c.sums, c.squares, c.highest, c.lowest]),
            "constant": self.constant,
            "constants": self.constants,
        }

    def restore(self, arrays: Arrays) -> None:
        """Take over what :meth:`arrays` gave."""
        self.n, gathered = (int(v) for v in arrays["counts"])
        if self.n == 0:
            return
        self._set_axes(np, arrays["shift"], float(arrays["unit"]), arrays["shift"], bool(arrays["shifted"]))
        sums, squares, highest, lowest = arrays["columns"]
        self.columns = Columns(gathered, sums, squares, highest.astype(np.float32), lowest.astype(np.float32))
        for name in ("sample", "ledger", "far", "far_rows", "far_features", "constant", "constants"):
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
        self.columns.merge(other.columns)
        self.sample = placed(self.sample, places, other.sample[added])
        self.ledger = placed(self.ledger, lines, other.ledger[listed])
        self._add_far(other.far, other.far_rows, other.far_features)
        self._new_far = np.zeros(self.far.size, bool)

    def _signs(self, number: int) -> Floats:
        return _signs(self.width, (*self.seed, number))


def _unit(largest: float) -> float:
    """What features of this size are divided by."""
    if not 0 < largest < np.inf or 1 / _PLAIN < largest < _PLAIN:
        return 1.0
    return float(2.0 ** np.floor(np.log2(largest)))


def _signs(width: int, seed: tuple[int, ...]) -> Floats:
    """Random signs (p,)."""
    bits = np.random.default_rng(seed).integers(0, 2, width, dtype=np.int8)
    return (2 * bits - 1).astype(np.float32)
