"""Similarity within groups of examples: within classes, subjects, sessions, whatever makes examples alike by itself.

Representations of one class are alike in any network that tells classes apart. Compared within each class, and averaged
over classes, what is left is what networks share beyond that (appendix F.4 of Kornblith et al. 2019).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from repscope._details import PER_RUN
from repscope.assembly import recorded
from repscope.compare import compare
from repscope.comparison import STATISTICS, Comparison
from repscope.errors import CaptureWarning, InputError, RepscopeWarning
from repscope.measures._messages import warn
from repscope.measures.catalog import configure
from repscope.measures.measure import ConfiguredMeasure
from repscope.store import Store
from repscope.subjects import is_array

Rows = npt.NDArray[np.int64]

FEWEST = 4
"""Examples of a group at least; the unbiased estimators are not defined below."""

_OF_ONE_GROUP = frozenset({"replicates", PER_RUN, "examples"})
"""Conventions and details that are of one group alone, as its standard errors are."""


def compare_within(
    a: Any,
    b: Any = None,
    *,
    groups: Sequence[Any] | npt.NDArray[Any],
    data: Any = None,
    measure: str | ConfiguredMeasure = "cka",
    **settings: Any,
) -> Comparison:
    """Compare layers within each group of examples, and average over the groups.

    Every group counts the same, however large it is. Groups of fewer examples than the measure needs are left out, with
    a warning; a layer that is constant within a group is left out of that group's mean.

    Args:
        a: As for :func:`repscope.compare`, but no path: a model, an array, a mapping of layer names to arrays, or one
            of model names to these.
        b: The second, or None.
        groups: A label for each example (n,), such as its class.
        data: For models: arrays (n, …), a tensor, or a dataset whose items can be taken by number; no loader.
        measure: One measure.
        **settings: Further arguments of :func:`repscope.compare`.

    Returns:
        The mean over the groups. ``details["within"]`` holds each group's number of examples and its scores, and the
        groups that were left out.

    Raises:
        InputError: Labels that do not fit the examples, no group that is large enough, or data that cannot be divided;
            and as :func:`repscope.compare`.

    Warns:
        CaptureWarning: Groups were left out.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat([0, 1, 2], 40)
        >>> x = 5 * labels[:, None] + rng.standard_normal((120, 3))
        >>> y = 5 * labels[:, None] + rng.standard_normal((120, 3))
        >>> within = compare_within({"x": x}, {"y": y}, groups=labels)
        >>> bool(within.values[0, 0] < 0.2), within.details["within"]["examples"]
        (True, {'0': 40, '1': 40, '2': 40})
    """
    if not isinstance(measure, str | ConfiguredMeasure):
        raise InputError(f"compare_within: measure must be one measure, got {measure!r}. Call it once for each.")
    least = max(FEWEST, configure(measure).facts.minimum_examples)
    chosen, left_out = split(groups, least=least, function="compare_within")
    n = len(np.asarray(groups))
    found: dict[str, Comparison] = {}
    with recorded() as caught:
        for name, rows in chosen.items():
            parts = [_part(subject, rows, n, argument) for subject, argument in ((a, "a"), (b, "b"))]
            given = None if data is None else _taken(data, rows, n, "data")
            found[name] = compare(*parts, data=given, measure=measure, **settings)
    kinds = {w.category: w for w in reversed(caught)}
    for category, warning in kinds.items():
        if issubclass(category, RepscopeWarning):
            warn(f"within groups, for example: {warning.message}", category)
        else:
            warnings.warn_explicit(warning.message, category, warning.filename, warning.lineno)
    return average(found, left_out=left_out)


def split(
    groups: Sequence[Any] | npt.NDArray[Any], *, least: int = FEWEST, function: str = "split"
) -> tuple[dict[str, Rows], dict[str, int]]:
    """The rows of each group that is large enough, and the sizes of the others, after a warning that names them.

    Args:
        groups: A label for each example (n,).
        least: Examples of a group at least.
        function: The caller's name, for messages.

    Raises:
        InputError: The labels are no list of one label an example, or every group is too small.
    """
    labels = np.asarray(groups)
    if labels.ndim != 1 or not labels.size:
        raise InputError(
            f"{function}: groups must hold one label for each example, got shape {labels.shape}. Give a list of n "
            "labels."
        )
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InputError(f"{function}: groups must hold a label for each example, got NaN or infinity.")
    try:
        kinds, places = np.unique(labels, return_inverse=True)
    except TypeError:  # labels of several types have no order
        names = sorted({type(label).__name__ for label in labels})
        raise InputError(
            f"{function}: groups must hold labels of one type, got {' and '.join(names)}. Give whole numbers or names."
        ) from None
    rows = {str(kind): np.flatnonzero(places == number) for number, kind in enumerate(kinds)}
    small = {name: len(found) for name, found in rows.items() if len(found) < least}
    if len(small) == len(rows):
        largest = max(rows, key=lambda name: len(rows[name]))
        raise InputError(
            f"{function}: groups must have at least {least} examples, got {len(rows)} groups of which the largest "
            f"({largest}) has {len(rows[largest])}. Use more examples, or coarser groups."
        )
    if small:
        listed = ", ".join(f"{name} ({size})" for name, size in list(small.items())[:5])
        more = " …" if len(small) > 5 else ""
        warn(
            f"{function}: {len(small)} of {len(rows)} groups have fewer than {least} examples and are left out: "
            f"{listed}{more}.",
            CaptureWarning,
        )
    return {name: found for name, found in rows.items() if name not in small}, small


def average(found: Mapping[str, Comparison], *, left_out: Mapping[str, int] | None = None) -> Comparison:
    """The mean of comparisons of the same layers within groups, NaN only where all of them are.

    Args:
        found: The comparison of each group.
        left_out: Groups that were too small, and their sizes.

    Raises:
        InputError: They are of different layers or measures.
    """
    first = next(iter(found.values()))
    for name, other in found.items():
        if _kind(other) != _kind(first):
            raise InputError(f"average: found must hold comparisons of one kind, got another in group {name!r}.")
    values = np.stack([comparison.values for comparison in found.values()])
    defined = ~np.isnan(values)
    counts = defined.sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean = np.where(defined, values, 0.0).sum(axis=0) / counts  # 0/0 is NaN
    texts = dict.fromkeys(f"group {name}: {text}" for name, c in found.items() for text in c.warnings)
    within = {
        "examples": {name: comparison.n for name, comparison in found.items()},
        "values": {name: comparison.values.tolist() for name, comparison in found.items()},
        "left_out": dict(left_out or {}),
    }
    nothing: dict[str, Any] = dict.fromkeys([*STATISTICS, "replicates"])
    return replace(
        first,
        values=mean,
        n=sum(comparison.n or 0 for comparison in found.values()) or None,
        conventions={
            **_of_all_groups(first.conventions),
            "null": "no closed form",
            "intervals": "none: a mean over groups has none",
            "within": f"mean over {len(found)} groups",
        },
        details={**_of_all_groups(first.details), "within": within},
        warnings=tuple(texts),
        diagnostics={},
        **nothing,
    )


def _of_all_groups(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in _OF_ONE_GROUP}


def _kind(comparison: Comparison) -> tuple[Any, ...]:
    """What comparisons must have in common to be averaged."""
    return comparison.row_layers, comparison.column_layers, comparison.label


def _part(subject: Any, rows: Rows, n: int, argument: str) -> Any:
    """A model as it is; of arrays these rows."""
    if isinstance(subject, str | os.PathLike | Store):
        path = subject.path if isinstance(subject, Store) else subject
        raise InputError(
            f"compare_within: {argument} must be a model or arrays, got the path {os.fspath(path)!r}. Load the "
            "arrays first."
        )
    if is_array(subject):
        return _taken(subject, rows, n, argument)
    if not isinstance(subject, Mapping):
        return subject
    return {name: _part(value, rows, n, f"{argument}[{name!r}]") for name, value in subject.items()}


def _taken(data: Any, rows: Rows, n: int, argument: str) -> Any:
    """These items of arrays or of a dataset."""
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")) or isinstance(data, Mapping | list | tuple):
        raise InputError(
            f"compare_within: {argument} must be an array, a tensor or a dataset whose items can be taken by number, "
            f"got {type(data).__name__}. Nothing else can be divided into groups."
        )
    if len(data) != n:
        raise InputError(
            f"compare_within: groups must hold one label for each example, got {n} labels for {len(data)} in "
            f"{argument}."
        )
    if hasattr(data, "shape"):
        return data[rows]
    from torch.utils.data import Subset

    return Subset(data, rows.tolist())
