from __future__ import annotations

import json
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from repscope.errors import FileFormatError, InputError
from repscope.studies.folder import Folder, plain, read_json, replaced, write_json

CONFIGURATION = {"study": "example", "images": 10}


def test_what_is_kept_is_computed_once(tmp_path):
    folder = Folder(tmp_path / "a", CONFIGURATION)
    first = folder.kept("numbers", lambda: {"a": np.array([1.0, 2.0]), "b": math.nan})
    assert first == {"a": [1.0, 2.0], "b": None}
    again = Folder(tmp_path / "a", CONFIGURATION).kept("numbers", lambda: pytest.fail("computed again"))
    assert again == first


def test_times_add_up_over_calls(tmp_path):
    Folder(tmp_path, CONFIGURATION).took("training", 1.5)
    folder = Folder(tmp_path, CONFIGURATION)
    folder.took("training", 2.0)
    assert folder.times == {"training": 3.5}


def test_every_difference_of_the_configuration_is_named(tmp_path):
    Folder(tmp_path, CONFIGURATION).took("x", 1)
    with pytest.raises(InputError, match=r"got another images \(10 there, 20 here\), seed \(none there, 1 here\)"):
        Folder(tmp_path, {"study": "example", "images": 20, "seed": 1})


def test_a_fact_that_is_learned_later_is_held_too(tmp_path):
    folder = Folder(tmp_path, CONFIGURATION)
    folder.settle("data cifar10", "abc")
    folder.settle("data cifar10", "abc")
    with pytest.raises(InputError, match=r"another data cifar10 \(abc there, def here\)"):
        folder.settle("data cifar10", "def")
    Folder(tmp_path, CONFIGURATION)  # the fact is no difference of the settings


def test_a_configuration_of_which_nothing_is_finished_gives_way(tmp_path):
    Folder(tmp_path, CONFIGURATION)
    other = CONFIGURATION | {"images": 20}
    Folder(tmp_path, other)
    assert read_json(tmp_path / "settings.json") == other


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "settings.json").write_text("{")
    (tmp_path / "other").write_text("")
    with pytest.raises(FileFormatError, match=r"settings\.json could not be read"):
        Folder(tmp_path, CONFIGURATION)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="must be a folder of this study or not exist"):
        Folder(tmp_path / "file", CONFIGURATION)


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def interrupted():
        with replaced(path) as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert read_json(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_values_become_strict_json():
    given = {"a": (np.float64(1.5), np.int32(2), True), 3: [math.inf, None, "text"], "m": np.eye(2)}
    assert json.loads(json.dumps(plain(given), allow_nan=False)) == {
        "a": [1.5, 2, True],
        "3": [None, None, "text"],
        "m": [[1.0, 0.0], [0.0, 1.0]],
    }


def test_a_row_of_numbers_is_one_line(tmp_path):
    value = {"m": [[0.1, -2.0, None], [1e-9, 3, 4]], "words": ["[ 1, 2 ]", "b"]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    lines = [line.strip() for line in (tmp_path / "a.json").read_text(encoding="utf-8").splitlines()]
    assert "[ 0.1, -2.0, null ]," in lines
    assert '"[ 1, 2 ]",' in lines


def test_a_figure_is_two_files_that_depend_on_nothing_but_it(tmp_path):
    def drawn(name):
        figure = Figure()
        figure.add_subplot().plot([1, 2], [3, 4])
        return Folder(tmp_path / name, CONFIGURATION).draw("curve", figure)

    first, second = drawn("a"), drawn("b")
    assert [path.name for path in first] == ["curve.png", "curve.svg"]
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert first[1].read_text(encoding="utf-8").startswith("<?xml")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
