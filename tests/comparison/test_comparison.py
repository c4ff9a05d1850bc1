from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

from repscope._matches import Match
from repscope.comparison import Comparison
from repscope.errors import InputError
from tests.comparison.examples import comparison, full, ridge

# -- what it holds ------------------------------------------------------------------------------------------


def test_values_are_a_read_only_float64_copy():
    given = np.arange(12, dtype=np.float32).reshape(4, 3).T
    result = Comparison(given, ["a", "b", "c"], ["w", "x", "y", "z"], "cka", ["m"] * 3, ["k"] * 4)
    given[0, 0] = 99
    assert result.values.dtype == np.float64
    assert result.values.flags.c_contiguous
    assert result.values[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        result.values[0, 0] = 1
    assert result.row_layers == ("a", "b", "c")
    assert result.column_models == ("k",) * 4


def test_mappings_are_copied_and_made_plain():
    conventions = {"pairs": ("all", np.float64(0.5)), "sizes": np.array([3, 4]), "deep": {"k": np.bool_(True)}}
    result = comparison(conventions=conventions)
    conventions["deep"]["k"] = 5
    assert result.conventions == {"pairs": ["all", 0.5], "sizes": [3, 4], "deep": {"k": True}}
    assert type(result.conventions["pairs"][1]) is float


def test_defaults():
    result = comparison()
    assert (result.kind, result.range, result.symmetric, result.n) == ("similarity", (0.0, 1.0), True, None)
    assert result.warnings == ()
    assert [result.null_mean, result.null_sd, result.p_values, result.standard_errors] == [None] * 4
    assert result.created.endswith("+00:00")


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        comparison().measure = "hsic"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"values": np.ones((3, 3)), "columns": ("x",) * 2}, r"values must have the shape .* = \(3, 2\).*got \(3, 3\)"),
        ({"values": np.ones((0, 3))}, "no empty axis"),
        ({"null_sd": np.ones((4, 3))}, r"null_sd must have the shape .* = \(3, 4\)"),
        ({"p_values": np.ones((3, 4), dtype=complex)}, "p_values must be real numbers, got complex128"),
        ({"row_model": ("a",)}, "row_models must name the model of each row, got 1 names for 3 layers"),
        ({"rows": ("a", "b", "a")}, "row_layers must be unique within a model, got 'a' of model 'net a' twice"),
        ({"rows": "abc"}, "row_layers must be a sequence of texts, got 'abc'"),
        ({"columns": (1, 2, 3, 4)}, "column_layers must be a sequence of texts"),
        ({"warnings": None}, "warnings must be a sequence of texts, got None"),
        ({"kind": "metric"}, "kind must be 'similarity' or 'distance', got 'metric'"),
        ({"range": (1.0, 0.0)}, r"range must be \(lowest, highest\), got \(1.0, 0.0\)"),
        ({"range": (0.0, np.nan)}, "range must be"),
        ({"measure": None}, "measure must be an id"),
        ({"seeds": [1]}, "seeds must be a mapping, got list"),
        ({"conventions": {"kernel": {"f": len}}}, r"conventions\['kernel'\]\['f'\] must hold text.*got builtin_"),
        ({"details": {"a": {1: 2}}}, r"details\['a'\] must hold .* text keys only, got dict"),
    ],
)
def test_what_does_not_fit_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        comparison(**fields)


def test_the_same_layer_name_in_two_models_is_fine():
    result = comparison(ridge(4), rows=("a", "b") * 2, row_model=("m", "m", "k", "k"))
    assert result.models == ("m", "k", "net b")


def test_importing_it_loads_neither_matplotlib_nor_pandas():
    code = (
        "import sys, repscope.comparison; print(sorted({'matplotlib', 'pandas', 'xarray', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measure", "conventions", "label"),
    [
        ("cka", {"kernel": "linear", "estimator": "unbiased"}, "CKA (linear, unbiased)"),
        ("linear_regression", {}, "Linear regression"),
        ("procrustes", {"kind": "angle", "estimator": None}, "Procrustes (angle)"),
        ("svcca", {"variance": 0.99, "summary": "r2"}, "SVCCA (r2)"),
        ("linear_regression", {"regularization": "0.0", "folds": "None", "fold_seed": "0"}, "Linear regression"),
        ("linear_regression", {"regularization": "0.1", "folds": "5"}, "Linear regression (λ = 0.1, 5 folds)"),
        ("mutual_knn", {"k": "10", "metric": "cosine"}, "Mutual KNN (k = 10)"),
        ("gulp", {"regularization": "0.01"}, "GULP (λ = 0.01)"),
    ],
)
def test_label(measure, conventions, label):
    assert comparison(measure=measure, conventions=conventions).label == label


def test_title_names_the_models():
    assert comparison().title == "CKA (linear, unbiased): net a × net b"
    assert comparison(column_model="net a").title == "CKA (linear, unbiased): net a"
    assert comparison(row_model=("x", "y", "z")).title == "CKA (linear, unbiased): 4 models"


# -- parts --------------------------------------------------------------------------------------------------


def three_models():
    models = ("m", "m", "k", "k", "k")
    names = ("a", "b", "a", "b", "c")
    values = np.arange(25.0).reshape(5, 5)
    return comparison(
        values, rows=names, columns=names, row_model=models, column_model=models, p_values=values / 100, n=7
    )


def test_between_takes_one_block_with_its_statistics():
    block = three_models().between("k", "m")
    np.testing.assert_array_equal(block.values, [[10, 11], [15, 16], [20, 21]])
    np.testing.assert_array_equal(block.p_values, block.values / 100)
    assert block.row_layers == ("a", "b", "c")
    assert block.column_layers == ("a", "b")
    assert (set(block.row_models), set(block.column_models)) == ({"k"}, {"m"})
    assert block.n == 7
    assert block.null_mean is None


def test_between_refuses_an_unknown_model():
    with pytest.raises(
        InputError, match=r"Comparison.between: column_model must name a model, got 'x'. There are: 'm', 'k'"
    ):
        three_models().between("m", "x")
    with pytest.raises(InputError, match=r"row_model must name a model, got 'neta'. Did you mean 'net a'\?"):
        comparison().between("neta", "net b")


def test_select_keeps_the_order_of_execution():
    part = comparison(ridge(4), p_values=ridge(4)).select(rows=["conv3", "conv1"], columns="conv[24]")
    assert part.row_layers == ("conv1", "conv3")
    assert part.column_layers == ("conv2", "conv4")
    np.testing.assert_array_equal(part.values, ridge(4)[np.ix_([0, 2], [1, 3])])
    np.testing.assert_array_equal(part.p_values, part.values)


def test_select_takes_a_name_with_brackets_as_a_name():
    whole = comparison(ridge(2), rows=("blocks[0]", "blocks0"))
    assert whole.select("blocks[0]").row_layers == ("blocks[0]",)
    assert whole.select("block*").row_layers == whole.row_layers


def test_select_refuses_what_fits_no_layer():
    with pytest.raises(InputError, match=r"Comparison.select: rows must fit a layer, got 'con1'. Did you mean 'conv1'"):
        comparison().select("con1")
    with pytest.raises(
        InputError, match=r"columns must fit a layer, got 'zz\*'. There are: 'conv1', 'conv2', 'conv3', 'conv4'\."
    ):
        comparison().select(columns=["conv1", "zz*"])


def test_a_part_has_its_own_scores_among_the_details():
    table = ridge(3, 4).tolist()
    details = {
        "without_dominant_rows": {"rows": [1, 0], "linear_cka": table},
        "within": {"examples": {"a": 5}, "values": {"a": table}, "left_out": {}},
        "features": {"conv1": 3},
    }
    part = comparison(details=details).select(rows=["conv1", "conv3"], columns="conv[24]")
    expected = ridge(3, 4)[np.ix_([0, 2], [1, 3])].tolist()
    assert part.details["without_dominant_rows"] == {"rows": [1, 0], "linear_cka": expected}
    assert part.details["within"] == {"examples": {"a": 5}, "values": {"a": expected}, "left_out": {}}
    assert part.details["features"] == {"conv1": 3}


def test_select_refuses_no_layer_at_all():
    with pytest.raises(InputError, match=r"Comparison.select: columns must be one layer name or more, got none"):
        comparison().select(columns=[])


# -- best match ---------------------------------------------------------------------------------------------

TABLE = [[0.2, 0.9, 0.9], [np.nan, 0.1, 0.3], [np.nan, np.nan, np.nan]]


def test_best_match_of_a_similarity():
    matches = comparison(TABLE).best_match()
    assert matches[0] == Match("conv1", "conv2", 0.9, "net a", "net b")  # the first of equals
    assert (matches[1].column, matches[1].value) == ("conv3", 0.3)
    assert (matches[2].row, matches[2].column, matches[2].column_model) == ("conv3", None, None)
    assert math.isnan(matches[2].value)
    assert all(type(match.value) is float for match in matches)


def test_best_match_of_a_distance():
    matches = comparison(TABLE, kind="distance").best_match()
    assert [match.column for match in matches] == ["conv1", "conv2", None]
    assert matches[0].value == 0.2


def test_best_match_of_each_column():
    matches = comparison(TABLE).best_match(axis="columns")
    assert [match.column for match in matches] == ["conv1", "conv2", "conv3"]
    assert [match.row for match in matches] == ["conv1", "conv1", "conv1"]
    empty = comparison(np.array(TABLE).T).best_match(axis="columns")[2]
    assert (empty.row, empty.column, empty.row_model) == (None, "conv3", None)


def test_best_match_of_infinities():
    values = [[np.nan, -np.inf, -np.inf], [1.0, np.inf, 2.0]]
    assert [match.column for match in comparison(values).best_match()] == ["conv2", "conv2"]


def test_best_match_refuses_another_axis():
    with pytest.raises(InputError, match="axis must be 'rows' or 'columns', got 'layers'"):
        comparison().best_match("layers")


def test_a_match_prints_as_a_line():
    found, lost = comparison([[0.25], [np.nan]]).best_match()
    assert repr(found) == "Match(net a: conv1 ~ net b: conv1, 0.25)"
    assert repr(lost) == "Match(net a: conv2 has no match)"


# -- identity and printing ----------------------------------------------------------------------------------


def test_equals_compares_every_field():
    one = full()
    assert one.equals(dataclasses.replace(one))
    assert one != dataclasses.replace(one)
    changes = {
        "values": np.zeros((2, 3)),
        "row_layers": ("x", "y"),
        "column_layers": ("x", "y", "z"),
        "row_models": ("x", "y"),
        "column_models": ("x", "y", "z"),
        "measure": "rsa",
        "kind": "similarity",
        "range": (0.0, 1.0),
        "symmetric": True,
        "n": 3,
        "conventions": {},
        "warnings": (),
        "versions": {},
        "seeds": {},
        "details": {},
        "diagnostics": {},
        "null_mean": None,
        "null_sd": None,
        "p_values": None,
        "calibrated": None,
        "standard_errors": None,
        "replicates": None,
        "created": "2000-01-01",
    }
    assert changes.keys() == {field.name for field in dataclasses.fields(Comparison)}
    for name, value in changes.items():
        assert not one.equals(dataclasses.replace(one, **{name: value})), name
    assert not one.equals("text")


def test_equals_sees_the_sign_of_zero():
    assert not comparison([[0.0]], created="now").equals(comparison([[-0.0]], created="now"))
    assert comparison([[np.nan]], created="now").equals(comparison([[np.nan]], created="now"))


def test_it_survives_pickle_and_copy():
    one = full()
    assert pickle.loads(pickle.dumps(one)).equals(one)
    assert copy.deepcopy(one).equals(one)


def test_repr_is_one_informative_line():
    text = repr(comparison([[0.5, np.nan], [0.25, 1.0]], n=128, warnings=["ordered data"]))
    assert text == (
        "Comparison(CKA (linear, unbiased): net a × net b, 2×2 layers, values 0.25 to 1, 1 NaN, n=128, 1 warning)"
    )
    assert "no defined value, 1 NaN)" in repr(comparison([[np.nan]]))


def test_print_shows_warnings_and_a_small_table():
    text = str(comparison([[0.5, np.nan], [0.25, 1.0]], warnings=["ordered data"], rows=("a", "b" * 40)))
    lines = text.splitlines()
    assert lines[1] == "  warning: ordered data"
    assert lines[2].split() == ["conv1", "conv2"]
    assert lines[3].split() == ["a", "0.5", "nan"]
    assert lines[4].split() == ["bbbbbbbb…bbbbbbbbbbbbbbb", "0.25", "1"]
    assert len({len(line) for line in lines[2:]}) == 1
    assert len(str(comparison(ridge(13))).splitlines()) == 1


# -- JSON ---------------------------------------------------------------------------------------------------


def test_to_json_is_strict_json_with_everything_in_it():
    def refuse(literal):
        raise AssertionError(literal)

    one = full()
    got = json.loads(one.to_json(), parse_constant=refuse)
    assert got.keys() == {field.name for field in dataclasses.fields(Comparison)} - {"replicates"}
    assert got["values"] == [[1.0, 0.0, None], ["inf", "-inf", 5e-324]]
    assert got["range"] == ["-inf", math.pi]
    assert got["row_layers"] == list(one.row_layers)
    assert got["conventions"]["$float"] == "user"
    assert "p_values" not in json.loads(comparison().to_json())


def test_within_chance_are_scores_of_which_more_than_one_in_twenty_permutations_has_as_much():
    one = comparison(np.array([[0.1, 0.2, 0.3]]), p_values=np.array([[0.06, 0.05, np.nan]]))
    np.testing.assert_array_equal(one.within_chance, [[True, False, False]])
    assert comparison().within_chance is None
