"""The result of a comparison: scores with the names, options and versions that give them a meaning."""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from repscope import _container, _details, _fields, _frames, _labels, _picking, _text
from repscope._matches import Match, best_matches
from repscope._student import student_quantile
from repscope.errors import InputError

if TYPE_CHECKING:
    import pandas
    import xarray
    from matplotlib.axes import Axes

FORMAT_NAME = "repscope-comparison"
FORMAT_VERSION = 1

# The arrays that may stand beside the values, one number a pair of layers each.
STATISTICS = ("null_mean", "null_sd", "p_values", "calibrated", "standard_errors")
_ARRAYS = ("values", *STATISTICS)
CHANCE = 0.05  # p value above which a score is within chance


@dataclass(frozen=True, eq=False)
class Comparison:
    """Scores of all pairs of layers, with everything needed to read them.

    Two comparisons are the same when :meth:`equals` says so; ``==`` asks whether they are one object.

    Attributes:
        values: ``(rows, columns)`` float64 scores, read-only; NaN where the measure is undefined.
        row_layers: layer names of the rows, in the order in which the model runs them.
        column_layers: the same for the columns.
        measure: id in the catalogue of measures, such as ``"cka"``.
        row_models: model name of each row.
        column_models: model name of each column.
        kind: ``"similarity"`` (higher is more alike) or ``"distance"`` (lower is more alike).
        range: lowest and highest value the measure can take in theory; may hold infinities.
        symmetric: whether the measure gives the same score when its arguments are exchanged.
        n: number of examples.
        conventions: which definition was used: estimator, kernel, pairs, reduction, batch size, dtype …
        warnings: what the reader must know before believing the scores.
        versions: version of each library that took part.
        seeds: every seed that the scores depend on.
        details: further facts of the run.
        diagnostics: what is known of each layer by itself: model name to layer name to facts by name.
        null_mean: ``(rows, columns)`` mean of each score under the null, or None.
        null_sd: standard deviation of each score under the null, or None.
        p_values: p value of each score under the null, or None.
        calibrated: each score on a scale where 0 is all that chance reaches and 1 the best score, or None; of
            :func:`repscope.permutation_test`, with probability 0.05.
        standard_errors: standard error of each score over the sampling of examples, or None.
        replicates: ``(replicates, rows, columns)`` scores without some of the examples each, or None; for
            :func:`repscope.difference`.
        created: ISO 8601 time.

    Raises:
        InputError: when the labels do not fit the values, two layers on one axis have the same name, or a
            mapping holds something that JSON cannot.
    """

    values: np.ndarray
    row_layers: tuple[str, ...]
    column_layers: tuple[str, ...]
    measure: str
    row_models: tuple[str, ...]
    column_models: tuple[str, ...]
    kind: str = "similarity"
    range: tuple[float, float] = (0.0, 1.0)
    symmetric: bool = True
    n: int | None = None
    conventions: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    diagnostics: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    null_mean: np.ndarray | None = None
    null_sd: np.ndarray | None = None
    p_values: np.ndarray | None = None
    calibrated: np.ndarray | None = None
    standard_errors: np.ndarray | None = None
    replicates: np.ndarray | None = None
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def __post_init__(self) -> None:
        for name in ("row_layers", "column_layers", "row_models", "column_models", "warnings"):
            _set(self, name, _fields.texts(name, getattr(self, name)))
        shape = (len(self.row_layers), len(self.column_layers))
        _set(self, "values", _fields.matrix("values", self.values, shape))
        for name in STATISTICS:
            if getattr(self, name) is not None:
                _set(self, name, _fields.matrix(name, getattr(self, name), shape))
        if self.replicates is not None:
            _set(self, "replicates", _fields.replicates(self.replicates, shape))
        for axis in ("row", "column"):
            _fields.check_labels(axis, getattr(self, f"{axis}_layers"), getattr(self, f"{axis}_models"))
        for name in ("conventions", "versions", "seeds", "details", "diagnostics"):
            value = getattr(self, name)
            if not isinstance(value, Mapping):
                raise InputError(f"Comparison: {name} must be a mapping, got {type(value).__name__}. Give a dict.")
            _set(self, name, _container.plain(name, value))
        if not isinstance(self.measure, str):
            raise InputError(f"Comparison: measure must be an id such as 'cka', got {self.measure!r}. Give its text.")
        if self.kind not in ("similarity", "distance"):
            raise InputError(
                f"Comparison: kind must be 'similarity' or 'distance', got {self.kind!r}. See repscope.measures()."
            )
        _set(self, "range", _fields.ends(self.range))
        _set(self, "symmetric", bool(self.symmetric))
        if self.n is not None:
            _set(self, "n", operator.index(self.n))

    # -- names ---------------------------------------------------------------------------------------------

    @property
    def models(self) -> tuple[str, ...]:
        """Each model name once, those of the rows first."""
        return tuple(dict.fromkeys(self.row_models + self.column_models))

    @property
    def label(self) -> str:
        """The measure and its definition in a few words, for a colour bar: ``CKA (linear, unbiased)``."""
        return _labels.label(self.measure, self.conventions)

    @property
    def title(self) -> str:
        """The label and what was compared: ``CKA (linear, unbiased): net a × net b``."""
        if len(self.models) > 2:
            return f"{self.label}: {len(self.models)} models"
        return f"{self.label}: {' × '.join(self.models)}"

    @property
    def scale(self) -> tuple[float, float]:
        """Scores at the ends of a colour scale: the range of the measure, as far as it means something here.

        An infinite end gives way to the data; a negative lower end gives way to 0, or to the lowest score below
        it: unbiased CKA may reach -1, yet 0 means unrelated.
        """
        finite = self.values[np.isfinite(self.values)]
        lowest, highest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        low, high = self.range
        low = max(low, min(0.0, lowest)) if low < 0 else low
        high = highest if math.isinf(high) else high
        return (low, high) if low < high else (low, low + 1.0)  # equal scores have no range of their own

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The values and the statistics there are, by name."""
        return {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}

    @property
    def _kept(self) -> dict[str, np.ndarray]:
        """All arrays that a file holds."""
        return self.arrays | ({} if self.replicates is None else {"replicates": self.replicates})

    @property
    def within_chance(self) -> np.ndarray | None:
        """Which scores chance alone explains, those with p > 0.05, or None without p values.

        Each pair of layers is judged by itself: of many unrelated pairs, one in twenty is not within chance.
        """
        return None if self.p_values is None else self.p_values > CHANCE

    def chance_corrected(self) -> np.ndarray:
        """Scores on a scale where 0 is what chance gives and 1 the best score: (s − E)/(best − E).

        E is :attr:`null_mean`, and the best score that of :attr:`range`, 1 for CKA; the Rand index is adjusted this
        way.

        Raises:
            InputError: without a mean of the null, or for scores without a best one.
        """
        best = self.range[1] if self.kind == "similarity" else self.range[0]
        if self.null_mean is None or math.isinf(best):
            lacking = "a chance level" if self.null_mean is None else "a best score"
            raise InputError(
                f"Comparison.chance_corrected: the comparison must have {lacking}, got {self.label}. "
                + ("Take it from repscope.permutation_test." if self.null_mean is None else "Use a bounded measure.")
            )
        corrected: np.ndarray = (self.values - self.null_mean) / (best - self.null_mean)
        return corrected

    @property
    def facts(self) -> dict[str, Any]:
        """Every field that is not an array of scores, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in (*_ARRAYS, "replicates")}

    # -- parts ---------------------------------------------------------------------------------------------

    def between(self, row_model: str, column_model: str) -> Comparison:
        """The block of one model's layers (rows) against another's (columns).

        Raises:
            InputError: when a name is not a model of that axis.
        """
        picked = []
        for axis, wanted, models in (
            ("row_model", row_model, self.row_models),
            ("column_model", column_model, self.column_models),
        ):
            picked.append([i for i, model in enumerate(models) if model == wanted])
            if not picked[-1]:
                raise InputError(_picking.unknown("Comparison.between", axis, "name a model", wanted, models))
        return self._take(*picked)

    def select(self, rows: str | Sequence[str] | None = None, columns: str | Sequence[str] | None = None) -> Comparison:
        """The part whose layers bear the given names, in the order they have here.

        Args:
            rows: a layer name or a glob such as ``"conv*"``, or several; None keeps every row.
            columns: the same for the columns.

        Raises:
            InputError: when a name or glob fits no layer.
        """
        return self._take(
            _picking.chosen("rows", rows, self.row_layers), _picking.chosen("columns", columns, self.column_layers)
        )

    def _take(self, rows: list[int], columns: list[int]) -> Comparison:
        part: dict[str, Any] = {name: array[..., rows, :][..., columns] for name, array in self._kept.items()}
        for axis, index in (("row", rows), ("column", columns)):
            for name in (f"{axis}_layers", f"{axis}_models"):
                part[name] = tuple(getattr(self, name)[i] for i in index)
        return replace(self, **part, details=_details.part(self.details, rows, columns))

    def best_match(self, axis: Literal["rows", "columns"] = "rows") -> list[Match]:
        """For each row layer the most similar column layer.

        Most similar is the highest similarity or the lowest distance; of equal scores the first in execution
        order wins. A layer that stands on both axes matches itself: take one block with :meth:`between`.

        Args:
            axis: ``"columns"`` gives for each column layer the most similar row layer.

        Returns:
            One :class:`Match` a layer, in execution order.
        """
        if axis not in ("rows", "columns"):
            raise InputError(f"Comparison.best_match: axis must be 'rows' or 'columns', got {axis!r}. Choose one.")
        return best_matches(self, axis)

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Confidence interval of every score, from its jackknife standard error and Student's t distribution.

        The degrees of freedom are one less than the jackknife's replicates; without their number, the interval is the
        normal distribution's. It says how far the score would move with other examples of the same kind, and nothing
        about other networks, nor about the bias of the biased estimators. A score of 1 of a layer with itself has no
        width.

        Args:
            level: Probability with which such intervals hold the population's value, above 0 and below 1.

        Returns:
            The lower and the upper ends, each ``(rows, columns)``; NaN where the score is undefined. They may lie
            outside the range of the measure.

        Raises:
            InputError: when there are no standard errors, or ``level`` is no such probability.
        """
        if not 0 < level < 1:
            raise InputError(f"Comparison.interval: level must lie between 0 and 1, got {level!r}. 0.95 is usual.")
        if self.standard_errors is None:
            known = self.conventions.get("intervals", "none were asked for")
            raise InputError(
                f"Comparison.interval: the comparison must have standard errors, got {known}. "
                "Compare HSIC or CKA with intervals=True."
            )
        replicates = self.conventions.get("replicates", math.inf)
        width = student_quantile((1 + level) / 2, replicates - 1) * self.standard_errors
        return self.values - width, self.values + width

    # -- other forms ---------------------------------------------------------------------------------------

    @overload
    def to_xarray(self, *, statistics: Literal[False] = False) -> xarray.DataArray: ...
    @overload
    def to_xarray(self, *, statistics: Literal[True]) -> xarray.Dataset: ...
    def to_xarray(self, *, statistics: bool = False) -> xarray.DataArray | xarray.Dataset:
        """The scores as an xarray object, addressed by ``row_layer`` and ``column_layer``.

        The model names are the coordinates ``row_model`` and ``column_model``. The attributes are numbers and
        text (mappings as JSON), so the object can be written to netCDF.

        Args:
            statistics: give a Dataset of ``values`` and the null moments, p values and standard errors there
                are, instead of a DataArray of the values.
        """
        dataset = _frames.dataset(self, "Comparison.to_xarray")
        if statistics:
            return dataset
        return dataset["values"].assign_attrs(dataset.attrs).rename(self.measure)

    def to_dataframe(self, *, tidy: bool = True) -> pandas.DataFrame:
        """The scores as a pandas table.

        Args:
            tidy: one score a row, with the columns ``row_model, row_layer, column_model, column_layer,
                value`` and those of the statistics there are. Otherwise the matrix, labelled by layer, or
                by model and layer where an axis holds several models.
        """
        form = _frames.tidy if tidy else _frames.wide
        return form(self, "Comparison.to_dataframe")

    def to_json(self) -> str:
        """Everything but replicates as strict JSON: NaN becomes null, infinities ``"inf"`` and ``"-inf"``."""
        arrays = {name: array.tolist() for name, array in self.arrays.items()}
        return json.dumps(_container.portable(self.facts | arrays), allow_nan=False)

    def plot(self, ax: Axes | None = None, **options: Any) -> Axes:
        """Draw the heat map, layer 1 at bottom left; options as in :func:`repscope.plot.heatmap`."""
        from repscope.plot import heatmap

        return heatmap(self, ax, **options)

    def to_html(self, path: str | os.PathLike[str], *, title: str | None = None) -> Path:
        """Write a report: one HTML file that shows the scores in any browser, without a network.

        For several comparisons in one report, see :func:`repscope.report.write`.

        Args:
            path: the file; it appears whole or not at all.
            title: heading; None names the models.

        Returns:
            The path.

        Raises:
            InputError: when the folder does not exist.
        """
        from repscope.report import write

        return write(path, self, title=title)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one file that :func:`load` turns back into an equal comparison.

        The file appears whole or not at all, under exactly the name given, which is returned;
        ``numpy.load`` reads its arrays.

        Raises:
            InputError: when the folder does not exist.
        """
        return _container.write(
            "Comparison.save",
            path,
            name=FORMAT_NAME,
            version=FORMAT_VERSION,
            facts=self.facts,
            arrays=self._kept,
        )

    # -- identity and printing -----------------------------------------------------------------------------

    def equals(self, other: object) -> bool:
        """Whether every field is the same, arrays bit by bit (NaN equals NaN, -0.0 differs from 0.0)."""
        if not isinstance(other, Comparison):
            return False
        mine, theirs = self._kept, other._kept
        return (
            _container.dumps(self.facts) == _container.dumps(other.facts)
            and mine.keys() == theirs.keys()
            and all(array.tobytes() == theirs[name].tobytes() for name, array in mine.items())
        )

    def __repr__(self) -> str:
        return _text.line(self)

    def _repr_html_(self) -> str:
        """The heat map and the warnings, for notebooks."""
        from repscope.report.notebook import notebook_html

        return notebook_html(self)

    def __str__(self) -> str:
        return _text.lines(self)


def load(path: str | os.PathLike[str]) -> Comparison:
    """The comparison that :meth:`Comparison.save` wrote.

    Args:
        path: the file.

    Returns:
        The same comparison, bit for bit.

    Raises:
        InputError: when there is no such file.
        FileFormatError: when the file is of another kind, damaged, or written by a newer repscope.
    """
    facts, arrays = _container.read(
        "load",
        path,
        name=FORMAT_NAME,
        version=FORMAT_VERSION,
        written_by="Comparison.save",
        remedy="To compare stored arrays, give the path to repscope.compare.",
    )
    try:
        return Comparison(**(facts | arrays))
    except (TypeError, ValueError) as error:
        raise _container.damaged("load", path, error) from error


def _set(comparison: Comparison, name: str, value: object) -> None:
    object.__setattr__(comparison, name, value)  # the one way to fill a frozen dataclass in __post_init__
