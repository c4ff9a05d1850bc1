"""``repscope baselines`` and ``difference``: the numbers of the functions, the files, the messages."""

from __future__ import annotations

import json

import numpy as np
import pytest

import repscope as package
from repscope import loading

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.usefixtures("workplace"),
    pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning"),
]

MODELS = ("models.py:first", "models.py:second", "--data", "inputs.py:inputs")


def read(done):
    assert done.code == 0, done
    return json.loads(done.out)


def model(name, seed):
    return loading.load_model(f"models.py:{name}", seed=seed)


def data():
    return loading.load_data("inputs.py:inputs")


# -- baselines ---------------------------------------------------------------------------------------------------------


def test_baselines_are_those_of_the_function(repscope):
    found = read(repscope("baselines", *MODELS, "--like", "models.py:first", "--like", "models.py:padded", "--json"))
    seeds = [model("first", 2), model("padded", 3)]
    expected = package.baselines(model("first", 0), model("second", 1), data=data(), seeds=seeds)
    assert found["layers"] == list(expected.layers)
    assert found["pairs"] == expected.pairs == 3
    assert found["models"] == ["first", "second"]
    for name in ("score", "ceiling", "ceiling_sd", "chance"):
        np.testing.assert_allclose(found[name], getattr(expected, name), rtol=1e-6, atol=1e-9)
    for name in ("untrained", "inputs"):
        np.testing.assert_allclose(found["floors"][name], expected.floors[name], rtol=1e-6)


def test_weights_make_further_copies(repscope):
    torch.save(model("first", 7).state_dict(), "w.pt")
    found = read(repscope("baselines", *MODELS, "--like-weights", "w.pt", "--json", "--untrained", "none"))
    expected = package.baselines(model("first", 0), model("second", 1), data=data(), seeds=[model("first", 7)])
    np.testing.assert_allclose(found["ceiling"], expected.ceiling, rtol=1e-6)
    assert found["ceiling_sd"] == [None, None], "one pair has no deviation"
    assert list(found["floors"]) == ["inputs"]


def test_stored_arrays_have_the_baselines_that_are_named(repscope):
    np.savez("c.npz", early=np.load("a.npz")["early"] ** 3, late=np.load("a.npz")["late"])
    words = ("baselines", "a.npz", "c.npz", "--like", "c.npz", "--measure", "procrustes", "--json")
    found = read(repscope(*words))
    assert found["floors"] == {}
    assert found["ceiling"][1] == pytest.approx(0, abs=1e-6)
    assert found["chance"] is None
    with_inputs = read(repscope(*words, "--inputs", "alone.npy"))
    assert list(with_inputs["floors"]) == ["inputs"]


def test_baselines_are_printed_and_drawn(repscope, workplace):
    pytest.importorskip("matplotlib")
    done = repscope("baselines", *MODELS, "-o", "out")
    assert done.code == 0, done
    assert done.out.startswith("CKA (linear, unbiased): first × second, 40 examples\n")
    assert done.out.splitlines()[1].split() == ["score", "untrained", "inputs", "chance"]
    assert "wrote out/comparison.npz, out/baselines.json, out/baselines.png" in done.err
    assert sorted(path.name for path in (workplace / "out").iterdir()) == [
        "baselines.json",
        "baselines.png",
        "comparison.npz",
    ]
    kept = package.load("out/comparison.npz")
    assert kept.models == ("first", "second")
    assert kept.details["command"].startswith("repscope baselines models.py:first")
    numbers = json.loads((workplace / "out/baselines.json").read_text())
    np.testing.assert_allclose(numbers["score"], np.diag(kept.values))
    again = repscope("baselines", *MODELS, "-o", "out", "--quiet")
    assert (again.code, again.out) == (0, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("models.py:first", "models.py:second"), "baselines: --data must be given"),
        (("a.npz", "models.py:first"), "baselines: all networks must be models or all files of stored arrays"),
        (("a.npz", "a.npz", "--data", "digits"), "baselines: --data must be left out for stored arrays"),
        (
            ("a.npz", "a.npz", "--weights", "w.pt"),
            "baselines: --weights must be left out for stored arrays, got 'w.pt'",
        ),
        (("a.npz", "a.npz", "--inputs", "b.npz"), "baselines: --inputs must be a file of one array, got 2"),
        ((*MODELS, "--inputs", "alone.npy"), "baselines: --inputs must be auto or none, got 'alone.npy'"),
        (
            (*MODELS, "--like", "models.py:first", "--like-weights", "a.pt", "--like-weights", "b.pt"),
            "baselines: --like-weights must be given once for each --like, got 2 for 1",
        ),
        ((*MODELS, "--like", "models.py:frist"), "baselines: --like must name something in models.py"),
        ((*MODELS, "--measure", "ckaa"), "'ckaa'"),
    ],
)
def test_what_does_not_fit_together_is_refused(fails, words, message):
    assert message in fails("baselines", *words)


def test_files_of_others_are_not_replaced(fails, workplace):
    pytest.importorskip("matplotlib")
    (workplace / "out").mkdir()
    (workplace / "out/baselines.json").write_text('{"mine": 1}')
    assert "baselines: -o must not hold files of others" in fails("baselines", *MODELS, "-o", "out")
    assert (workplace / "out/baselines.json").read_text() == '{"mine": 1}'


# -- differences -------------------------------------------------------------------------------------------------------


@pytest.fixture
def arrays(workplace):
    """Layers that are nearer to and farther from a third."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 5))
    near, far = (x[:, :5] + s * rng.standard_normal((60, 5)) for s in (0.5, 2.0))
    np.savez("near.npz", early=near, late=near**2)
    np.savez("far.npz", early=far, late=far**2)
    np.savez("x.npz", target=x)
    return workplace


def test_differences_are_those_of_the_function(repscope, arrays):
    found = read(repscope("difference", "near.npz", "far.npz", "x.npz", "--json"))
    networks = {name: dict(np.load(f"{name}.npz")) for name in ("near", "far", "x")}
    result = package.compare(networks, replicates=True)
    expected = package.difference(result.between("near", "x"), result.between("far", "x"))
    np.testing.assert_allclose(found["differences"], expected.values)
    np.testing.assert_allclose(found["standard_errors"], expected.standard_errors)
    np.testing.assert_allclose(found["p_values"], expected.p_values)
    low, high = expected.interval()
    np.testing.assert_allclose([found["low"], found["high"]], [low, high])
    assert (found["rows"], found["columns"]) == (["early", "late"], ["target"])
    assert found["row_models"] == ["near − far"] * 2


def test_differences_are_printed_and_drawn(repscope, arrays):
    pytest.importorskip("matplotlib")
    done = repscope("difference", "near.npz", "far.npz", "x.npz", "-o", "out")
    lines = done.out.splitlines()
    assert lines[0] == "CKA (linear, unbiased), 60 examples; 95 % intervals"
    assert lines[1].startswith("near: early × x: target  −  far: early × x: target  +0.")
    assert lines[-1].startswith("1 of 2 differences is beyond chance")
    assert "wrote out/comparison.npz, out/difference.json, out/difference.png" in done.err
    assert package.load("out/comparison.npz").models == ("near", "far", "x")


def test_differences_are_exact_whatever_that_costs(repscope, monkeypatch):
    for bound in ("AFFORDABLE", "AFFORDABLE_SECONDS"):
        monkeypatch.setattr(f"repscope.engine.plan.{bound}", 0.0)
    done = repscope("difference", *MODELS[:2], "models.py:first", *MODELS[2:], "--layers", "early")
    assert done.code == 0, done


def test_models_differ_under_their_names(repscope):
    done = repscope("difference", *MODELS[:2], "models.py:first", *MODELS[2:], "--layers", "early")
    assert done.code == 0, done
    assert "(first a: early × first c: early) − (second b: early × first c: early)" in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("near.npz", "far.npz", "x.npz", "--measure", "cca"), "difference: --measure must be cka or hsic"),
        (("near.npz", "x.npz", "far.npz"), "difference: A and B must have as many layers each, got 2 and 1"),
        (("near.npz", "far.npz"), "X"),
        (("near.npz", "far.npz", "models.py:first"), "got 'models.py:first' for X beside 'near.npz'"),
    ],
)
def test_differences_that_cannot_be_had_are_refused(fails, arrays, words, message):
    assert message in fails("difference", *words)
