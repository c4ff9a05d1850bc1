"""Interruptions, other configurations, missing data and full disks."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from repscope.comparison import Comparison
from repscope.errors import FileFormatError, InputError
from repscope.studies import reproduce as module
from repscope.studies.reproduce import reproduce

# The networks have two channels and are hardly trained.
pytestmark = pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")


def numbers(folder):
    return json.loads((folder / "numbers.json").read_text(encoding="utf-8"))["numbers"]


def run(workshop, output, name="within-class", **options):
    return reproduce(name, output=output, networks_dir=workshop.networks, progress=False, **options)


def test_an_interrupted_study_goes_on_and_ends_with_the_same_numbers(workshop, tmp_path, monkeypatch):
    whole = workshop.run("within-class")
    save, saved = Comparison.save, []

    def interrupted(comparison, path):
        if len(saved) == 3:
            raise KeyboardInterrupt
        saved.append(path)
        return save(comparison, path)

    with monkeypatch.context() as patch:
        patch.setattr(Comparison, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(workshop, tmp_path)
    folder = tmp_path / "within-class" / "tiny"
    assert not (folder / "page.md").exists()
    before = {path: path.stat().st_mtime_ns for path in saved}
    trained = {path: path.stat().st_mtime_ns for path in workshop.networks.iterdir()}
    run(workshop, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in saved} == before
    assert {path: path.stat().st_mtime_ns for path in workshop.networks.iterdir()} == trained
    assert numbers(folder) == numbers(whole.folder)


def test_random_matrices_are_the_same_after_an_interruption(workshop, tmp_path):
    whole = workshop.run("invariance")
    folder = run(workshop, tmp_path, "invariance").folder
    assert numbers(run(workshop, tmp_path, "invariance").folder) == numbers(whole.folder)
    for part in ("theorem", "theorem-real", "ridge"):
        (folder / "parts" / f"{part}.json").unlink()
    assert numbers(run(workshop, tmp_path, "invariance").folder) == numbers(whole.folder)


def test_a_finished_study_is_written_again_without_work(workshop, monkeypatch):
    first = workshop.run("resnet")
    page = first.page.read_text(encoding="utf-8")
    monkeypatch.setattr(Comparison, "save", lambda *_: pytest.fail("compared again"))
    again = run(workshop, workshop.root / "results", "resnet")
    assert numbers(again.folder) == numbers(first.folder)
    assert again.page.read_text(encoding="utf-8").split("###")[0] == page.split("###")[0]


def test_a_folder_of_another_configuration_is_refused(workshop):
    workshop.run("resnet")
    with pytest.raises(
        InputError, match=r"same configuration, got another images \(150 there, 140 here\)\. Choose another -o"
    ):
        run(workshop, workshop.root / "results", "resnet", changes={"images": 140})


def test_a_folder_of_other_data_is_refused(workshop, tmp_path):
    run(workshop, tmp_path, "resnet")
    record = tmp_path / "resnet" / "tiny" / "settings.json"
    content = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(content | {"data digits": "0" * 16}), encoding="utf-8")
    with pytest.raises(InputError, match=r"got another data digits \(0{16} there, [0-9a-f]{16} here\)"):
        run(workshop, tmp_path, "resnet")


def test_a_folder_of_other_networks_is_refused(tmp_path):
    reproduce("resnet", output=tmp_path, progress=False)
    (file,) = (tmp_path / "networks").glob("*.safetensors")
    with safe_open(file, framework="np") as opened:
        facts = opened.metadata()
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    save_file(weights | {"logits.bias": weights["logits.bias"] + 1}, file, facts)
    message = rf"got another network {file.stem} \([0-9a-f]{{16}} there, [0-9a-f]{{16}} here\)\. Choose another -o"
    with pytest.raises(InputError, match=message):
        reproduce("resnet", output=tmp_path, progress=False)
    save_file(weights, file, facts)
    reproduce("resnet", output=tmp_path, progress=False)


def test_a_folder_of_somebody_else_is_refused(workshop, tmp_path):
    folder = tmp_path / "resnet" / "tiny"
    folder.mkdir(parents=True)
    (folder / "numbers.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"must be a folder of this study or not exist, got one without settings\.json"
    ):
        run(workshop, tmp_path, "resnet")
    assert [path.name for path in folder.iterdir()] == ["numbers.json"]


def test_a_damaged_part_is_named(workshop, tmp_path):
    run(workshop, tmp_path, "resnet")
    (file,) = (tmp_path / "resnet" / "tiny" / "comparisons").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(FileFormatError, match=r"resnet-14\.npz"):
        run(workshop, tmp_path, "resnet")


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("I/O error: No space left (os error 28)")],
)
def test_a_full_disk_is_named_and_nothing_is_lost(workshop, tmp_path, monkeypatch, error):
    def full(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Comparison, "save", full)
        with pytest.raises(
            OSError, match=r"no space left on the disk of .*resnet.tiny; what is finished is kept"
        ) as got:
            run(workshop, tmp_path, "resnet")
    assert got.value.errno == errno.ENOSPC
    run(workshop, tmp_path, "resnet")
    assert (tmp_path / "resnet" / "tiny" / "page.md").exists()


@pytest.mark.parametrize("suffix", ["png", "svg", "md", "json"])
def test_a_full_disk_leaves_what_was_written_before_as_it_was(workshop, tmp_path, monkeypatch, suffix):
    run(workshop, tmp_path, "resnet")
    folder = tmp_path / "resnet" / "tiny"
    before = {path.name: path.read_bytes() for path in folder.glob(f"*.{suffix}")}
    assert before
    replace = os.replace

    def full(source, target):
        if str(target).endswith(f".{suffix}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(OSError, match=r"no space left on the disk of .*resnet.tiny; what is finished is kept"):
            run(workshop, tmp_path, "resnet")
    assert {path.name: path.read_bytes() for path in folder.glob(f"*.{suffix}")} == before
    assert not list(folder.rglob("*.partial"))


def test_other_errors_come_through_as_they_are(workshop, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("something else")

    monkeypatch.setattr(Comparison, "save", broken)
    with pytest.raises(RuntimeError, match=r"^something else$"):
        run(workshop, tmp_path, "resnet")


def test_missing_data_are_named(workshop, tmp_path):
    with pytest.raises(InputError, match="CIFAR-10"):
        run(workshop, tmp_path, "resnet", scale="small")
    with pytest.raises((InputError, FileFormatError), match="nowhere"):
        run(workshop, tmp_path, "resnet", scale="small", data_dir=tmp_path / "nowhere")
    # A configuration of which nothing was finished stands in nobody's way.
    with pytest.raises(InputError, match="CIFAR-10"):
        run(workshop, tmp_path, "resnet", scale="small", changes={"epochs": 1})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sanety", {}, r"STUDY must be one of invariance, .*got 'sanety'\. Did you mean 'sanity'\?"),
        ("sanity", {"scale": "huge"}, r"scale must be one of tiny, small, paper, got 'huge'"),
        ("sanity", {"changes": {"epoch": 3}}, r"sanity has no setting 'epoch'\. Did you mean 'epochs'\?"),
        ("sanity", {"changes": {"epochs": "many"}}, r"setting epochs must be a whole number, got 'many'"),
        ("width", {"changes": {"networks": 1}}, "two networks of each"),
        ("within-class", {"changes": {"networks": 1}}, "needs two networks or more"),
        (
            "within-class",
            {"changes": {"images": 4}},
            "groups must have at least 4 examples, got 2 groups",
        ),
        ("batchnorm", {"changes": {"networks": 1}}, "needs two networks or more"),
        ("initialization", {"changes": {"networks": 1}}, "needs two networks or more"),
        ("architectures", {"changes": {"pairs": "plain-10"}}, r"pairs must be like 'plain-10 x resnet-14'"),
        ("architectures", {"changes": {"pairs": "plain-10 x vgg-11"}}, r"networks must be like plain-10, .* 'vgg-11'"),
    ],
)
def test_bad_input_is_explained(workshop, tmp_path, name, options, message):
    with pytest.raises(InputError, match=message):
        run(workshop, tmp_path, name, **options)


@pytest.mark.parametrize(("package", "extra"), [("torch", "torch"), ("safetensors", "torch"), ("matplotlib", "plot")])
def test_missing_packages_are_named_before_anything_is_done(tmp_path, monkeypatch, package, extra):
    find = module.importlib.util.find_spec
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(ImportError, match=rf"package '{package}'.*repscope\[{extra}\]"):
        reproduce("resnet", output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_on_the_page_has_the_changed_settings(workshop, tmp_path):
    outcome = run(workshop, tmp_path, "resnet", changes={"images": "120"})
    assert outcome.record["command"] == "repscope reproduce resnet --scale tiny --set images=120"
    assert outcome.record["settings"]["images"] == 120
    assert np.shape(numbers(outcome.folder)["cka"]) == (13, 13)


def test_the_cca_family_can_be_left_out(workshop):
    outcome = workshop.run("sanity", output="kernels", cca_networks=0)
    (table,) = outcome.findings.tables
    rows = {row[0]: row for row in table.rows}
    assert rows["CCA (R²)"][2] == "–"
    assert rows["CCA (R²)"][-2:] == [0, 0]
    assert rows["CKA (linear)"][-2:] == [3, 200]
    left_out = [claim.text for claim in outcome.findings.claims if "left out" in claim.untested]
    assert left_out == [
        "CCA, SVCCA and PWCCA do not identify corresponding layers",
        "Linear regression stands in between",
        "No threshold makes SVCCA reveal corresponding layers",
    ]
