"""Models and data from text."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from repscope import FileFormatError, InputError, MissingExtraError
from repscope import loading as load

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.mark.parametrize("spec", ["models.py:first", "models.py:Net", "models.py:instance", "models:first"])
def test_models_from_files_and_modules(spec):
    model = load.load_model(spec)
    assert isinstance(model, torch.nn.Module)
    assert model(torch.zeros(2, 8)).shape == (2, 4)
    sys.modules.pop("models", None)


def test_a_file_runs_once(workplace):
    (workplace / "counted.py").write_text("from neighbour import calls\ncalls.append(1)\nclass Thing:\n    pass\n")
    (workplace / "neighbour.py").write_text("calls = []\n")
    first, second = (load.load_object("counted.py:Thing", "A") for _ in range(2))
    assert first is second
    assert load.load_object("neighbour.py:calls", "A") == []  # the file itself is another module than the neighbour
    assert sys.modules.pop("neighbour").calls == [1]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "models",
            r"A must be package.module:name or file.py:name, hf:NAME_OR_DIR, or a file of .*got 'models'",
        ),
        ("models.py", r"got 'models.py'. Did you mean models.py:name\?"),
        ("gone.py:first", r"A must name an existing file, got 'gone.py'"),
        ("models.py:frist", r"A must name something in models.py, got 'frist'. Did you mean 'first'\?"),
        ("models.py:number", r"A must name a torch.nn.Module or a function that returns one, got int at models.py"),
        ("models.py:with_argument", r"called without arguments, got models.py:with_argument \(missing a required arg"),
        ("models.py:gives_a_list", r"A must give a torch.nn.Module, got list from models.py:gives_a_list"),
        ("models.py:breaks", r"got ValueError from models.py:breaks: no such. Add --verbose"),
        ("models.py:stops", r"got SystemExit from models.py:stops: 1"),
        ("no.such.module:first", r"got ModuleNotFoundError from no.such.module: No module named 'no'"),
    ],
)
def test_models_that_are_refused(spec, message):
    with pytest.raises(InputError, match=message):
        load.load_model(spec)


def test_a_file_that_does_not_compile_is_named(workplace):
    (workplace / "broken.py").write_text("def first(:\n")
    for _ in range(2):  # a failed module is not kept
        with pytest.raises(InputError, match=r"got SyntaxError from broken.py: .*line 1"):
            load.load_model("broken.py:first")


def test_without_torch_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"Comparing models needs the package 'torch'.*repscope\[torch\]"):
        load.load_model("models.py:first")


def test_devices():
    model = load.load_model("models.py:first")
    assert load.to_device(model, None) is model
    assert load.to_device(model, "meta").early.weight.device.type == "meta"
    with pytest.raises(InputError, match=r"--device must be a device that torch has here, got 'warp' \(Expected one"):
        load.to_device(model, "warp")


@pytest.mark.parametrize(
    ("specs", "weights", "names"),
    [
        (["m.py:first", "m.py:second"], (None, None), ["first", "second"]),
        (["zoo.nets:big"], (None, None), ["big"]),
        (["m.py:net", "m.py:net"], ("run/epoch1.pt", "run/epoch9.pt"), ["net epoch1", "net epoch9"]),
        (["m.py:net", "m.py:net"], ("run/epoch1.pt", None), ["net epoch1", "net"]),
        (["m.py:net", "m.py:net"], (None, None), ["net a", "net b"]),
        (["m.py:net", "n.py:net"], ("1/w.pt", "2/w.pt"), ["net a", "net b"]),
    ],
)
def test_models_are_called_what_tells_them_apart(specs, weights, names):
    assert load.model_names(specs, weights) == names


def test_seeding_makes_factories_repeatable():
    drawn = []
    for _ in range(2):
        load.seed_everything(3)
        drawn.append((torch.rand(1).item(), np.random.rand()))
    assert drawn[0] == drawn[1]


# -- data --------------------------------------------------------------------------------------------------------


def test_digits_come_with_the_package():
    assert load.load_data("digits").shape == (1797, 1, 16, 16)
    assert load.load_data("digits", image_size=8).shape == (1797, 1, 8, 8)


@pytest.mark.parametrize("spec", ["inputs.py:inputs", "inputs.py:ready", "inputs:inputs"])
def test_data_from_files_and_modules(spec):
    assert load.load_data(spec).shape == (40, 8)
    sys.modules.pop("inputs", None)


def test_arrays_as_data():
    np.savez("one.npz", x=np.ones((5, 8)))
    assert load.load_data("one.npz").shape == (5, 8)
    assert load.load_data("alone.npy").shape == (40, 6)
    assert {name: x.shape for name, x in load.load_data("a.npz").items()} == {"early": (40, 6), "late": (40, 3)}


@pytest.mark.parametrize(
    ("spec", "size", "message"),
    [
        ("nothing", None, r"--data must be digits, a folder of images, .*, got 'nothing', which does not exist"),
        ("models.py", None, r"got 'models.py', a file of another kind"),
        ("alone.npy", 32, r"--image-size must be left out unless --data is digits or a folder, got 'alone.npy'"),
        ("gone.npz", None, r"gone.npz does not exist"),
        ("models.py:breaks", None, r"--data must load without errors, got ValueError from models.py:breaks"),
        ("digits", 4, r"size must be at least 8"),
    ],
)
def test_data_that_are_refused(spec, size, message):
    with pytest.raises(InputError, match=message):
        load.load_data(spec, image_size=size)


def test_pickled_arrays_are_refused(workplace):
    np.save("objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match="pickled objects, which are never executed"):
        load.load_data("objects.npy")


def test_callable_without_signature_is_called(monkeypatch):
    factory = types.SimpleNamespace(dict=dict)  # built-in types have no Python signature
    monkeypatch.setattr(load, "load_object", lambda spec, argument: factory.dict)
    assert load.load_data("m:dict") == {}
