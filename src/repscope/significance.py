"""Permutation tests of whole comparisons: any measure, any number of layers, and the most similar of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from repscope.comparison import Comparison
from repscope.errors import InputError
from repscope.measures._messages import is_real, is_whole

_FEWEST = 19
"""Permutations that can give a p-value of 0.05."""

_TIES = 1e-6
"""Scores that differ by less of their spread are the same: rounding must not tell equal permutations apart."""


@dataclass(frozen=True)
class BestMatch:
    """The most similar layer of one layer, against what the search for it finds among unrelated ones.

    Attributes:
        row: Layer on the rows, or the model's name and the layer's where there are several models.
        column: Its most similar layer on the columns; the other way round for ``axis="columns"``.
        value: Their score.
        chance: Mean, over the permutations, of the best score that the same search finds.
        threshold: Score that such a search exceeds with probability alpha at most.
        p_value: Probability that it finds as good a score.
        calibrated: (value − threshold)/(best − threshold), 0 below the threshold.
    """

    row: str
    column: str
    value: float
    chance: float
    threshold: float
    p_value: float
    calibrated: float


@dataclass(frozen=True)
class PermutationTest:
    """Scores of all pairs of layers, and of the same with the examples of one side in other orders.

    Attributes:
        comparison: The scores with ``null_mean``, ``null_sd``, ``p_values`` and ``calibrated`` from the permutations.
        null: The scores of every permutation (K, rows, columns); one permutation moves all layers.
        complete: Whether these are all n! permutations, so that the p values are exact.
    """

    comparison: Comparison
    null: npt.NDArray[np.float64]
    complete: bool

    def calibrated(self, alpha: float = 0.05) -> npt.NDArray[np.float64]:
        """Scores on a scale where 0 is all that chance reaches and 1 the best score (rows, columns).

        max((s − τ)/(best − τ), 0), with τ the ⌈(1 − α)(K + 1)⌉-th of the score and its K permutations (Gröger et al.
        2026).

        Raises:
            InputError: For an alpha outside (0, 1), or too small for this number of permutations; for a measure
                without a best score.
        """
        values, null, best = self._oriented("calibrated")
        threshold = self._threshold("calibrated", values, null, alpha)
        return _above(values, threshold, best)

    def best_matches(self, axis: Literal["rows", "columns"] = "rows", alpha: float = 0.05) -> list[BestMatch]:
        """The most similar layer of each, judged as the outcome of a search.

        The best of many unrelated layers scores more than one of them. So each permutation moves the examples of all
        layers alike, and the search is made anew. A layer is not its own match.

        Args:
            axis: ``"columns"`` gives for each column layer the most similar row layer.
            alpha: For the thresholds.

        Returns:
            One match a layer, without those whose scores are all NaN.

        Raises:
            InputError: As for :meth:`calibrated`.
        """
        if axis not in ("rows", "columns"):
            raise InputError(f"PermutationTest.best_matches: axis must be 'rows' or 'columns', got {axis!r}.")
        values, null, best = self._oriented("best_matches")
        rows, columns = _names(self.comparison, "row"), _names(self.comparison, "column")
        same = (np.array(rows)[:, None] == np.array(columns)[None, :]) & (
            np.array(self.comparison.row_models)[:, None] == np.array(self.comparison.column_models)[None, :]
        )
        values, null = np.where(same, np.nan, values), np.where(same, np.nan, null)
        if axis == "columns":
            values, null, rows, columns = values.T, null.transpose(0, 2, 1), columns, rows
        seen = ~np.isnan(values).all(axis=1)
        filled, null = np.where(np.isnan(values), -np.inf, values), np.where(np.isnan(null), -np.inf, null)
        top, found = filled.max(axis=1), null.max(axis=2)
        threshold = self._threshold("best_matches", top[seen], found[:, seen], alpha)
        p_values = self._p_values(top[seen], found[:, seen])
        above = _above(top[seen], threshold, best)
        sign = self._sign
        return [
            BestMatch(
                rows[i],
                columns[int(filled[i].argmax())],
                sign * float(top[i]),
                sign * float(found[:, i].mean()),
                sign * float(threshold[k]),
                float(p_values[k]),
                float(above[k]),
            )
            for k, i in enumerate(np.flatnonzero(seen).tolist())
        ]

    @property
    def _sign(self) -> float:
        """Turns scores so that more is more alike."""
        return 1.0 if self.comparison.kind == "similarity" else -1.0

    def _oriented(self, method: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
        sign = self._sign
        best = sign * self.comparison.range[1 if sign > 0 else 0]
        if math.isinf(best):
            raise InputError(
                f"PermutationTest.{method}: the measure must have a best score, got {self.comparison.label}, which is "
                "unbounded. Use cka, or the p values of the comparison."
            )
        return sign * self.comparison.values, sign * self.null, best

    def _threshold(
        self, method: str, values: npt.NDArray[np.float64], null: npt.NDArray[np.float64], alpha: float
    ) -> npt.NDArray[np.float64]:
        from repscope.inference.permutation import order_statistic

        scores = null if self.complete else np.concatenate([values[None], null])
        if not is_real(alpha) or not 1 / len(scores) <= alpha < 1:
            raise InputError(
                f"PermutationTest.{method}: alpha must be from {1 / len(scores):.3g} (one of {len(scores)} scores) to "
                f"1, got {alpha}. Draw more permutations, or choose a larger alpha."
            )
        return order_statistic(scores, alpha)

    def _p_values(self, values: npt.NDArray[np.float64], null: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        reached = (null >= values - _TIES * null.std(axis=0)).sum(axis=0)
        found = reached / len(null) if self.complete else (1 + reached) / (1 + len(null))
        return np.where(np.isnan(values), np.nan, found)


def permutation_test(
    a: Any, b: Any = None, *, permutations: int = 1000, seed: int = 0, **settings: Any
) -> PermutationTest:
    """Compare the layers of networks, and say how often re-paired examples score as much.

    Each permutation moves the examples of the second side, those of all its layers alike, and all pairs of layers are
    scored anew from what was prepared of them. Where n! is no more than ``permutations``, all are tried, and the
    p values are exact; else they are (1 + #{as much}) / (1 + permutations) (Phipson & Smyth 2010). Any measure will
    do; for HSIC, CKA and R² :func:`compare` gives p values without permutations.

    Args:
        a: As for :func:`compare`.
        b: As for :func:`compare`.
        permutations: How many are drawn.
        seed: For the drawing, and as for :func:`compare`.
        **settings: All other arguments of :func:`compare` but ``pairs`` and ``checkpoint``, with one measure. Layers
            are held in memory, and so are the Gram matrices of measures that have them.

    Returns:
        A :class:`PermutationTest`.

    Raises:
        InputError: As for :func:`compare`; for fewer than 19 permutations; where the matrices do not fit the memory.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((40, 6))
        >>> test = permutation_test({"x": x}, {"same": x[:, ::-1], "other": rng.standard_normal((40, 9))})
        >>> test.comparison.p_values.round(3)[0, 0]
        np.float64(0.001)
    """
    from repscope.compare import _settle

    if not is_whole(permutations) or permutations < _FEWEST:
        raise InputError(
            f"permutation_test: permutations must be a whole number from {_FEWEST} on, got {permutations!r}. Fewer "
            "cannot give a p value of 0.05; 1000 are usual."
        )
    for name in ("pairs", "checkpoint"):
        if settings.get(name) not in (None, "all"):
            raise InputError(f"permutation_test: {name} must be left out, got {settings[name]!r}.")
    job, measures, data, forward = _settle(a, b, seed=seed, **settings)
    if len(measures) != 1:
        raise InputError(f"permutation_test: measure must be one measure, got {len(measures)}. Test one at a time.")
    comparison, null, complete = job.permute(measures[0], data, forward, permutations)
    test = PermutationTest(comparison, null, complete)
    sign = test._sign
    how = f"all {len(null)} permutations of the examples" if complete else f"{len(null)} permutations of the examples"
    statistics: dict[str, Any] = {
        "null_mean": null.mean(axis=0),
        "null_sd": null.std(axis=0),
        "p_values": test._p_values(sign * comparison.values, sign * null),
        "conventions": {**comparison.conventions, "null": how},
        "seeds": comparison.seeds if complete else {**comparison.seeds, "permutations": seed},
    }
    if math.isfinite(comparison.range[1 if sign > 0 else 0]) and len(null) >= _FEWEST:
        statistics["calibrated"] = test.calibrated()
    return replace(test, comparison=replace(comparison, **statistics))


def _names(comparison: Comparison, axis: str) -> list[str]:
    layers, models = getattr(comparison, f"{axis}_layers"), getattr(comparison, f"{axis}_models")
    if len(set(models)) == 1:
        return list(layers)
    return [f"{model}: {layer}" for model, layer in zip(models, layers, strict=True)]


def _above(values: npt.NDArray[np.float64], threshold: npt.NDArray[np.float64], best: float) -> npt.NDArray[np.float64]:
    """(s − τ)/(best − τ) where s is above τ, else 0; NaN where s is NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(values > threshold, (values - threshold) / (best - threshold), 0.0)
    return np.where(np.isnan(values), np.nan, found)
