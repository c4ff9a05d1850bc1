from __future__ import annotations

import importlib.util
import json
import warnings

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

import repscope
from repscope.errors import InputError, MissingExtraError
from repscope.studies import demo
from repscope.studies.digits import load_digits
from repscope.studies.identification import identification_accuracy
from repscope.studies.networks import REPRESENTATION_LAYERS
from repscope.studies.table2 import INDEXES

SMALL = {"networks": 3, "epochs": 2, "width": 2, "seed": 7, "progress": False}


def few_digits(size):
    images, labels = load_digits(size)
    return images[:150], labels[:150]


def run_small(folder):
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")  # the demonstration itself warns of nothing
        patch.setattr(demo, "load_digits", few_digits)
        return demo.run_demo(folder, **SMALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="module")
def result(folder):
    return run_small(folder)


def test_every_index_scores_all_layers_of_all_networks(result):
    labels = [(network, layer) for network in ("net 1", "net 2", "net 3") for layer in REPRESENTATION_LAYERS]
    assert list(result.comparisons) == [index.id for index in INDEXES]
    for index in INDEXES:
        comparison = result.comparisons[index.id]
        assert list(zip(comparison.row_models, comparison.row_layers, strict=True)) == labels
        assert list(zip(comparison.column_models, comparison.column_layers, strict=True)) == labels
        assert comparison.n == 150
        assert comparison.measure == index.measure.id
        assert not np.isnan(comparison.values).any()


def test_the_scores_are_those_of_the_measures_on_the_networks_activations(result, folder):
    import torch
    from safetensors.torch import load_file

    from repscope.studies.networks import tiny10

    maps = []
    for seed in (7, 8):
        model = tiny10(2, in_channels=1)
        saved = load_file(folder / "networks" / f"tiny10-width2-epochs2-seed{seed}.safetensors")
        model.load_state_dict({k.removeprefix("model."): v for k, v in saved.items() if k.startswith("model.")})
        found = {}
        for name in ("conv3", "avg_pool"):
            model.get_submodule(name).register_forward_hook(
                lambda _, __, output, name=name, found=found: found.update({name: output.flatten(1).double().numpy()})
            )
        with torch.no_grad():
            model.eval()(torch.as_tensor(few_digits(16)[0]))
        maps.append(found)
    for index in INDEXES:
        block = result.comparisons[index.id].between("net 1", "net 2")
        got = block.values[REPRESENTATION_LAYERS.index("conv3"), REPRESENTATION_LAYERS.index("avg_pool")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", repscope.RankWarning)
            expected = float(index.measure(maps[0]["conv3"], maps[1]["avg_pool"]))
        np.testing.assert_allclose(got, expected, rtol=1e-4, err_msg=index.id)


def test_the_accuracies_are_those_of_the_saved_comparisons(result):
    for index in INDEXES:
        comparison = repscope.load(result.comparison_files[index.id])
        assert comparison.equals(result.comparisons[index.id])
        values = comparison.values + comparison.values.T if index.symmetrise else comparison.values
        scores = values.reshape(3, 9, 3, 9).transpose(0, 2, 1, 3)
        found = result.identification[index.id]
        np.testing.assert_allclose(found.accuracy, identification_accuracy(scores), rtol=1e-12)
    assert result.chance == 1 / 9


def test_results_hold_the_settings_the_networks_and_the_accuracies(result):
    content = json.loads(result.results.read_text(encoding="utf-8"))
    assert content["settings"] == {"epochs": 2, "width": 2, "seed": 7, "image_size": 16}
    assert [network["seed"] for network in content["networks"]] == [7, 8, 9]
    assert [row["id"] for row in content["indexes"]] == [index.id for index in INDEXES]
    for row, index in zip(content["indexes"], INDEXES, strict=True):
        assert row["accuracy"] == result.identification[index.id].accuracy
        assert row["paper"] == index.paper
    assert "repscope" in content["versions"]


def test_the_figure_is_a_png_of_a_readable_size(result):
    data = result.figure.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(data[start : start + 4], "big") for start in (16, 20))
    assert width > 1200
    assert height > 900


def test_nothing_half_written_is_left(result, folder):
    assert not list(folder.rglob("*.partial"))
    assert {path.name for path in folder.iterdir()} == {"networks", "comparisons", "layers.png", "results.json"}


def test_the_table_shows_every_index_beside_the_paper(result):
    lines = result.table().splitlines()
    for index in INDEXES:
        (line,) = [line for line in lines if line.startswith(index.title + " ")]
        assert f"{100 * result.identification[index.id].accuracy:.1f}" in line
        assert line.endswith(f"{100 * index.paper:.1f}")
        assert ("†" in line) == bool(result.comparisons[index.id].warnings)
        assert ("*" in line) == result.identification[index.id].among_best
    assert any(line.startswith("chance") and "11.1" in line for line in lines)


def test_the_same_seed_gives_the_same_numbers(result, tmp_path):
    again = run_small(tmp_path)
    assert again.results.read_bytes() == result.results.read_bytes()
    for name, comparison in result.comparisons.items():
        np.testing.assert_array_equal(again.comparisons[name].values, comparison.values)


def test_trained_networks_are_kept_and_used_again(result, folder, monkeypatch):
    monkeypatch.setattr(demo, "load_digits", few_digits)
    files = sorted((folder / "networks").iterdir())
    assert len(files) == 3
    before = [(path.name, path.stat().st_mtime_ns) for path in files]
    models, trained = demo._train(folder / "networks", range(7, 10), 2, 2, False)
    assert [(path.name, path.stat().st_mtime_ns) for path in files] == before
    assert trained == result.networks
    assert list(models) == ["net 1", "net 2", "net 3"]


def test_fewer_than_three_networks_are_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"run_demo: networks must be at least 3, got 2\. The jackknife leaves one out"
    ):
        demo.run_demo(tmp_path, networks=2)


@pytest.mark.parametrize(("package", "extra"), [("torch", "torch"), ("safetensors", "torch"), ("matplotlib", "plot")])
def test_missing_packages_are_named_before_anything_is_done(tmp_path, monkeypatch, package, extra):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(MissingExtraError, match=rf"package '{package}'.*repscope\[{extra}\]"):
        demo.run_demo(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_threads_are_as_they_were(result):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(demo, "load_digits", few_digits)
            demo._train(result.figure.parent / "networks", range(7, 8), 2, 2, False)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
