"""Every study runs end to end on the embedded digits, and leaves what it says."""

from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import pytest

import repscope
from repscope.studies.claims import FAILS, HOLDS, UNTESTED
from repscope.studies.reproduce import NAMES, find_study
from repscope.studies.study import SCALES
from tests.studies.test_cost import stems

# The networks have two channels and are hardly trained.
pytestmark = pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")

FIGURES = {
    "invariance": {"theorem-1", "ridge"},
    "sanity": {"figure-2", "figure-f3"},
    "transformer": {"figure-f1"},
    "depth": {"figure-3"},
    "resnet": {"figure-4"},
    "architectures": {"figure-5", "figure-f8"},
    "width": {"figure-6"},
    "datasets": {"figure-7"},
    "initialization": {"figure-f4", "figure-f5"},
    "batchnorm": {"figure-f6"},
    "within-class": {"figure-f7"},
    "subspace": {"figure-8", "figure-1"},
}


@pytest.mark.parametrize("name", NAMES)
def test_a_study_runs_and_writes_its_results(name, workshop):
    outcome = workshop.run(name)
    folder = workshop.root / "results" / name / "tiny"
    assert outcome.folder == folder
    assert outcome.page == folder / "page.md"
    drawn = {path.stem for path in folder.glob("*.png")}
    assert FIGURES[name] <= drawn
    assert drawn <= FIGURES[name] | {f"{figure}-paper" for figure in FIGURES[name]}
    assert {path.stem for path in folder.glob("*.svg")} == drawn
    assert not list(folder.rglob("*.partial"))
    page = outcome.page.read_text(encoding="utf-8")
    assert f"repscope reproduce {name} --scale tiny" in page
    assert all(f"({figure}.png)" in page for figure in drawn)
    assert all(claim.text.replace("|", "\\|") in page for claim in outcome.findings.claims)
    assert all(table.title in page for table in outcome.findings.tables)
    assert all(text in page for text in find_study(name).reductions["tiny"])
    numbers = json.loads((folder / "numbers.json").read_text(encoding="utf-8"))
    assert numbers["scale"] == "tiny"
    assert numbers["settings"] == {**find_study(name).settings["tiny"], **workshop.quick.get(name, {})}
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", numbers["date"])
    stages = numbers["seconds"]
    whole = stages.pop("in all")
    assert 0 < whole >= sum(stages.values()) - 0.01 * len(stages)
    assert {"python", "repscope", "numpy", "torch"} <= numbers["versions"].keys()
    assert [claim["verdict"] for claim in numbers["claims"]] == [c.verdict for c in outcome.findings.claims]
    assert find_study(name).settings["tiny"]["data"] in numbers["data"]
    for file in (folder / "comparisons").glob("*.npz"):
        assert np.isfinite(repscope.load(file).values).all(), file.name


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("invariance", "transformer")])
def test_digits_test_no_claim_about_the_papers_images(name, workshop):
    outcome = workshop.run(name)
    assert outcome.findings.claims
    assert {claim.verdict for claim in outcome.findings.claims} == {UNTESTED}
    assert outcome.record["networks"]
    for network in outcome.record["networks"]:
        assert (workshop.networks / network["file"]).is_file()
        assert 0 <= network["test accuracy"] <= 1


def test_the_algebra_is_tested_on_digits_too(workshop):
    claims = {claim.text: claim.verdict for claim in workshop.run("invariance").findings.claims}
    (printed,) = [text for text in claims if text.startswith("Eq. 12 as printed")]
    assert claims.pop(printed) == FAILS  # the erratum
    assert set(claims.values()) == {HOLDS}


@pytest.mark.parametrize("name", NAMES)
def test_every_scale_has_the_same_settings_and_says_what_it_reduces(name):
    study = find_study(name)
    assert set(study.settings) == set(study.reductions) == set(SCALES)
    assert len({frozenset(settings) for settings in study.settings.values()}) == 1
    for key in study.settings["tiny"]:
        assert len({type(settings[key]) for settings in study.settings.values()}) == 1, key
    assert study.reductions["tiny"]
    assert study.reductions["small"]
    assert {settings["data"] for scale, settings in study.settings.items() if scale != "tiny"} <= {
        "cifar10",
        "multi30k",
    }
    assert study.shows.endswith(".")
    assert all(sentence.endswith((".", ";")) for sentence in study.protocol)


def test_the_figures_are_drawn_in_the_papers_layout(workshop):
    pictures = {picture.name: picture for picture in workshop.run("sanity").findings.pictures}
    for figure in (pictures["figure-2"].figure, pictures["figure-2"].paper):
        images = [ax for ax in figure.axes if ax.images]
        assert [ax.get_title() for ax in images] == [
            "CCA (R²)",
            "Linear regression",
            "SVCCA (ρ̄)",
            "SVCCA (R²)",
            "CKA (linear)",
            "CKA (RBF 0.4)",
        ]
        assert all(ax.images[0].get_cmap().name == "magma" for ax in images)
        assert all(ax.images[0].origin == "lower" for ax in images)
        assert images[0].get_position().y0 > images[2].get_position().y0 > images[4].get_position().y0


@pytest.mark.parametrize("name", NAMES)
def test_a_study_trains_what_its_plan_says(name, workshop):
    outcome = workshop.run(name)
    planned = find_study(name).plan(outcome.record["settings"])
    trained = Counter(network["file"].rpartition("-seed")[0] for network in outcome.record["networks"])
    assert trained == stems(planned.trainings)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_has_a_plan(name, scale):
    plan = find_study(name).plan(find_study(name).settings[scale])
    assert bool(plan.trainings) == (name != "invariance")
    assert all(training.passes > 0 for training in plan.trainings if training.epochs)
