"""``repscope compare``: from the words to the numbers, the messages and the files."""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import pytest

import repscope as package
from repscope import RBF, compare, load

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("workplace")


def values(done):
    assert done.code == 0, done
    return np.array(json.loads(done.out)["values"])


def test_stored_arrays_give_the_numbers_of_compare(repscope):
    expected = compare("a.npz", "b.npz").values
    done = repscope("compare", "a.npz", "b.npz", "--json")
    assert done.err == ""
    np.testing.assert_array_equal(values(done), expected)
    assert json.loads(done.out)["row_models"] == ["a", "a"]


def test_options_reach_compare(repscope):
    words = ["--kernel", "rbf:0.4", "--estimator", "biased", "--pairs", "batch", "--batch-size", "10", "--json"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", package.RepscopeWarning)
        expected = compare("a.npz", kernel=RBF(0.4), estimator="biased", pairs="batch", batch_size=10)
    done = repscope("compare", "a.npz", *words)
    np.testing.assert_array_equal(values(done), expected.values)
    conventions = json.loads(done.out)["conventions"]
    assert (conventions["pairs"], conventions["batch_size"]) == ("batch", 10)
    mean = repscope("compare", "a.npz", "--measure", "cca", "--option", "summary=mean", "--json", "--memory", "1GB")
    np.testing.assert_array_equal(values(mean), compare("a.npz", measure="cca", summary="mean").values)


def test_models_are_named_in_the_users_words(repscope):
    done = repscope("compare", "models.py:first", "models.py:second", "--data", "inputs.py:inputs", "--json")
    result = json.loads(done.out)
    assert result["row_models"][0] == "first"
    assert result["column_models"][0] == "second"
    assert result["n"] == 40
    assert list(result["diagnostics"]) == ["first", "second"]
    assert result["diagnostics"]["second"]["act"]["features"] == 5
    within = json.loads(repscope("compare", "models.py:first", "--data", "inputs.py:loader", "--json").out)
    assert set(within["row_models"]) == set(within["column_models"]) == {"first"}


def test_the_same_seed_gives_the_same_models(repscope):
    words = ["compare", "models.py:first", "models.py:first", "--data", "inputs.py:inputs", "--json"]
    one, again, other = (values(repscope(*words, "--seed", seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-3
    assert one[0, 0] < 0.999, "two calls of one factory must draw different weights"


def test_data_that_are_drawn_do_not_depend_on_the_models(repscope, workplace):
    (workplace / "drawn.py").write_text("import torch\n\ndef inputs():\n    return torch.randn(40, 8)\n")
    words = ["--data", "drawn.py:inputs", "--json"]
    torch.save(sys.modules["repscope.loading"].load_model("models.py:first", seed=0).state_dict(), "w.pt")
    built = repscope("compare", "models.py:first", *words)
    loaded = repscope("compare", "models.py:padded", *words, "--weights", "w.pt")  # draws more before
    np.testing.assert_allclose(values(built), values(loaded), rtol=1e-5)


def test_weights_make_the_models_what_they_were(repscope):
    from repscope.loading import load_model

    for seed, name in enumerate(("one.pt", "two.pt")):
        torch.manual_seed(seed)
        torch.save(load_model("models.py:first").state_dict(), name)
    words = ["compare", "models.py:first", "models.py:first", "--data", "inputs.py:inputs", "--json"]
    same = repscope(*words, "--weights", "one.pt", "--weights-b", "one.pt")
    np.testing.assert_allclose(np.diag(values(same)), 1.0)
    different = repscope(*words, "--weights", "one.pt", "--weights-b", "two.pt")
    assert np.diag(values(different)).max() < 0.999
    assert json.loads(different.out)["column_models"][0] == "first two"


def test_one_instance_named_twice_may_have_two_sets_of_weights(repscope):
    from repscope.loading import load_model

    torch.manual_seed(5)
    torch.save(load_model("models.py:first").state_dict(), "w.pt")
    words = ["compare", "models.py:instance", "models.py:instance", "--data", "inputs.py:inputs", "--json"]
    assert np.diag(values(repscope(*words, "--weights-b", "w.pt"))).max() < 0.999


def test_layers_of_each_side(repscope):
    words = ["compare", "models.py:first", "models.py:second", "--data", "inputs.py:inputs", "--json"]
    both = json.loads(repscope(*words, "--layers", "early", "--layers", "la*").out)
    assert both["row_layers"] == both["column_layers"] == ["early", "late"]
    each = json.loads(repscope(*words, "--layers", "early", "--layers-b", "act").out)
    assert (each["row_layers"], each["column_layers"]) == (["early"], ["act"])
    second = json.loads(repscope(*words, "--layers-b", "early").out)
    assert second["column_layers"] == ["early"]
    assert len(second["row_layers"]) == 2


def test_a_folder_of_images_as_data(repscope, workplace):
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    (workplace / "images").mkdir()
    for i in range(8):
        image.fromarray(rng.integers(0, 255, (12, 10, 3), dtype=np.uint8)).save(workplace / "images" / f"{i}.png")
    (workplace / "vision.py").write_text(
        "from torch.nn import Conv2d, Sequential\ndef net():\n    return Sequential(Conv2d(3, 2, 3), Conv2d(2, 2, 3))\n"
    )
    words = ["compare", "vision.py:net", "--data", "images", "--image-size", "8", "--json"]
    assert json.loads(repscope(*words).out)["n"] == 8


def test_one_comparison_is_an_object_and_several_are_an_array(repscope):
    done = repscope("compare", "a.npz", "--measure", "cka", "--measure", "procrustes", "--measure", "cka", "--json")
    assert [part["measure"] for part in json.loads(done.out)] == ["cka", "procrustes"]


def test_what_the_users_code_prints_stays_out_of_the_results(repscope):
    done = repscope("compare", "models.py:talks", "--data", "inputs.py:inputs", "--json")
    assert json.loads(done.out)["measure"] == "cka"
    assert done.err == "loading the model\n"


def test_quiet_prints_nothing(repscope):
    done = repscope("compare", "a.npz", "-q", "-o", "results")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert load("results/comparison.npz").equals(load("results/comparison.npz"))


def test_a_warning_is_one_line_on_stderr_and_kept_in_the_result(repscope):
    words = ["compare", "models.py:constant", "models.py:first", "--data", "inputs.py:inputs"]
    done = repscope(*words, "--layers", "early", "--json")
    assert done.code == 0
    (line,) = done.err.splitlines()
    assert line.startswith("warning: cka: ")
    assert "constant: early" in line
    (kept,) = json.loads(done.out)["warnings"]
    assert line == f"warning: {kept}"
    assert np.isnan(np.array(json.loads(done.out)["values"], dtype=float)).all()


def test_facts_of_each_layer_come_with_verbose(repscope):
    words = ["compare", "models.py:first", "models.py:second", "--data", "inputs.py:inputs"]
    assert "Each layer by itself:" not in repscope(*words).out
    lines = repscope(*words, "--verbose").out.splitlines()
    table = lines[lines.index("Each layer by itself:") + 1 :]
    assert table[0].split()[:2] == ["features", "PR"]
    assert [line.split()[:2] for line in table[1:3]] == [["first:", "act"], ["first:", "late"]]


def test_the_table_and_the_matches_are_printed(repscope):
    done = repscope("compare", "a.npz", "b.npz")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "CKA (linear, unbiased): a × b"
    assert lines[1] == "40 examples; all pairs of examples (exact); higher is more alike"
    assert lines[3].split() == ["one", "two"]
    result = compare("a.npz", "b.npz")
    assert lines[4].split() == ["early", *(f"{value:.3f}" for value in result.values[0])]
    assert "  early → one  1.000 ± 0.000" in lines
    assert "versions" not in done.out
    assert "versions" in repscope("compare", "a.npz", "b.npz", "--verbose").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["models.py:first"], "compare: --data must be given to run models on"),
        (["a.npz", "--layers-b", "x"], "compare: --layers-b must come with a second model, got A only"),
        (["models.py:first", "--weights-b", "w.pt", "--data", "digits"], "--weights-b must come with a second model"),
        (
            ["a.npz", "models.py:first", "--data", "digits"],
            "compare: all networks must be models or all files of stored arrays, got 'models.py:first' for B beside "
            "'a.npz'",
        ),
        (["a.npz", "--data", "digits"], "--data must be left out for stored arrays, got 'digits'"),
        (["a.npz", "--weights", "w.pt"], "--weights must be left out for stored arrays, got 'w.pt'"),
        (["a.npz", "b.npz", "--weights-b", "w.pt"], "--weights-b must be left out for stored arrays"),
        (["a.npz", "--image-size", "8"], "--image-size must be left out for stored arrays, got 8"),
        (["a.npz", "--device", "cpu"], "--device must be left out for stored arrays, got 'cpu'"),
        (["gone.npz"], "gone.npz does not exist"),
        (["a.npz", "--measure", "ckaa"], "measure must be one of 'cka', "),
        (["a.npz", "--kernel", "gauss"], "--kernel must begin with linear"),
        (["a.npz", "--option", "sumary=mean"], "sumary must be an option of the measure"),
        (["a.npz", "--layers", "early", "--layers", "conv9"], "got 'conv9'"),
        (["models.py:first", "--data", "inputs.py:inputs", "--layers", "conv9"], "got 'conv9'"),
        (["models.py:first", "--data", "inputs.py:inputs", "--device", "warp"], "--device must be a device"),
        (["models.py:first", "--data", "inputs.py:inputs", "--weights", "w.ckpt"], "--weights must end in"),
        (["models.py:first", "m.py:x", "--data", "digits", "--weights-b", "w.pt"], "B must name an existing file"),
        (["models.py:first", "--data", "inputs.py:inputs", "--reduce", "median"], "reduce must be"),
        (["a.npz", "--memory", "much"], "memory must be"),
    ],
)
def test_words_that_do_not_fit_are_one_line(fails, words, message):
    assert message in fails("compare", *words)


def test_a_forward_pass_that_fails_is_one_line(fails):
    line = fails("compare", "models.py:first", "--data", "digits")
    assert "the forward pass must run without errors, got RuntimeError: " in line
    assert "Do the data fit the model? Add --verbose for the traceback." in line


def test_data_that_fail_are_one_line(fails, workplace):
    line = fails("compare", "models.py:first", "--data", "inputs.py:Broken")
    assert f"{workplace / 'inputs.py'}, line " in line
    assert "must run without errors, got KeyError: 'image 7 is gone'" in line


@pytest.mark.parametrize(
    "words", [["models.py:breaks", "--data", "digits"], ["models.py:first", "--data", "inputs.py:Broken"]]
)
def test_verbose_shows_the_traceback(repscope, words):
    done = repscope("compare", *words, "--verbose")
    assert done.code == 2
    assert done.err.startswith("Traceback (most recent call last):")
    assert ("models.py" in done.err) or ("inputs.py" in done.err)
    assert done.err.splitlines()[-1].startswith("error: compare: ")


def test_a_warning_before_an_error_is_shown(repscope, monkeypatch):
    def warns_and_fails(*arguments, **options):
        warnings.warn("about\nthe data", package.DataOrderWarning, stacklevel=1)
        warnings.warn("about\nthe data", package.DataOrderWarning, stacklevel=1)
        raise package.InputError("compare: all of it must be otherwise.")

    monkeypatch.setattr("repscope.cli.request.compare", warns_and_fails)
    done = repscope("compare", "a.npz")
    assert (done.code, done.err) == (2, "warning: about the data\nerror: compare: all of it must be otherwise.\n")


def test_warnings_of_others_are_left_to_python(repscope, monkeypatch):
    def warns(*arguments, **options):
        warnings.warn("use the new name", FutureWarning, stacklevel=1)
        return compare(*arguments, **options)

    monkeypatch.setattr("repscope.cli.request.compare", warns)
    with pytest.warns(FutureWarning, match="use the new name"):
        done = repscope("compare", "a.npz", "-q")
    assert (done.code, done.err) == (0, "")


def test_resume_goes_on_from_the_sums_in_the_folder_and_leaves_only_results(repscope, workplace, monkeypatch):
    from repscope.cli import files

    words = ["compare", "models.py:first", "models.py:second", "--data", "inputs.py:inputs", "--json", "-o", "out"]
    expected = values(repscope(*words[:-2]))
    folder = workplace / "out"
    with monkeypatch.context() as broken:
        broken.setattr(files, "write_results", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert repscope(*words, "--resume").code == 130
    assert [file.name for file in folder.iterdir()] == [files.UNFINISHED]
    assert "comparison.partial" in repscope(*words, "--resume", "--seed", "5").err  # the sums are of other weights
    np.testing.assert_array_equal(values(repscope(*words, "--resume")), expected)
    assert sorted(file.name for file in folder.iterdir()) == ["comparison.json", "comparison.npz", "heatmap.png"]


def test_resume_makes_the_folders_that_are_missing(repscope, workplace):
    assert repscope("compare", "a.npz", "--resume", "-q", "-o", "new/folders/ö ut").code == 0
    assert (workplace / "new" / "folders" / "ö ut" / "comparison.npz").exists()


def test_resume_needs_a_folder_and_no_checkpoint(fails):
    assert "--resume must come with -o DIR" in fails("compare", "a.npz", "--resume")
    assert "--resume must come with -o DIR" in fails("compare", "a.npz", "--resume", "-o", "o", "--checkpoint", "c")


def test_permutations_give_the_numbers_of_the_permutation_test(repscope):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", package.RepscopeWarning)
        expected = package.permutation_test("a.npz", "b.npz", permutations=39, seed=2)
    done = repscope("compare", "a.npz", "b.npz", "--permutations", "39", "--seed", "2", "--json")
    result = json.loads(done.out)
    for name in ("values", "p_values", "null_mean", "calibrated"):
        np.testing.assert_allclose(result[name], getattr(expected.comparison, name))
    np.testing.assert_allclose(result["calibrated"], expected.calibrated())
    matches = result["details"]["best_matches"]
    assert [(m["row"], m["column"], m["p_value"]) for m in matches] == [
        (m.row, m.column, m.p_value) for m in expected.best_matches()
    ]
    assert result["conventions"]["null"] == "39 permutations of the examples"
    shown = repscope("compare", "a.npz", "b.npz", "--permutations", "39", "--seed", "2").out
    assert "Most similar layer, judged as found by a search:" in shown
    assert f"calibrated {matches[0]['calibrated']:.3f}, p = {matches[0]['p_value']:.2g}" in shown


def test_permutations_of_several_measures_go_into_the_files_and_the_report(repscope, tmp_path):
    words = ["--measure", "procrustes", "--measure", "hsic", "--permutations", "19", "-o", "out", "--html", "page.html"]
    done = repscope("compare", "models.py:first", "models.py:second", "--data", "inputs.py:inputs", *words)
    assert done.code == 0, done
    angles, products = load("out/comparison-procrustes.npz"), load("out/comparison-hsic.npz")
    assert angles.calibrated is not None
    assert angles.row_models[0] == "first"
    assert products.calibrated is None  # unbounded
    assert products.p_values is not None
    assert products.details["best_matches"] == []


def test_chance_without_p_values_says_where_these_come_from(repscope):
    shown = " ".join(repscope("compare", "a.npz", "b.npz", "--measure", "mutual_knn").out.split())
    assert "Chance level: 0.256 (sd " in shown  # 10 of 39
    assert "For p values: --permutations N." in shown


@pytest.mark.parametrize(
    "words", [("--pairs", "batch"), ("--intervals",), ("--plan",), ("--checkpoint", "x"), ("--resume", "-o", "out")]
)
def test_what_permutations_cannot_do_is_refused(repscope, words):
    done = repscope("compare", "a.npz", "--permutations", "19", *words)
    assert done.code == 2
    assert f"compare: {words[0]} must be left out with --permutations" in done.err
