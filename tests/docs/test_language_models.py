"""The page on language models, from its first line to its last: the training run, and the command that compares it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from repscope import load
from repscope.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "language_models.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_run_and_its_comparison(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    training, comparing = blocks("python")
    exec(compile(training, "language_models.md", "exec"), names)
    exec(compile(comparing, "language_models.md", "exec"), names)
    assert capsys.readouterr().out == "(8, 8)\n"
    (command,) = blocks("bash")
    with pytest.raises(SystemExit) as left:
        main(shlex.split(command)[1:])
    assert left.value.code == 0
    result = load("results/comparison.npz")
    assert result.row_layers == ("h.0", "h.1", "h.2", "h.3")
    assert (result.row_models[0], result.column_models[0]) == ("step-10", "step-40")
    assert result.n == 300
    assert Path("results/heatmap.png").stat().st_size > 0
