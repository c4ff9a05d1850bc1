"""The folder of results: whole files, and nobody else's replaced."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from repscope import InputError, MissingExtraError, compare, load
from repscope.cli.files import UNFINISHED, check_folder, remove_unfinished, write_results

pytest.importorskip("matplotlib")

RESULTS = {"comparison.npz", "comparison.json", "heatmap.png"}


@pytest.fixture
def comparison():
    rng = np.random.default_rng(0)
    return compare({"one": rng.standard_normal((20, 4)), "two": rng.standard_normal((20, 3))})


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_the_files_hold_the_comparison(tmp_path, comparison):
    folder = tmp_path / "new" / "results"
    written = write_results(folder, [comparison])
    assert {path.name for path in written} == names(folder) == RESULTS
    assert load(folder / "comparison.npz").equals(comparison)
    assert json.loads((folder / "comparison.json").read_text())["values"] == comparison.values.tolist()
    assert (folder / "heatmap.png").read_bytes().startswith(b"\x89PNG")
    image = pytest.importorskip("matplotlib.image").imread(folder / "heatmap.png")
    assert len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > 10, "the picture is of more than one colour"


def test_several_measures_have_a_file_each(tmp_path, comparison):
    rng = np.random.default_rng(0)
    x = {"one": rng.standard_normal((20, 4)), "two": rng.standard_normal((20, 3))}
    several = list(compare(x, measure=["cka", "procrustes"]).values())
    write_results(tmp_path, several)
    assert names(tmp_path) == {"comparison-cka.npz", "comparison-procrustes.npz", "comparison.json", "heatmap.png"}
    assert load(tmp_path / "comparison-procrustes.npz").equals(several[1])
    assert [part["measure"] for part in json.loads((tmp_path / "comparison.json").read_text())] == ["cka", "procrustes"]


def test_older_results_are_replaced_and_other_files_stay(tmp_path, comparison):
    (tmp_path / "notes.txt").write_text("mine")
    write_results(tmp_path, [comparison.select("one")])
    check_folder(tmp_path, ["cka"])
    write_results(tmp_path, [comparison])
    assert names(tmp_path) == {*RESULTS, "notes.txt"}
    assert load(tmp_path / "comparison.npz").equals(comparison)


def test_no_unfinished_sums_of_any_process_stay(tmp_path):
    for name in (UNFINISHED, f"{UNFINISHED}.1-of-2", f"{UNFINISHED}.2-of-2"):
        (tmp_path / name).touch()
    (tmp_path / "other").touch()
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("name", sorted(RESULTS))
def test_files_of_others_are_not_replaced(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x89PNG mine")
    with pytest.raises(InputError, match=rf"-o must not hold files of others .*{name}', which repscope did not write"):
        check_folder(tmp_path, ["cka"])
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="-o must not hold files of others"):
        check_folder(tmp_path, ["cka"])
    (tmp_path / name).rmdir()
    check_folder(tmp_path, ["cka"])


def test_json_of_others_is_not_replaced(tmp_path):
    (tmp_path / "comparison.json").write_text('{"values": [1, 2]}')
    with pytest.raises(InputError, match="-o must not hold files of others"):
        check_folder(tmp_path, ["cka"])


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "taken").write_text("")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(InputError, match=rf"-o must be a folder, got '{folder}': '.*taken' is a file"):
            check_folder(folder, ["cka"])


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="-o must be a folder that can be written to"):
        check_folder(tmp_path / "new", ["cka"])


def test_without_matplotlib_nothing_is_computed(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'matplotlib'.*repscope\[plot\]"):
        check_folder(tmp_path, ["cka"])


def test_the_command_checks_the_folder_first(fails, workplace):
    (workplace / "heatmap.png").write_text("mine")
    line = fails("compare", "gone.py:net", "--data", "digits", "-o", ".")
    assert "-o must not hold files of others under the names of the results" in line


def test_the_command_says_what_it_wrote(repscope, workplace):
    done = repscope("compare", "a.npz", "-o", "results")
    assert done.code == 0
    assert done.err == "wrote results/comparison.npz, results/comparison.json, results/heatmap.png\n"
    assert names(workplace / "results") == RESULTS


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")])
def test_an_interruption_while_writing_leaves_what_was_there(tmp_path, comparison, monkeypatch, error):
    folder = tmp_path / "results"
    write_results(folder, [comparison])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def stops(*arguments, **options):
        raise error

    monkeypatch.setattr("repscope.plot.heatmap", stops)
    for target in (folder, tmp_path / "other" / "new"):
        with pytest.raises(type(error) if isinstance(error, Exception) else error):
            write_results(target, [comparison.select("one")])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert names(tmp_path) == {"results"}


def test_an_interruption_while_renaming_waits_for_the_end(tmp_path, comparison, monkeypatch):
    write_results(tmp_path, [comparison.select("one")])
    replace, pressed = os.replace, []

    def pressing(source, target):
        if not pressed and str(target).endswith(tuple(RESULTS)) and ".tmp" not in str(target):
            pressed.append(target)
            signal.raise_signal(signal.SIGINT)
        replace(source, target)

    monkeypatch.setattr(os, "replace", pressing)
    with pytest.raises(KeyboardInterrupt):
        write_results(tmp_path, [comparison])
    assert len(pressed) == 1
    assert names(tmp_path) == RESULTS
    assert load(tmp_path / "comparison.npz").equals(comparison)
    assert len(json.loads((tmp_path / "comparison.json").read_text())["values"]) == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
