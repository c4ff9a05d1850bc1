from __future__ import annotations

import numpy as np
import pytest

from repscope.errors import InputError
from repscope.studies import paper
from repscope.studies.identification import identification_accuracy


def test_a_panel_has_the_numbers_of_the_figure():
    linear = paper.panel("fig2/cka-linear")
    assert linear.shape == (9, 9)
    np.testing.assert_allclose(linear[0, :3], [0.948, 0.883, 0.631], atol=1e-9)
    np.testing.assert_allclose(paper.panel("fig2/linear-regression")[8, 0], 0.08, atol=0.006)


def test_symmetric_panels_are_whole():
    for name in ("fig3/plain-66", "fig4/resnet-62", "figF5/plain-34"):
        values = paper.panel(name)
        np.testing.assert_array_equal(values, values.T)
        assert (np.diagonal(values) > 0.95).all()


@pytest.mark.parametrize("name", paper.panels())
def test_panels_are_similarities_of_the_size_of_their_networks(name):
    values = paper.panel(name)
    assert np.all((values >= 0) & (values <= 1.0))
    layers = {"9": 9, "10": 9, "18": 17, "34": 33, "66": 65, "14": 13, "32": 31, "62": 61}
    sizes = [layers[word.split("-")[-1]] for word in name.split("/")[1].split(" x ") if word.split("-")[-1] in layers]
    if name.startswith("figF1"):
        assert values.shape == (12, 12)
    elif name.startswith(("fig3", "fig4", "figF5")):
        assert values.shape == (sizes[0], sizes[0])
    elif name.startswith("fig5"):
        assert values.shape == tuple(sizes)


def test_the_mean_matrices_identify_what_table_2_says():
    def accuracy(values):
        scores = np.broadcast_to(values, (2, 2, 9, 9))
        return identification_accuracy(scores)

    assert accuracy(paper.panel("fig2/cka-linear")) == 1
    assert accuracy(paper.panel("fig2/cca-r2")) == pytest.approx(1 / 9)


def test_curves_have_errors_where_the_figure_has_a_band():
    values, errors = paper.curve("fig6/same/conv1")
    assert len(values) == len(errors) == len(paper.widths()) == 11
    assert values[0] == 0.875
    assert errors[0] == 0.018
    probe, none = paper.curve("fig3/probe/plain-10")
    assert probe[0] == 0.6
    assert np.isnan(none).all()
    assert all(len(paper.curve(name)[0]) in (9, 11, 17, 33, 65) for name in paper.curves())


def test_a_panel_can_be_drawn_beside_ours():
    found = paper.comparison("fig5/plain-10 x resnet-14")
    assert found.row_layers[0] == found.column_layers[0] == "1"
    assert found.values.shape == (9, 13)
    named = paper.comparison("figF7/all examples", [f"a{i}" for i in range(9)], [f"b{i}" for i in range(9)])
    assert named.column_layers[-1] == "b8"
    with pytest.raises(InputError, match=r"row_layers|shape"):
        paper.comparison("figF7/all examples", ["a"], ["b"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paper.panel("fig2/cka"), r"panel: name must be a panel of the paper, got 'fig2/cka'\. Did you mean"),
        (lambda: paper.curve("fig6/conv1"), r"curve: name must be a curve of the paper, got 'fig6/conv1'"),
        (lambda: paper.number("test accuracy", "vgg"), r"number: group and name must be one of .*tiny-10.*got .*vgg"),
    ],
)
def test_unknown_names_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_the_source_is_named_beside_the_data():
    from importlib import resources

    text = resources.files("repscope.studies").joinpath("data/ATTRIBUTION.md").read_text(encoding="utf-8")
    assert "paper_figures.json" in text
    assert "arxiv.org/abs/1905.00414" in text
