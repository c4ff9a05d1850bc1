"""``repscope demo`` hands its words to the study; what the study does is tested beside it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from repscope import InputError


@pytest.fixture
def study(monkeypatch):
    demo = pytest.importorskip("repscope.studies.demo")
    calls = []

    def run_demo(output_dir, **settings):
        calls.append((output_dir, settings))
        if settings["networks"] < 3:
            raise InputError("run_demo: networks must be at least 3, got 2.")
        return SimpleNamespace(
            figure=Path(output_dir) / "layers.png", results=Path(output_dir) / "r.json", table=lambda: "the table"
        )

    monkeypatch.setattr(demo, "run_demo", run_demo)
    return calls


def test_the_words_reach_the_study(repscope, study):
    words = ["-o", "out", "--networks", 3, "--epochs", 2, "--width", 4, "--seed", 9]
    done = repscope("demo", *words)
    assert (done.code, done.out) == (0, "the table\n")
    assert done.err == f"wrote {Path('out/layers.png')}, {Path('out/r.json')} and the comparisons\n"
    assert study == [(Path("out"), {"networks": 3, "epochs": 2, "width": 4, "seed": 9, "progress": None})]


def test_quiet_prints_nothing(repscope, study):
    done = repscope("demo", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert study[0][0] == Path("demo")
    assert study[0][1] == {"networks": 4, "epochs": 12, "width": 16, "seed": 0, "progress": False}


def test_bad_input_is_one_line(fails, study):
    assert fails("demo", "--networks", 2) == "error: run_demo: networks must be at least 3, got 2.\n"
