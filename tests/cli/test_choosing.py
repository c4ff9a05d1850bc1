"""``repscope measures --choose``: by options, by questions, and where nobody can be asked."""

from __future__ import annotations

import io
import json

import pytest

ANSWERS = ("--invariance", "orthogonal", "--examples", 2000, "--width", 512)


class Terminal(io.StringIO):
    """Somebody who types these lines."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [50, 80])
def test_options_answer_and_reasons_are_printed(repscope, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    done = repscope("measures", "--choose", *ANSWERS, "--no-metric")
    assert (done.code, done.err) == (0, "")
    text = " ".join(done.out.split())
    assert "Invariant to rotations; 2000 examples, layers of up to 512 features: 1. cka: Centered kernel" in text
    assert "These fit too: " in text
    assert "Why not the others: " in text
    assert "cca, eigenspace_overlap: any invertible linear map changes nothing" in text
    assert max(map(len, done.out.splitlines())) <= columns


def test_where_nothing_fits_it_says_so(repscope):
    done = repscope("measures", "--choose", "--invariance", "linear", "--examples", 600, "--width", 512, "--metric")
    assert "any invertible linear map, a metric; 600 examples" in " ".join(done.out.split())
    assert "No measure of the catalogue fits. Take more examples, or another invariance." in done.out


def test_the_same_as_json(repscope):
    found = json.loads(repscope("measures", "--choose", *ANSWERS, "--metric", "--json").out)
    assert {key: found[key] for key in ("invariance", "examples", "width", "metric")} == {
        "invariance": "orthogonal",
        "examples": 2000,
        "width": 512,
        "metric": True,
    }
    assert found["suggestions"][0]["id"] == "angular_cka"
    assert set(found["suggestions"][0]) == {"id", "label", "options", "reasons", "cautions"}
    assert found["excluded"]["soft_matching"] == "It changes under rotations."


def test_questions_are_put_in_a_terminal(repscope, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal("affine\nlinear\n1\n2000\nmany\n64\ny\n"))
    done = repscope("measures", "--choose")
    assert done.code == 0
    assert done.out.lstrip().startswith("Invariant to any invertible linear map, a metric; 2000 examples")
    for asked in ("Which changes of a layer", "One of permutation", "How many examples?", "from 2, please", "a metric"):
        assert asked in done.err


def test_only_open_questions_are_put(repscope, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    done = repscope("measures", "--choose", *ANSWERS)
    assert done.out.lstrip().startswith("Invariant to rotations; 2000 examples")
    assert "How many" not in done.err


def test_where_nobody_can_be_asked(fails, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("linear\n"))
    assert "--choose asks in a terminal only. Answer by options: --invariance, --width, --metric or --no-metric." in (
        fails("measures", "--choose", "--examples", 100)
    )


def test_options_that_do_not_go_together(fails):
    assert "--choose must stand without an ID, got 'cka'" in fails("measures", "cka", "--choose")
    assert "--width answers a question of --choose. Add --choose." in fails("measures", "--width", 5)
    assert "invariance must be one of" in fails(
        "measures", "--choose", "--invariance", "affine", "--examples", 9, "--width", 5, "--metric"
    )
