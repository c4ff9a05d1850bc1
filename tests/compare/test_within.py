"""Similarity within groups of examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import repscope
from repscope import CaptureWarning, InputError, compare_within
from repscope.within import average
from tests.compare.nets import Net, class_sorted
from tests.store.helpers import capture, images

pytestmark = pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")


def layers(rng: np.random.Generator, labels: np.ndarray) -> dict[str, np.ndarray]:
    n = len(labels)
    shared = rng.standard_normal((n, 3))
    centres = 9 * rng.standard_normal((int(labels.max()) + 1, 5))[labels]
    return {
        "class only": centres + rng.standard_normal((n, 5)),
        "more": np.hstack([centres[:, :2] + rng.standard_normal((n, 2)), 3 * shared + rng.standard_normal((n, 3))]),
    }


def test_the_mean_over_groups_of_the_scores_within_each(rng: np.random.Generator) -> None:
    labels = rng.permutation(np.repeat([0, 1, 2], [20, 30, 50]))
    a, b = layers(rng, labels), layers(rng, labels)
    found = compare_within(a, b, groups=labels)
    expected = [
        [np.mean([float(repscope.cka(x[labels == g], y[labels == g])) for g in range(3)]) for y in b.values()]
        for x in a.values()
    ]
    np.testing.assert_allclose(found.values, expected, atol=1e-10)
    within = found.details["within"]
    assert within["examples"] == {"0": 20, "1": 30, "2": 50}
    np.testing.assert_allclose(np.mean(list(within["values"].values()), axis=0), expected, atol=1e-10)
    assert found.n == 100
    assert found.conventions["within"] == "mean over 3 groups"
    assert (found.null_mean, found.p_values, found.diagnostics) == (None, None, {})


def test_arrays_that_are_given_alone_are_divided_too(rng: np.random.Generator) -> None:
    labels = np.repeat([0, 1, 2], 20)
    x, y = (5 * labels[:, None] + rng.standard_normal((60, 3)) for _ in range(2))
    expected = compare_within({"x": x}, {"x": y}, groups=labels).values
    np.testing.assert_array_equal(compare_within(x, y, groups=labels).values, expected)
    assert compare_within(torch.tensor(x), torch.tensor(y), groups=labels).n == 60


def test_it_says_nothing_that_holds_of_one_group_alone(rng: np.random.Generator) -> None:
    x = rng.standard_normal((60, 3))
    x[7] *= 1000
    found = compare_within({"x": x, "y": 2 * x}, groups=np.repeat([0, 1], 30))
    assert "without_dominant_rows" not in found.details
    assert "replicates" not in found.conventions
    assert found.conventions["null"] == "no closed form"
    with pytest.raises(InputError, match="got none: a mean over groups has none"):
        found.interval()


def test_what_the_groups_alone_make_alike_is_gone(rng: np.random.Generator) -> None:
    labels = np.repeat(np.arange(4), 60)
    centres = 9 * rng.standard_normal((4, 5))[labels]
    a, b = ({"x": centres + rng.standard_normal((240, 5))} for _ in range(2))
    assert repscope.compare(a, b).values[0, 0] > 0.95
    assert abs(compare_within(a, b, groups=labels).values[0, 0]) < 0.1


def test_what_was_found_in_one_group_is_not_said_of_all(rng: np.random.Generator) -> None:
    labels = np.repeat([0, 1], 40)
    a, b = layers(rng, labels), layers(rng, labels)
    for layer in (*a.values(), *b.values()):
        layer[7] += 1000
    assert "without_dominant_rows" in repscope.compare(a, b).details
    found = compare_within(a, b, groups=labels).details
    assert "without_dominant_rows" not in found
    assert list(found["within"]["values"]) == ["0", "1"]


def test_models_run_on_each_group() -> None:
    x, labels = class_sorted(60, 3), np.repeat(["red", "green", "blue"], 20)
    model = Net(0)
    found = compare_within(model, data=x, groups=labels, measure="hsic")
    parts = [repscope.compare(model, data=x[labels == g], measure="hsic").values for g in ("red", "green", "blue")]
    np.testing.assert_allclose(found.values, np.mean(parts, axis=0), rtol=1e-5)
    of_dataset = compare_within(model, data=TensorDataset(x), groups=labels, measure="hsic")
    np.testing.assert_allclose(of_dataset.values, found.values, rtol=1e-5)


def test_groups_of_few_examples_are_left_out_and_named(rng: np.random.Generator) -> None:
    labels = np.repeat([0, 1, 2, 3], [30, 30, 1, 3])
    a = layers(rng, labels)
    with pytest.warns(CaptureWarning, match=r"2 of 4 groups have fewer .* are left out: 2 \(1\), 3 \(3\)"):
        found = compare_within(a, groups=labels)
    assert found.details["within"]["left_out"] == {"2": 1, "3": 3}
    assert list(found.details["within"]["examples"]) == ["0", "1"]


def test_a_layer_that_is_constant_in_a_group_counts_in_the_others(rng: np.random.Generator) -> None:
    labels = np.repeat([0, 1], 30)
    a = {"x": rng.standard_normal((60, 4)), "y": rng.standard_normal((60, 4))}
    a["y"][:30] = 2.0
    with pytest.warns(repscope.DegenerateInputWarning, match="within groups, for example"):
        found = compare_within(a, groups=labels)
    assert found.values[0, 1] == pytest.approx(float(repscope.cka(a["x"][30:], a["y"][30:])))
    assert any(text.startswith("group 0: ") for text in found.warnings)
    a["y"][:] = 2.0
    with pytest.warns(repscope.DegenerateInputWarning):
        assert np.isnan(compare_within(a, groups=labels).values[0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": [[0, 1]]}, r"groups must hold one label for each example, got shape \(1, 2\)"),
        ({"groups": np.full(40, np.nan)}, "groups must hold a label for each example, got NaN"),
        (
            {"groups": range(40)},
            r"groups must have at least 4 examples, got 40 .* the largest \(0\) has 1",
        ),
        ({"groups": [0] * 39}, r"got 39 labels for 40 in a\['x'\]"),
        ({"measure": ["cka", "cca"]}, "measure must be one measure"),
        ({"a": "a.npz"}, "a must be a model or arrays, got the path 'a.npz'"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], message: str, rng: np.random.Generator) -> None:
    given = {"a": {"x": rng.standard_normal((40, 3))}, "groups": [0] * 20 + [1] * 20} | change
    with pytest.raises(InputError, match=f"compare_within: {message}" if "labels for" not in message else message):
        compare_within(given.pop("a"), **given)


def test_a_loader_cannot_be_divided() -> None:
    x = class_sorted(60, 3)
    with pytest.raises(InputError, match=r"data must be an array, a tensor or a dataset .* got DataLoader"):
        compare_within(Net(0), data=DataLoader(TensorDataset(x)), groups=[0] * 60)
    with pytest.raises(InputError, match="got 60 labels for 59 in data"):
        compare_within(Net(0), data=torch.zeros(59, 10), groups=[0] * 60)


def test_stored_activations_are_refused_whole(tmp_path: Path) -> None:
    store = capture(tmp_path / "stored", data=images(40))
    for given in (store, {"net": store, "other": store}):
        with pytest.raises(InputError, match=r"compare_within: a.* must be a model or arrays, got the path"):
            compare_within(given, groups=[0] * 20 + [1] * 20)


def test_comparisons_of_other_layers_are_not_averaged(rng: np.random.Generator) -> None:
    found = {name: repscope.compare({name: rng.standard_normal((20, 3))}) for name in ("one", "two")}
    with pytest.raises(
        InputError, match="average: found must hold comparisons of one kind, got another in group 'two'"
    ):
        average(found)
