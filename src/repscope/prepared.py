"""Layers prepared for measures that score them pair by pair, and these scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from repscope._progress import track
from repscope.assembly import about, check_count
from repscope.engine.accumulate import Matrix
from repscope.engine.stream import ArraySource
from repscope.measures._decomposition import Decomposition, decompose
from repscope.measures._messages import preparing
from repscope.measures.measure import ConfiguredMeasure


@dataclass
class PreparedLayers:
    """What several measures share: one preparation, and one decomposition, for each layer.

    Attributes:
        progress: Show a bar; None: where stderr is a terminal.
        shares_decompositions: Several of the measures start from a layer's decomposition.
    """

    progress: bool | None
    shares_decompositions: bool = False
    _states: dict[tuple[Any, int], Any] = field(default_factory=dict, init=False, repr=False)
    _decompositions: dict[int, Decomposition] = field(default_factory=dict, init=False, repr=False)

    def of(self, measure: ConfiguredMeasure, source: ArraySource, needed: Sequence[int]) -> dict[int, Any]:
        """These layers, prepared for a measure; those that another measure has had prepared alike are taken over."""
        check_count(source.n, measure.facts.minimum_examples)
        key = measure.preparation
        for i in track(needed, f"Preparing {measure.id}", total=len(needed), show=self.progress):
            if (key, i) not in self._states:
                with about(source.names[i]), preparing("compare", source.names[i]):
                    self._states[key, i] = self._prepare(measure, source, i)
        return {i: self._states[key, i] for i in needed}

    def keep(self, preparations: Collection[Any]) -> None:
        """Forget layers that were prepared in any other way."""
        self._states = {key: state for key, state in self._states.items() if key[0] in preparations}

    def scores(
        self,
        measure: ConfiguredMeasure,
        source: ArraySource,
        states: Mapping[int, Any],
        rows: Sequence[int],
        columns: Sequence[int],
        wanted: npt.NDArray[np.bool_] | None = None,
    ) -> Matrix:
        """The scores of all pairs of prepared layers (rows, columns), or of those wanted, and NaN elsewhere."""
        values = np.full((len(rows), len(columns)), np.nan)
        symmetric = measure.facts.symmetric and rows == columns
        todo = [
            (r, c)
            for r in range(len(rows))
            for c in range(len(columns))
            if (not symmetric or r <= c) and (wanted is None or wanted[r, c])
        ]
        for r, c in track(todo, f"Scoring {measure.id}", total=len(todo), show=self.progress):
            with about(f"{source.names[rows[r]]} × {source.names[columns[c]]}"):
                values[r, c] = float(measure.score(states[rows[r]], states[columns[c]]))
            if symmetric:
                values[c, r] = values[r, c]
        return values

    def _prepare(self, measure: ConfiguredMeasure, source: ArraySource, layer: int) -> Any:
        if not (measure.measure.decomposes and self.shares_decompositions):
            return measure.prepare(source.arrays[layer])
        if layer not in self._decompositions:
            self._decompositions[layer] = decompose(source.arrays[layer])
        return measure.prepare(source.arrays[layer], decomposition=self._decompositions[layer])


def correspond(layers: Sequence[Sequence[str]]) -> npt.NDArray[np.bool_]:
    """Which pairs of layers of all models (L, L) have one name or one place, or belong to the first two models.

    The one layer of a model that has no more corresponds to all.

    Args:
        layers: Layer names of each model.
    """
    known = [
        (model, place, name, len(names) == 1) for model, names in enumerate(layers) for place, name in enumerate(names)
    ]

    def alike(one: tuple[int, int, str, bool], other: tuple[int, int, str, bool]) -> bool:
        first_two = {one[0], other[0]} == {0, 1}
        return first_two or one[1] == other[1] or one[2] == other[2] or one[3] or other[3]

    return np.array([[alike(one, other) for other in known] for one in known])
