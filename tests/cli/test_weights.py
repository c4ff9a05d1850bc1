"""Trained weights into a model; a pickle never runs code."""

from __future__ import annotations

import os
import pickle
import sys

import pytest

from repscope import FileFormatError, InputError, MissingExtraError
from repscope.weights import load_weights

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")


def net(seed=0, width=3):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(2, width), torch.nn.BatchNorm1d(width), torch.nn.Linear(width, 1))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


class Harmful:
    """Unpickled the usual way, it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def prefixed(prefix):
    return lambda state: {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.safetensors"])
def test_weights_in_each_kind_of_file(tmp_path, name):
    trained, model = net(1), net(2)
    assert not same(trained, model)
    save = safetensors.save_file if name.endswith("safetensors") else torch.save
    save(trained.state_dict(), tmp_path / name)
    load_weights(model, tmp_path / name)
    assert same(trained, model)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {"model_state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model": {"state_dict": state}},
        prefixed("module."),
        prefixed("_orig_mod."),
        prefixed("module._orig_mod."),
        prefixed("_orig_mod.module."),
    ],
)
def test_weights_as_training_scripts_keep_them(tmp_path, wrap):
    trained, model = net(1), net(2)
    torch.save(wrap(trained.state_dict()), tmp_path / "w.pt")
    load_weights(model, tmp_path / "w.pt")
    assert same(trained, model)


def test_a_model_whose_own_names_begin_so_keeps_them(tmp_path):
    inner, model = net(1), torch.nn.ModuleDict({"module": net(2)})
    torch.save({"module." + key: value for key, value in inner.state_dict().items()}, tmp_path / "w.pt")
    load_weights(model, tmp_path / "w.pt")
    assert same(inner, model)


@pytest.mark.parametrize("nest", [lambda x: x, lambda x: {"state_dict": x}, lambda x: {"0.weight": x}])
def test_a_pickle_never_runs_code(tmp_path, nest):
    file, harm = tmp_path / "w.pt", tmp_path / "harm"
    torch.save(nest(Harmful(harm)), file)
    with pytest.raises(FileFormatError, match=r"--weights must hold tensors only, got .*could run code and are not"):
        load_weights(net(), file)
    plain = tmp_path / "plain.pth"
    plain.write_bytes(pickle.dumps(Harmful(harm), protocol=2))
    with pytest.raises(FileFormatError, match="--weights must hold tensors only"):
        load_weights(net(), plain)
    assert not harm.exists()
    pickle.loads(plain.read_bytes())
    assert harm.exists(), "the file would have done nothing anyway, so the test shows nothing"


def test_a_whole_pickled_model_is_refused(tmp_path):
    torch.save(net(), tmp_path / "w.pt")
    with pytest.raises(FileFormatError, match=r"Save model.state_dict\(\) alone"):
        load_weights(net(), tmp_path / "w.pt")


def test_missing_and_unexpected_weights_are_listed(tmp_path):
    state = net().state_dict()
    state["head.weight"] = state.pop("0.weight")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(
        InputError, match=r"got '.*w.pt' with weights 1 missing: 0.weight; 1 unexpected: head.weight. Build"
    ):
        load_weights(net(), tmp_path / "w.pt")
    torch.save({f"x{i}": torch.zeros(1) for i in range(9)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"9 unexpected: x0, x1, x2, …"):
        load_weights(net(), tmp_path / "w.pt")


def test_weights_of_another_shape_are_listed(tmp_path):
    torch.save({k: v for k, v in net(width=4).state_dict().items() if k != "2.bias"}, tmp_path / "w.pt")
    with pytest.raises(
        InputError, match=r"7 of another shape: 0.weight \(4, 2\) for \(3, 2\), .* …; 1 missing: 2.bias"
    ):
        load_weights(net(), tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("content", "got"),
    [(torch.zeros(3), "Tensor"), ({"epoch": 3, "loss": 0.5}, "the keys 'epoch', 'loss'"), ([], "list")],
)
def test_files_without_a_state_dict(tmp_path, content, got):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(FileFormatError, match=f"--weights-b must hold a state dict, .*got {got} in"):
        load_weights(net(), tmp_path / "w.pt", argument="--weights-b")


def test_files_that_are_damaged(tmp_path):
    torch.save(net().state_dict(), tmp_path / "w.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "w.pt").read_bytes()[:700])
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "w.safetensors").write_bytes(b"not at all")
    with pytest.raises(FileFormatError, match=r"--weights must be a file that torch.save wrote, got .*half.pt"):
        load_weights(net(), tmp_path / "half.pt")
    with pytest.raises(FileFormatError, match=r"--weights must be a file that torch.save wrote, got .*empty.pt"):
        load_weights(net(), tmp_path / "empty.pt")
    with pytest.raises(FileFormatError, match=r"--weights must be a whole .safetensors file, got .*w.safetensors"):
        load_weights(net(), tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("w.ckpt", r"--weights must end in .safetensors, .pt or .pth, got .*w.ckpt"),
        ("gone.pt", r"--weights must name an existing file, got .*gone.pt"),
    ],
)
def test_files_that_are_refused(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        load_weights(net(), tmp_path / name)


def test_without_safetensors_the_message_says_how_to_install_it(tmp_path, monkeypatch):
    (tmp_path / "w.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(MissingExtraError, match=r"Reading .safetensors files needs the package 'safetensors'"):
        load_weights(net(), tmp_path / "w.safetensors")
