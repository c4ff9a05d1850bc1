"""Comparisons and the catalogue as text."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest

from repscope import Comparison, MissingExtraError, measures
from repscope.cli.terminal import (
    chance_line,
    diagnostic_lines,
    match_lines,
    matrix_lines,
    measure_lines,
    print_comparison,
)


def comparison(rows=3, columns=4, *, long=False, within=False, **more):
    rng = np.random.default_rng(0)
    stem = "encoder.layers.attention.output." if long else "conv"
    row_layers = tuple(f"{stem}{i}" for i in range(rows))
    column_layers = row_layers if within else tuple(f"{stem}{j}b" for j in range(columns))
    scores = rng.uniform(0, 1, (rows, len(column_layers)))
    return Comparison(
        **{
            "values": (scores + scores.T) / 2 if within else scores,
            "row_layers": row_layers,
            "column_layers": column_layers,
            "measure": "cka",
            "row_models": ("first",) * rows,
            "column_models": ("first" if within else "second",) * len(column_layers),
            "n": 50,
            **more,
        }
    )


def numbers(lines):
    return [word for line in lines for word in line.split() if word.replace(".", "").isdigit() and "." in word]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("within", [False, True])
def test_every_score_is_printed_within_the_width(width, long, within):
    result = comparison(5, 9, long=long, within=within)
    lines, strong = matrix_lines(result, width)
    assert max(map(len, lines)) <= width
    assert len(strong) == len(lines)
    assert sorted(numbers(lines)) == sorted(f"{value:.3f}" for value in result.values.ravel())
    assert max(map(len, match_lines(result, width))) <= width


def test_columns_are_headed_by_their_layers_where_these_fit():
    lines, _ = matrix_lines(comparison(2, 3), 80)
    assert lines[0].split() == ["conv0b", "conv1b", "conv2b"]
    assert [line.split()[0] for line in lines[1:]] == ["conv0", "conv1"]


def test_other_columns_are_numbered_and_explained():
    lines, _ = matrix_lines(comparison(2, 3, long=True), 60)
    text = " ".join(" ".join(lines).split())
    assert text.startswith("columns: 1 encoder.layers.attention.output.0b, 2 encoder.layers.attention.output.1b, 3")
    assert next(line for line in lines if line.split() == ["1", "2", "3"])


def test_within_a_model_the_rows_explain_the_numbers():
    lines, _ = matrix_lines(comparison(12, within=True, long=True), 130)
    assert lines[0].split() == [str(i) for i in range(1, 13)]
    assert [line.split()[0] for line in lines[1:13]] == [str(i) for i in range(1, 13)]


@pytest.mark.parametrize("kind", ["similarity", "distance"])
def test_the_best_of_each_row_is_marked(kind):
    result = comparison(3, 4, kind=kind)
    best = result.values.max(axis=1) if kind == "similarity" else result.values.min(axis=1)
    lines, strong = matrix_lines(result, 80)
    marked = [line[start:stop] for line, spans in zip(lines, strong, strict=True) for start, stop in spans]
    assert marked == [f"{value:.3f}" for value in best]


def test_a_large_matrix_is_not_printed():
    lines, strong = matrix_lines(comparison(100, 100), 50)
    assert lines == ["100 × 100 scores are too many to print: draw them", "with -o DIR, or use --json."]
    assert strong == [[], []]


def test_matches_within_a_model_are_of_other_layers():
    values = np.array([[1.0, 0.2, 0.7], [0.2, 1.0, 0.3], [0.7, 0.3, 1.0]])
    lines = match_lines(comparison(3, within=True, values=values), 80)
    assert lines == [
        "Most similar of the other layers:",
        "  conv0 → conv2  0.700",
        "  conv1 → conv2  0.300",
        "  conv2 → conv0  0.700",
    ]
    assert match_lines(comparison(1, within=True, values=np.ones((1, 1))), 80) == []


def test_matches_name_the_models_where_an_axis_holds_several():
    lines = match_lines(comparison(2, 2, column_models=("b", "c"), values=np.array([[0.1, 0.9], [0.8, 0.2]])), 80)
    assert lines == ["Most similar layer:", "  conv0 → c: conv1b  0.900", "  conv1 → b: conv0b  0.800"]


def test_what_rounds_to_nothing_has_no_sign():
    found = {"null_mean": np.array([[-1e-5, 2e-5]]), "null_sd": np.full((1, 2), 0.01)}
    result = comparison(1, 2, values=np.array([[-4e-4, -6e-4]]), **found)
    assert chance_line(result).startswith("Chance level: 0.000 (sd 0.010).")
    lines, _ = matrix_lines(result, 80)
    assert lines[1].split() == ["conv0", "0.000", "-0.001"]
    unbounded = comparison(1, 1, values=np.array([[-1e-7]]), range=(-math.inf, 1))
    assert matrix_lines(unbounded, 80)[0][1].endswith(" -1e-07")


def test_a_layer_without_any_score_has_no_match():
    values = np.array([[0.5, math.nan], [math.nan, math.nan]])
    result = comparison(2, 2, values=values)
    assert match_lines(result, 80)[1:] == [
        "  conv0 → conv0b                    0.500",
        "  conv1 → none: all scores are NaN",
    ]
    lines, _ = matrix_lines(result, 80)
    assert lines[2].split() == ["conv1", "nan", "nan"]


def test_unbounded_scores_keep_their_digits():
    values = np.array([[12345.678, 0.00012345]])
    lines, _ = matrix_lines(comparison(1, 2, values=values, range=(0.0, math.inf)), 80)
    assert lines[1].split() == ["conv0", "1.235e+04", "0.0001234"]


def test_printing_has_no_escape_codes_without_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    print_comparison(comparison(3, 12, long=True), details=True)
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out
    assert printed.err == ""
    assert max(map(len, printed.out.splitlines())) <= 60


def test_a_name_that_looks_like_markup_is_printed_as_it_is(capsys):
    print_comparison(comparison(1, 1, row_layers=("[bold]blocks[0]",), conventions={"kernel": "[red]x"}), details=True)
    printed = capsys.readouterr().out
    assert "[bold]blocks[0] → conv0b" in printed
    assert "[red]x" in printed


def test_without_rich_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(MissingExtraError, match=r"Printing a comparison needs the package 'rich'.*repscope\[cli\]"):
        print_comparison(comparison())


# -- the catalogue -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [50, 80])
def test_the_listing_holds_every_declared_fact(width):
    for measure in measures().values():
        lines = measure_lines(measure, width)
        assert max(map(len, lines)) <= width
        text = " ".join(" ".join(lines).split())
        facts = measure.facts(measure.options)
        for fact in (measure.id, measure.title, facts.kind, measure.formula, measure.cost, *measure.references):
            assert fact in text
        for invariance in facts.invariances_x | facts.invariances_y:
            assert str(invariance) in text
        assert f"smallest n {facts.minimum_examples} " in text
        assert f"symmetric {'yes' if facts.symmetric else 'no'} " in text


def test_ranges_are_readable():
    text = {name: " ".join(measure_lines(measure, 80)) for name, measure in measures().items()}
    assert "-1 to 1" in text["cka"]
    assert "−∞ to ∞" in text["hsic"]
    assert "0 to π/2" in text["procrustes"]


def test_measures_prints_all_or_one(repscope):
    everything = repscope("measures")
    assert (everything.code, everything.err) == (0, "")
    assert [f"{name}: " in everything.out for name in measures()] == [True] * len(measures())
    one = repscope("measures", "pwcca")
    assert one.out.startswith("pwcca: Projection-weighted CCA\n")
    assert "of x: " in one.out
    assert "cka" not in one.out


def test_measures_as_json(repscope):
    listed = json.loads(repscope("measures", "--json").out)
    assert [row["id"] for row in listed] == list(measures())
    hsic = json.loads(repscope("measures", "hsic", "--json").out)
    assert hsic["range"] == ["-inf", "inf"]
    assert hsic["minimum_examples"] == 4
    assert hsic["options"] == {"kernel": "linear", "estimator": "unbiased"}


def test_an_unknown_measure_is_one_line(fails):
    assert "Did you mean 'cka'?" in fails("measures", "ckaa")


# -- report ------------------------------------------------------------------------------------------------------


def test_report_prints_what_was_saved(repscope, tmp_path):
    result = comparison(
        2,
        2,
        conventions={"kernel": "linear", "estimator": "unbiased", "pairs": "batch", "widths": [3, 4]},
        warnings=("mind the order",),
        versions={"numpy": "2.0"},
        seeds={"bandwidth": 7},
    )
    result.save(tmp_path / "c.npz")
    done = repscope("report", tmp_path / "c.npz")
    assert (done.code, done.err) == (0, "")
    for part in (
        "CKA (linear, unbiased): first × second",
        "50 examples; pairs within batches (minibatch estimate)",
        "warning: mind the order",
        "numpy 2.0",
        "bandwidth 7",
        result.created,
    ):
        assert part in done.out
    assert [line for line in done.out.splitlines() if line.split() == ["widths", "3,", "4"]]
    assert json.loads(repscope("report", tmp_path / "c.npz", "--json").out)["values"] == result.values.tolist()


def test_report_refuses_other_files(fails, tmp_path):
    (tmp_path / "c.npz").write_bytes(b"PK nothing")
    np.savez(tmp_path / "arrays.npz", x=np.ones(3))
    assert "path must be an existing file" in fails("report", tmp_path / "gone.npz")
    assert "got a truncated or damaged one" in fails("report", tmp_path / "c.npz")
    assert "must be a file written by Comparison.save, got another kind of file" in fails(
        "report", tmp_path / "arrays.npz"
    )


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_facts_of_each_layer_are_printed_within_the_width(width):
    fact = {"features": 12, "participation_ratio": 3.14159, "first_component_share": None, "dominant_share": 0.02}
    diagnostics = {"first": {"encoder.layers.0.attention": fact}, "second": {"conv1": fact | {"features": 128}}}
    lines = diagnostic_lines(comparison(diagnostics=diagnostics), width)
    assert max(map(len, lines)) <= width
    head, *table = lines[2:5]
    shown = len(head.split())
    assert head.split() == ["features", "PR", "PC1", "farthest", "largest", "constant", "repeated"][:shown]
    assert shown == 7 or width == 40
    assert table[1].split()[-shown:] == ["128", "3.14", "–", "0.02", "–", "–", "–"][:shown]
    assert table[0].split()[-shown] == "12"
    assert diagnostic_lines(comparison(), width) == []


# -- chance ----------------------------------------------------------------------------------------------------------


def null(p_values, mean=0.25, sd=0.03):
    p_values = np.array(p_values, dtype=float)
    shape = p_values.shape
    return {"p_values": p_values, "null_mean": np.full(shape, mean), "null_sd": np.full(shape, sd)}


def test_best_matches_within_chance_are_named_so():
    values = np.array([[0.3, 0.2], [0.1, 0.9]])
    lines = match_lines(comparison(2, 2, values=values, **null([[0.2, 0.4], [0.9, 0.001]])), 80)
    assert lines[1:] == ["  conv0 → conv0b  0.300  within chance", "  conv1 → conv1b  0.900"]


@pytest.mark.parametrize(
    ("p_values", "end"),
    [
        ([[0.2, 0.4], [0.9, 0.001]], "3 of 4 scores are within chance (p > 0.05)."),
        ([[0.2, 0.01], [0.01, 0.001]], "1 of 4 scores is within chance (p > 0.05)."),
        ([[0.01, 0.01], [0.01, 0.001]], "None of 4 scores is within chance (p > 0.05)."),
        ([[math.nan] * 2] * 2, "Too few examples for p values."),
    ],
)
def test_the_chance_level_is_told(p_values, end):
    assert chance_line(comparison(2, 2, **null(p_values))) == f"Chance level: 0.250 (sd 0.030). {end}"


def test_chance_levels_that_differ_are_told_by_their_ends():
    found = null([[0.01, 0.01]]) | {"null_mean": np.array([[0.1, 0.4]]), "null_sd": np.array([[0.02, 0.01]])}
    assert chance_line(comparison(1, 2, **found)).startswith("Chance level: 0.100 to 0.400 (sd up to 0.020).")


def test_no_chance_level_is_told_where_none_is_known():
    assert chance_line(comparison(2, 2)) == ""
    assert chance_line(comparison(2, 2, **null([[0.1, 0.1]] * 2, mean=math.nan))) == ""
