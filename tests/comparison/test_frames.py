from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from repscope.errors import MissingExtraError
from tests.comparison.examples import comparison, full, ridge


def test_xarray_is_addressed_by_layer_name():
    array = comparison(n=50).to_xarray()
    assert array.dims == ("row_layer", "column_layer")
    assert array.name == "cka"
    assert float(array.sel(row_layer="conv3", column_layer="conv2")) == ridge(3, 4)[2, 1]
    assert list(array.coords["row_model"].values) == ["net a"] * 3
    assert list(array.coords["column_model"].values) == ["net b"] * 4
    assert array.attrs["long_name"] == "CKA (linear, unbiased)"
    assert array.attrs["n"] == 50
    assert json.loads(array.attrs["conventions"]) == {"kernel": "linear", "estimator": "unbiased"}


def test_xarray_attributes_are_text_and_numbers():
    attrs = full().to_xarray().attrs
    assert all(type(value) in (str, int) for value in attrs.values())
    json.dumps(attrs, allow_nan=False)
    assert json.loads(attrs["range"]) == ["-inf", np.pi]
    assert json.loads(attrs["symmetric"]) is False


def test_xarray_with_statistics():
    one = full()
    data = one.to_xarray(statistics=True)
    assert list(data.data_vars) == ["values", "null_mean", "null_sd", "p_values", "calibrated", "standard_errors"]
    for name in data.data_vars:
        np.testing.assert_array_equal(data[name].values, getattr(one, name))
    assert list(comparison().to_xarray(statistics=True).data_vars) == ["values"]


def test_xarray_is_a_copy():
    one = comparison()
    one.to_xarray()[0, 0] = 5
    assert one.values[0, 0] == ridge(3, 4)[0, 0]


def test_tidy_table():
    frame = comparison(p_values=ridge(3, 4) / 2).to_dataframe()
    assert list(frame.columns) == ["row_model", "row_layer", "column_model", "column_layer", "value", "p_value"]
    assert len(frame) == 12
    cell = frame[(frame.row_layer == "conv3") & (frame.column_layer == "conv2")].iloc[0]
    assert (cell.value, cell.p_value) == (ridge(3, 4)[2, 1], ridge(3, 4)[2, 1] / 2)
    assert (cell.row_model, cell.column_model) == ("net a", "net b")
    everything = full().to_dataframe()
    assert list(everything.columns[4:]) == ["value", "null_mean", "null_sd", "p_value", "calibrated", "standard_error"]


def test_wide_table():
    frame = comparison().to_dataframe(tidy=False)
    assert frame.loc["conv3", "conv2"] == ridge(3, 4)[2, 1]
    assert (frame.index.name, frame.columns.name) == ("row_layer", "column_layer")
    assert list(frame.columns) == ["conv1", "conv2", "conv3", "conv4"]


def test_wide_table_of_several_models():
    frame = comparison(ridge(4, 2), rows=("a", "b") * 2, row_model=("m", "m", "k", "k")).to_dataframe(tidy=False)
    assert frame.loc[("k", "a"), "conv2"] == ridge(4, 2)[2, 1]
    assert list(frame.index.names) == ["row_model", "row_layer"]


def test_tables_are_copies():
    one = comparison()
    tidy, wide = one.to_dataframe(), one.to_dataframe(tidy=False)
    tidy.loc[0, "value"] = 5
    wide.iloc[0, 0] = 5
    assert one.values[0, 0] == ridge(3, 4)[0, 0]


@pytest.mark.parametrize(("package", "method"), [("xarray", "to_xarray"), ("pandas", "to_dataframe")])
def test_a_missing_package_names_the_extra(monkeypatch, package, method):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"Comparison.{method} needs .*'{package}'.*'repscope\[frames\]'"):
        getattr(comparison(), method)()
