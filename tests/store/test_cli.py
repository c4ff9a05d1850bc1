from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from repscope import compare
from repscope.cli import main
from repscope.store import is_store, open_store
from tests.store.helpers import files

MODEL = """
import os, time, torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.early, self.late = nn.Linear(8, 6), nn.Linear(6, 4)

    def forward(self, x):
        time.sleep(float(os.environ.get("SECONDS", 0)))
        return self.late(self.early(x).relu())

def breaks():
    raise KeyError("gone")

class Picky(Net):
    def forward(self, x):
        return super().forward(x[:, :5])
"""

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "net.py").write_text(MODEL)
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    np.save("x.npy", np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32))
    return tmp_path


@pytest.fixture
def repscope(folder: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, printed.err

    return run


def test_capture_writes_a_store(repscope: Command, folder: Path) -> None:
    words = ["capture", "net.py:Net", "--data", "x.npy", "-o", "s"]
    assert repscope(*words) == (0, "", "wrote s: 2 layers of 40 examples\n")
    store = open_store("s")
    assert store.names == ("early", "late")
    before = files(folder / "s")
    assert repscope(*words, "--quiet") == (0, "", "")
    assert files(folder / "s") == before, "the seed of the weights is the same each time"


def test_its_options_arrive(repscope: Command) -> None:
    words = ["--layers", "late", "--batch-size", 16, "--reduce", "mean", "--dtype", "float16", "--seed", 3]
    assert repscope("capture", "net.py:Net", "--data", "x.npy", "-o", "s", *words)[0] == 0
    store = open_store("s")
    assert (store.names, store.chunk_rows, store.layers[0].dtype) == (("late",), 16, "float16")
    code, _, err = repscope("capture", "net.py:Net", "--data", "x.npy", "-o", "s")
    assert code == 2
    assert "write_store: model must be the one that s was begun with, got other weights" in err
    assert repscope("capture", "net.py:Net", "--data", "x.npy", "-o", "s", "--no-resume")[0] == 0
    assert open_store("s").names == ("early", "late")


def test_stores_are_compared_by_their_paths(repscope: Command) -> None:
    for seed in (0, 1):
        assert repscope("capture", "net.py:Net", "--data", "x.npy", "-o", f"{seed}.store", "--seed", seed)[0] == 0
    code, out, err = repscope("compare", "0.store", "1.store", "--layers", "late", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    expected = compare("0.store", "1.store", layers="late")
    assert (found["row_layers"], found["row_models"], found["column_models"]) == (["late"], ["0"], ["1"])
    np.testing.assert_allclose(found["values"], expected.values)
    code, _, err = repscope("compare", "0.store", "1.store", "--data", "x.npy")
    assert code == 2
    assert "--data must be left out for stored arrays" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["net.py:Net", "-o", "s"], "Missing option '--data'"),
        (["net.py:Net", "--data", "x.npy"], "Missing option '--output' / '-o'"),
        (["net.py", "--data", "x.npy", "-o", "s"], "capture: MODEL must be package.module:name or file.py:name"),
        (["x.npy", "--data", "x.npy", "-o", "s"], "capture: MODEL must be .* got stored arrays: 'x.npy'"),
        (["net.py:breaks", "--data", "x.npy", "-o", "s"], "capture: MODEL must load without errors, got KeyError"),
        (["net.py:Picky", "--data", "x.npy", "-o", "s"], "capture: the forward pass must run without errors, got Runt"),
        (["net.py:Net", "--data", "no", "-o", "s"], "capture: --data must be digits, a folder"),
        (
            ["net.py:Net", "--data", "x.npy", "-o", "s", "--weights", "torn.safetensors"],
            "error: capture: --weights must be a whole .safetensors file, got 'torn.safetensors'",
        ),
        (["net.py:Net", "--data", "x.npy", "-o", "s", "--device", "tpu9"], "capture: --device must be a device"),
        (["net.py:Net", "--data", "x.npy", "-o", "net.py"], "write_store: path must be a new or empty directory"),
        (["net.py:Net", "--data", "x.npy", "-o", "s", "--dtype", "int8"], "write_store: dtype must be one of"),
    ],
)
def test_what_is_refused_takes_one_line(repscope: Command, words: list[str], message: str) -> None:
    code, out, err = repscope("capture", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.search(message, err)


def test_ctrl_c_leaves_a_store_and_the_same_command_goes_on(repscope: Command, folder: Path) -> None:
    repscope("capture", "net.py:Net", "--data", "x.npy", "-o", "whole", "--batch-size", 4)
    words = ["capture", "net.py:Net", "--data", "x.npy", "-o", "s", "--batch-size", "4"]
    process = subprocess.Popen(
        [sys.executable, "-m", "repscope", *words],
        env={**os.environ, "SECONDS": "0.3"},
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not (folder / "s/0001/c.1.0").exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "'s' keeps what is complete; the same command goes on from there\ninterrupted\n"
    assert is_store(folder / "s")
    assert files(folder / "s") != files(folder / "whole")
    assert repscope(*words)[0] == 0
    assert files(folder / "s") == files(folder / "whole")
