"""Spectra of layers, as lines on logarithmic axes."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from repscope.errors import InputError
from repscope.plot import spectra
from tests.comparison.examples import comparison, ridge

FACTS = {
    "net a": {
        "conv1": {"spectrum": [0.7, 0.3]},
        "conv2": {"spectrum": [1.0]},
        "conv3": {"spectrum": [0.5, 0.5, 0.0]},
    },
    "net b": {"conv2": {"spectrum": [0.6, 0.4]}, "conv1": {"dead_units": 3}},
}


def lines(ax):
    return [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in ax.lines]


def test_each_layer_has_its_line_without_the_zeros():
    ax = spectra(comparison(ridge(3), diagnostics=FACTS))
    assert lines(ax) == [([1, 2], [0.7, 0.3]), ([1], [1.0]), ([1, 2], [0.5, 0.5])]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_title() == "net a"
    assert ax.lines[1].get_marker() == "o"


def test_another_model_and_layers_without_a_spectrum():
    ax = spectra(comparison(ridge(3), diagnostics=FACTS), model="net b")
    assert lines(ax) == [([1, 2], [0.6, 0.4])]


def test_the_bar_names_the_layers():
    ax = spectra(comparison(ridge(3), diagnostics=FACTS))
    bar = ax.figure.axes[1]
    ax.figure.draw_without_rendering()
    assert [label.get_text() for label in bar.get_yticklabels()] == ["conv1", "conv2", "conv3"]


def test_long_spectra_are_thinned_and_keep_their_ends(tmp_path):
    shares = np.arange(5000.0, 0.0, -1.0)
    facts = {"net a": {f"conv{i + 1}": {"spectrum": shares.tolist()} for i in range(60)}}
    ax = spectra(comparison(ridge(60), diagnostics=facts))
    x, y = lines(ax)[0]
    assert len(x) <= 60
    assert (x[0], x[-1]) == (1, 5000)
    assert (y[0], y[-1]) == (5000, 1)
    ax.figure.savefig(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").stat().st_size < 250_000


def test_it_draws_into_given_axes():
    ax = Figure().subplots()
    assert spectra(comparison(ridge(3), diagnostics=FACTS), ax) is ax


def test_what_is_missing_is_said():
    with pytest.raises(InputError, match=r"spectra: comparison must keep the spectra of 'net a' .* got none\."):
        spectra(comparison())
    with pytest.raises(InputError, match=r"spectra: model must be one of the comparison's, 'net a', 'net b', got 'c'"):
        spectra(comparison(), model="c")
