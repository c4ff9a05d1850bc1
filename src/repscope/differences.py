"""Is one score larger than another? Differences of scores on the same examples, with their own jackknife."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from repscope._beside import beside_json
from repscope._student import student_quantile, student_tails
from repscope.comparison import CHANCE, Comparison
from repscope.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-12
"""Of the scores: a difference or a standard error below is none."""


@dataclass(frozen=True, eq=False)
class Difference:
    """Scores less other scores of the same examples (rows, columns).

    Attributes:
        values: The differences.
        standard_errors: Of the differences, by the paired jackknife; NaN where a score is undefined.
        replicates: Number of times that examples were left out.
        names: Of each pair of scores, both in words.
        parts: The scores, and those that were taken from them.
    """

    values: Floats
    standard_errors: Floats
    replicates: int
    names: tuple[tuple[tuple[str, str], ...], ...]
    parts: tuple[Comparison, Comparison]

    @property
    def p_values(self) -> Floats:
        """Two-sided p-values of no difference, by Student's t with one degree of freedom less than replicates.

        Without any width 1 for no difference and 0 for any other. Each is judged by itself.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            found = student_tails(self.values / self.standard_errors, self.replicates - 1)
        fixed = np.where(self.values == 0, 1.0, 0.0)
        return np.where(self.standard_errors == 0, fixed, found)

    def interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Confidence interval of every difference, for other examples of the same kind and these networks.

        Args:
            level: Probability with which such intervals hold the population's value, above 0 and below 1.

        Returns:
            The lower and the upper ends, each ``(rows, columns)``.

        Raises:
            InputError: ``level`` is no such probability.
        """
        if not 0 < level < 1:
            raise InputError(f"Difference.interval: level must lie between 0 and 1, got {level!r}. 0.95 is usual.")
        width = student_quantile((1 + level) / 2, self.replicates - 1) * self.standard_errors
        return self.values - width, self.values + width

    def to_comparison(self) -> Comparison:
        """The differences as a :class:`Comparison`, whose plots and reports then show them.

        Layers and models that differ between the scores are named as ``one − other``; ``p_values`` are those of no
        difference, so that heat maps grey what chance explains.
        """
        one, other = self.parts
        low, high = one.range

        def named(name: str) -> tuple[str, ...]:
            pairs = zip(getattr(one, name), getattr(other, name), strict=True)
            return tuple(a if a == b else f"{a} − {b}" for a, b in pairs)

        return replace(
            one,
            values=self.values,
            standard_errors=self.standard_errors,
            p_values=self.p_values,
            conventions={**one.conventions, "null": "no difference, by the jackknife"},
            null_mean=np.zeros_like(self.values),
            null_sd=None,
            calibrated=None,
            replicates=None,
            range=(low - high, high - low),
            symmetric=False,
            row_layers=named("row_layers"),
            column_layers=named("column_layers"),
            row_models=named("row_models"),
            column_models=named("column_models"),
        )

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the differences: with 95 % intervals along the layers, or as a heat map of several layers by several.

        Args:
            ax: Where to draw; None makes a figure.
            **options: Of :func:`repscope.plot.curve`, or of :func:`repscope.plot.heatmap`, where blue is less than 0,
                red more, and differences that chance explains are greyed.
        """
        from repscope.plot import curve, heatmap

        shown = self.to_comparison()
        if min(self.values.shape) > 1:
            largest = float(np.nanmax(np.abs(self.values), initial=0.0)) or 1.0
            return heatmap(shown, ax, **{"cmap": "RdBu_r", "limits": (-largest, largest), **options})
        low, high = self.interval()
        layers = shown.row_layers if self.values.shape[1] == 1 else shown.column_layers
        ax = curve(self.values.ravel(), ax, errors=((high - low) / 2).ravel(), **{"marker": "o", **options})
        ax.axhline(0.0, color="0.5", linewidth=0.6)
        ax.set_xticks(range(1, len(layers) + 1), layers, rotation=90 if len(layers) > 3 else 0)
        ax.set_title(shown.title, fontsize="medium")
        return ax

    def to_json(self) -> str:
        """Differences, standard errors, 95 % intervals and p-values as strict JSON: NaN becomes null."""
        shown, (low, high) = self.to_comparison(), self.interval()
        found = {
            "rows": list(shown.row_layers),
            "columns": list(shown.column_layers),
            "row_models": list(shown.row_models),
            "column_models": list(shown.column_models),
            "differences": self.values.tolist(),
            "standard_errors": self.standard_errors.tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
            "p_values": self.p_values.tolist(),
            "replicates": self.replicates,
        }
        return beside_json(self.parts[0], found)

    def __str__(self) -> str:
        p_values, (low, high) = self.p_values, self.interval()
        if self.values.size > 1:
            defined = self.values[~np.isnan(self.values)]
            if not defined.size:
                return f"None of {self.values.size} differences is defined."
            count = int((p_values <= CHANCE).sum())
            few = f"{count if count else 'None'} of {self.values.size} differences {'is' if count < 2 else 'are'}"
            span = f"from {defined.min():.3g} to {defined.max():.3g}"
            return f"{few} beyond chance (p ≤ {CHANCE}); {span}."
        ((one, other),) = self.names[0]
        return (
            f"({one}) − ({other}) = {self.values[0, 0]:.3g}, 95 % interval {low[0, 0]:.3g} to {high[0, 0]:.3g}, "
            f"p = {p_values[0, 0]:.2g}"
        )


def difference(one: Comparison, other: Comparison) -> Difference:
    """Scores less other scores on the same examples, with intervals and p-values of the differences.

    Both scores are taken without the same examples, so that what moves them together cancels:
    √((G − 1)/G Σ_g (δ_g − δ̄)²) for the differences δ_g without the g-th of G examples or blocks. Two separate
    intervals tell less: they may overlap although the difference is certain.

    Args:
        one: A part of ``compare(..., replicates=True)``, such as ``result.select(rows="conv3")`` or
            ``result.between("a", "x")``.
        other: A part of the same shape of the same comparison, or of another measure of the same call.

    Returns:
        A :class:`Difference`; of a part with itself it is exactly 0, with an interval of no width.

    Raises:
        InputError: A part has no replicates, as those of ``pairs="batch"``, of merged shares, of activations that do
            not fit the memory or of measures other than CKA and HSIC; the parts differ in shape; or they do not come
            from one call, so that nothing tells whether their examples are the same.

    References:
        Efron & Tibshirani 1993, An Introduction to the Bootstrap, eq. 11.5; of paired differences as in ch. 10.

    Example:
        >>> import numpy as np, repscope
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((100, 5))
        >>> rows = {"near": x + rng.standard_normal((100, 5)), "far": x + 2 * rng.standard_normal((100, 5))}
        >>> result = repscope.compare(rows, {"x": x}, replicates=True)
        >>> gap = difference(result.select(rows="near"), result.select(rows="far"))
        >>> bool(gap.interval()[0] > 0), bool(gap.p_values < 0.001)
        (True, True)
    """
    first, second = (_replicates(part, name) for part, name in ((one, "one"), (other, "other")))
    if one.values.shape != other.values.shape:
        raise InputError(
            f"difference: one and other must have one shape, got {one.values.shape} and {other.values.shape}. Take the "
            "same number of layers of each with Comparison.select or between."
        )
    if one.details.get("examples") != other.details.get("examples") or len(first) != len(second):
        raise InputError(
            "difference: one and other must be parts of one comparison, got parts of two, whose examples nothing tells "
            'to be the same. Compare all at once: repscope.compare({"a": ..., "b": ..., "x": ...}, replicates=True).'
        )
    values, apart = one.values - other.values, first - second
    g = len(apart)
    errors = np.sqrt((g - 1) / g * ((apart - apart.mean(axis=0)) ** 2).sum(axis=0))
    rounding = _ROUNDING * np.maximum(np.abs(one.values), np.abs(other.values))
    none = (errors <= rounding) & (np.abs(values) <= rounding)
    return Difference(
        values=np.where(none, 0.0, values),
        standard_errors=np.where(errors <= rounding, 0.0, errors),
        replicates=g,
        names=tuple(tuple(zip(*both, strict=True)) for both in zip(_names(one), _names(other), strict=True)),
        parts=(one, other),
    )


def _replicates(part: Comparison, argument: str) -> Floats:
    if part.replicates is not None:
        return part.replicates
    if part.conventions.get("pairs") == "batch":
        got = "the estimate of pairs='batch', which has none. Use pairs='all' and replicates=True"
    elif part.measure not in ("cka", "hsic"):
        got = f"{part.label}, which has none. Compare CKA or HSIC with replicates=True"
    else:
        reason = str(part.conventions.get("intervals", ""))
        got = f"{reason if reason.startswith('none') else 'none'}. Compare all in one process with replicates=True"
    raise InputError(f"difference: {argument} must hold the scores without each example, got {got}.")


def _names(part: Comparison) -> list[tuple[str, ...]]:
    several = len(part.models) > 1
    rows, columns = (
        [f"{model}: {layer}" if several else layer for model, layer in zip(models, layers, strict=True)]
        for models, layers in ((part.row_models, part.row_layers), (part.column_models, part.column_layers))
    )
    return [tuple(f"{row} × {column}" for column in columns) for row in rows]
