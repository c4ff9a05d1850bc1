"""``repscope reproduce`` hands its words to the study and prints what it found; the studies are tested beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from repscope import InputError
from repscope.studies import reproduce as studies
from repscope.studies.claims import Check, Claim
from repscope.studies.findings import Findings, Table
from repscope.studies.reproduce import NAMES, Outcome

FINDINGS = Findings(
    tables=[Table("Accuracy, %", ["index", "paper", "ours"], [["CKA", "99.3", 99.0]]), Table("Other", ["a"], [["b"]])],
    claims=[
        Claim("CKA finds the layers", "Table 2", (Check("CKA", 99.0, "≥", 98.0),)),
        Claim("CCA does not", "Table 2", (Check("CCA", 50.0, "≤", 30.0),)),
        Claim("Nobody knows", "§9", untested="too small"),
    ],
)


@pytest.fixture
def calls(monkeypatch, tmp_path):
    found = []

    def reproduce(name, **options):
        found.append((name, options))
        study = studies.find_study(name)
        if options["say"] is not None:
            options["say"]("news")
        (tmp_path / "numbers.json").write_text('{"scale": "tiny"}\n')
        return Outcome(study, FINDINGS, tmp_path, tmp_path / "page.md", {})

    monkeypatch.setattr("repscope.cli.reproduce.reproduce", reproduce)
    return found


def test_the_help_says_that_one_study_takes_longer_and_what_tells(repscope):
    shown = " ".join(re.sub(r"[│╭╮╰╯]", " ", repscope("reproduce", "--help").out).split())
    assert "small: an hour or two on 2 cores, sanity some hours more" in shown
    assert "--list tells." in shown


def test_the_words_reach_the_study(repscope, calls):
    words = ["--scale", "small", "--data-dir", "cifar", "-o", "out", "--networks", 4, "--epochs", 2, "--images", 500]
    done = repscope("reproduce", "sanity", *words, "--set", "seed=7", "--device", "cpu", "--networks-dir", "nets")
    assert done.code == 0
    ((name, options),) = calls
    assert name == "sanity"
    assert options.pop("say") is not None
    assert options == {
        "scale": "small",
        "output": Path("out"),
        "data_dir": Path("cifar"),
        "networks_dir": Path("nets"),
        "changes": {"networks": 4, "epochs": 2, "images": 500, "seed": "7"},
        "device": "cpu",
        "download": False,
        "progress": None,
    }
    assert done.err.splitlines()[0] == "news"
    assert "page.md" in done.err


def test_the_table_and_the_verdicts_are_printed(repscope, calls):
    out = repscope("reproduce", "sanity").out
    assert "Which indexes identify" in out
    assert "99.3" in out
    assert "Other" not in out
    assert "holds: CKA finds the layers" in out
    assert "does not hold: CCA does not" in out
    assert "not tested at this scale: Nobody knows" in out
    assert out.splitlines()[-1] == "holds: 1, does not hold: 1, not tested at this scale: 1"


def test_quiet_prints_nothing(repscope, calls):
    done = repscope("reproduce", "sanity", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert calls[0][1]["progress"] is False
    assert calls[0][1]["say"] is None


def test_json_is_the_file_of_numbers(repscope, calls):
    assert json.loads(repscope("reproduce", "sanity", "--json").out) == {"scale": "tiny"}


def test_the_list_has_every_study(repscope):
    done = repscope("reproduce", "--list")
    assert done.code == 0
    heads = [line.split()[0] for line in done.out.splitlines() if not line.startswith(" ")]
    assert heads == list(NAMES)
    assert all(len(line) <= 100 for line in done.out.splitlines())
    assert "Table 2" in done.out
    assert "small  10 networks to train, 20,000,000 passes of an example" in done.out  # of sanity: 10 · 40 · 50,000
    assert done.out.count("no training") == 3  # of invariance


def test_the_list_of_one_study_has_its_cost_here(repscope, monkeypatch):
    monkeypatch.setattr("repscope.studies.cost._rate", lambda spec, *_: None if "4096" in spec.name else 1000.0)
    monkeypatch.setattr("repscope.studies.cost.flops_per_second", lambda: 1e11)
    monkeypatch.setattr("repscope.studies.cost._at_once", lambda _: 2)
    out = " ".join(repscope("reproduce", "width", "--list", "--networks", "5").out.split())
    assert "tiny 5 × width2, 1 epoch of 150 images of digits: about 0.45 s at 1,000 a second and network" in out
    assert "small 5 × width4, 6 epochs of 50,000 images of cifar10: about 15 min" in out  # two at a time: 3 · 300 s
    assert re.search(r"5 × width4096, 60 epochs of 50,000 images of cifar10: 2\.\de\+19 operations", out)
    assert out.count("comparing: ") == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "reproduce: STUDY must be given. See: repscope reproduce --list"),
        (("sanety",), "Did you mean 'sanity'?"),
        (("sanity", "--set", "seed"), "--set must be KEY=VALUE, got 'seed'"),
        (("sanity", "--networks", 3, "--set", "networks=4"), "setting networks must be given once, got it twice"),
        (("invariance", "--networks", 3), "invariance has no setting 'networks'"),
        (("sanity", "--scale", "huge"), "--scale"),
        (("sanity", "--scale", "small"), "CIFAR-10"),
    ],
)
def test_bad_input_is_one_line(fails, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails("reproduce", *words)


def test_an_interruption_says_how_to_go_on(repscope, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("repscope.cli.reproduce.reproduce", interrupted)
    done = repscope("reproduce", "sanity", "-o", "out")
    assert done.code == 130
    assert done.err.splitlines() == ["'out' keeps what is finished; the same command goes on from there", "interrupted"]


def test_a_full_disk_is_one_line(fails, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "no space left on the disk of out; the same command goes on from it", "out")

    monkeypatch.setattr("repscope.cli.reproduce.reproduce", full)
    assert fails("reproduce", "sanity") == (
        "error: out: no space left on the disk of out; the same command goes on from it\n"
    )


def test_a_refusal_of_the_study_is_one_line(fails, monkeypatch):
    def refused(*_, **__):
        raise InputError("reproduce: results/sanity/tiny must hold results of the same configuration.")

    monkeypatch.setattr("repscope.cli.reproduce.reproduce", refused)
    assert "same configuration" in fails("reproduce", "sanity")
