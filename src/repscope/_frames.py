"""A comparison as labelled arrays of other libraries: xarray and pandas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from repscope import _container
from repscope.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas
    import xarray

    from repscope.comparison import Comparison

# The name of each array in a table that holds one score a row.
_TIDY = {
    "values": "value",
    "null_mean": "null_mean",
    "null_sd": "null_sd",
    "p_values": "p_value",
    "calibrated": "calibrated",
    "standard_errors": "standard_error",
}


def dataset(comparison: Comparison, function: str) -> xarray.Dataset:
    """Every array of the comparison on the dimensions ``row_layer`` and ``column_layer``."""
    try:
        import xarray
    except ImportError as error:
        raise MissingExtraError(function, "xarray", "frames") from error
    dims = ("row_layer", "column_layer")
    return xarray.Dataset(
        {name: (dims, array.copy()) for name, array in comparison.arrays.items()},
        coords={
            "row_layer": list(comparison.row_layers),
            "column_layer": list(comparison.column_layers),
            "row_model": ("row_layer", list(comparison.row_models)),
            "column_model": ("column_layer", list(comparison.column_models)),
        },
        attrs={"long_name": comparison.label} | _attributes(comparison),
    )


def _attributes(comparison: Comparison) -> dict[str, str | int]:
    """The facts that are no labels, as netCDF can hold them: text (JSON where nested) and whole numbers."""
    attributes: dict[str, str | int] = {}
    for name, value in _container.portable(comparison.facts).items():
        if name.startswith(("row_", "column_")) or value is None:
            continue
        as_is = isinstance(value, str | int) and not isinstance(value, bool)
        attributes[name] = value if as_is else json.dumps(value, ensure_ascii=False)
    return attributes


def tidy(comparison: Comparison, function: str) -> pandas.DataFrame:
    """One score a row, in the order of the matrix read line by line."""
    pd = _pandas(function)
    rows, columns = comparison.values.shape

    def down(names: tuple[str, ...]) -> list[str]:
        return [name for name in names for _ in range(columns)]

    table: pandas.DataFrame = pd.DataFrame(
        {
            "row_model": down(comparison.row_models),
            "row_layer": down(comparison.row_layers),
            "column_model": comparison.column_models * rows,
            "column_layer": comparison.column_layers * rows,
        }
        | {_TIDY[name]: array.ravel() for name, array in comparison.arrays.items()}
    )
    return table


def wide(comparison: Comparison, function: str) -> pandas.DataFrame:
    """The matrix of values, labelled by layer, or by model and layer where an axis holds several models."""
    pd = _pandas(function)

    def index(axis: str, models: tuple[str, ...], layers: tuple[str, ...]) -> pandas.Index[Any]:
        found: pandas.Index[Any]
        if len(set(models)) == 1:
            found = pd.Index(layers, name=f"{axis}_layer")
        else:
            found = pd.MultiIndex.from_arrays([models, layers], names=[f"{axis}_model", f"{axis}_layer"])
        return found

    table: pandas.DataFrame = pd.DataFrame(
        np.array(comparison.values),
        index=index("row", comparison.row_models, comparison.row_layers),
        columns=index("column", comparison.column_models, comparison.column_layers),
    )
    return table


def _pandas(function: str) -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError(function, "pandas", "frames") from error
    return pandas
