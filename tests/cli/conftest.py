from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pytest

MODELS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.early = nn.Linear(8, width)
        self.act = nn.ReLU()
        self.late = nn.Linear(width, 4)

    def forward(self, x):
        return self.late(self.act(self.early(x)))

def first():
    return Net()

def padded():
    torch.rand(100)
    return Net()

def second():
    return Net(5)

instance = Net()
number = 3

def with_argument(width):
    return Net(width)

def gives_a_list():
    return [Net()]

def breaks():
    raise ValueError("no such\\nconfiguration.")

def constant():
    net = Net()
    nn.init.zeros_(net.early.weight)
    return net

def talks():
    print("loading the model")
    return Net()

def stops():
    raise SystemExit(1)
"""

DATA = """
import numpy as np
import torch

def inputs():
    return np.random.default_rng(0).standard_normal((40, 8)).astype("float32")

ready = inputs()

def loader():
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(inputs())), batch_size=10)

class Broken:
    def __len__(self):
        return 40

    def __getitem__(self, index):
        if index == 7:
            raise KeyError("image 7 is gone")
        return inputs()[index]
"""


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def repscope(capsys):
    """Run one command in this process."""
    from repscope.cli import main

    def run(*words: object) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        return Done(left.value.code, printed.out, printed.err)

    return run


@pytest.fixture
def fails(repscope):
    """Run a command that must end with exit code 2 and one line on stderr, which is returned."""

    def run(*words: object) -> str:
        done = repscope(*words)
        assert done.code == 2, done
        assert done.out == ""
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1, done.err
        return done.err

    return run


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with a user's models, data and arrays, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "inputs.py").write_text(DATA)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((40, 6))
    np.savez("a.npz", early=x, late=x[:, :3] ** 2)
    np.savez("b.npz", one=2 * x, two=rng.standard_normal((40, 5)))
    np.save("alone.npy", x)
    return tmp_path
