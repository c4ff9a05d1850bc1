"""What is known of a layer by itself: against definitions, on layers with one defect each, and on sound ones."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from typing import Any

import numpy as np
import pytest

import repscope
from repscope import DiagnosticWarning, InputError, LayerDiagnostics, diagnose, massive_features
from repscope.engine.stream import ArraySource
from repscope.inference import alarms, observer
from repscope.inference.diagnostics import facts
from repscope.inference.observer import Observer
from repscope.inference.spectrum import halving_shift
from tests.conftest import Library
from tests.engine.streams import CutSource
from tests.reference import diagnostics as reference


def cloud(rng: np.random.Generator, n: int = 200, p: int = 30) -> np.ndarray:
    """A sound layer: rectified, off centre, of decaying spectrum."""
    scale = np.arange(1, p + 1) ** -0.3
    return np.maximum(rng.standard_normal((n, p)) * scale @ rng.standard_normal((p, p)) + 0.5, 0)


def warned(layers: dict[str, Any], **settings: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        repscope.compare(layers, **settings)
    return [str(w.message) for w in caught if issubclass(w.category, DiagnosticWarning)]


# -- facts against their definitions -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "outlying", "groups", "offset"])
def test_facts_are_those_of_the_definitions_where_all_examples_are_kept(kind: str, rng: np.random.Generator) -> None:
    x = cloud(rng)
    if kind == "outlying":
        x[[3, 50]] += 40 * rng.standard_normal((2, 30))
    if kind == "groups":
        x[:70] += 30
    if kind == "offset":
        x += 1e4 * rng.standard_normal(30)
    found = diagnose(x)
    # Products of the features are single precision; sums of them keep about five digits of it.
    assert found.participation_ratio == pytest.approx(reference.participation_ratio(x), rel=1e-4)
    assert found.first_component_share == pytest.approx(reference.first_component_share(x), rel=1e-3)
    np.testing.assert_allclose(found.spectrum, reference.spectrum(x)[: len(found.spectrum)], rtol=1e-3, atol=1e-5)
    assert len(found.spectrum) >= min(5, len(reference.spectrum(x)))
    assert found.dominant_share == pytest.approx(reference.dominant_share(x, 2), abs=1e-4)
    apart, between = reference.best_split(x)
    assert found.apart_share == pytest.approx(apart, abs=0.03)  # the best cut is flat where there are no groups
    expected = between * reference.first_component_share(x) if between >= 0.9 else 0.0
    assert found.translation_share == pytest.approx(expected, rel=1e-3)
    assert found.largest_activation == pytest.approx(reference.largest_activation(x), rel=1e-4)
    assert (found.examples, found.features, found.sampled_examples, found.listed_examples) == (200, 30, 200, 200)


def test_a_sample_tells_nearly_the_same(rng: np.random.Generator) -> None:
    x = cloud(rng, 1200, 60)
    found = [diagnose(x, seed=seed) for seed in range(4)]
    assert all(150 <= f.sampled_examples <= 162 for f in found), "an eighth, and the twelve farthest"
    assert len({f.participation_ratio for f in found}) == 4, "the seed chooses the examples"
    # Of 150 examples with PR ≈ 20 the standard deviation is some 5 %; that of the mean of four is half of it. The first
    # component of a sample also takes in what varies by chance: (1 − share) / 150 and more, where others are near.
    assert np.mean([f.participation_ratio for f in found]) == pytest.approx(reference.participation_ratio(x), rel=0.08)
    assert np.mean([f.first_component_share for f in found]) == pytest.approx(
        reference.first_component_share(x), abs=0.02
    )
    assert diagnose(x) == found[0], "and nothing else does"


@pytest.mark.parametrize("n", [128, 200])
def test_sketches_of_wide_layers_tell_nearly_the_same(n: int, rng: np.random.Generator, monkeypatch: Any) -> None:
    x = cloud(rng, n, 20) @ rng.standard_normal((20, 4000))
    x[:, 17] *= 50  # one feature that no subset of the features may miss
    monkeypatch.setattr(observer, "_FEATURES", 1024)
    found = diagnose(x)
    # A product of sketches of f numbers is off by about the squared length over √f, 4 % here.
    assert found.participation_ratio == pytest.approx(reference.participation_ratio(x), rel=0.1)
    assert found.first_component_share == pytest.approx(reference.first_component_share(x), rel=0.1)
    if n == 128:
        assert found.sampled_examples == n
        assert found.largest_activation == pytest.approx(reference.largest_activation(x), rel=1e-4)
    else:
        assert found.sampled_examples == 130, "128, and the two farthest"
        assert found.massive_features == (17,)


@pytest.mark.parametrize("n", [40, 200])
def test_the_halving_shift_halves_cka(n: int, rng: np.random.Generator) -> None:
    x = cloud(rng, n)
    shift = halving_shift(reference.participation_ratio(x), n)
    assert shift is not None
    distance = shift * math.sqrt(np.trace(reference.centred_gram(x)) / n)
    found = (
        [reference.translated_cka(x, np.array([i]), distance) for i in range(n)]
        if n == 40
        else [reference.translated_cka(x, rng.choice(n, 2, replace=False), distance) for _ in range(60)]
    )
    # The closed form puts the expectation over the examples into numerator and denominator apart.
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)


def test_nothing_halves_the_cka_of_examples_in_directions_of_their_own() -> None:
    assert halving_shift(19.0, 8) is None


# -- every alarm on the layer that it is for, and on no sound one --------------------------------------------------


def test_sound_layers_raise_no_alarm(rng: np.random.Generator) -> None:
    layers = {f"{n} × {p}": cloud(rng, n, p) for n in (300,) for p in (5, 30, 300)}
    layers["normal"] = rng.standard_normal((300, 50))
    layers["one feature"] = rng.standard_normal((300, 1))
    layers["classes"] = np.eye(10)[rng.integers(0, 10, 300)] + 0.1 * rng.standard_normal((300, 10))
    assert warned(layers) == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6, 1e-8])
def test_layers_that_hardly_vary_have_no_massive_feature(noise: float, dtype: Any, rng: np.random.Generator) -> None:
    """The first token of a language model, the same in all examples; the last of these is rounding in single."""
    x = (rng.standard_normal(60) + noise * rng.standard_normal((300, 60))).astype(dtype)
    assert warned({"hardly": x, "sound": cloud(rng, 300)}, pairs="all", kernel="linear") == []
    assert massive_features(x) == ()
    x[:, 7] += 400
    assert massive_features(x) == (7,)


@pytest.mark.parametrize("n", [8, 12, 30])
def test_small_samples_raise_no_alarm(n: int, rng: np.random.Generator) -> None:
    assert warned({"a": rng.standard_normal((n, 40)), "b": cloud(rng, n, 10)}) == []


def defects(rng: np.random.Generator) -> dict[str, tuple[np.ndarray, str]]:
    x = cloud(rng, 300)
    dominant = x.copy()
    dominant[[17, 40]] += 30 * np.ones(30)
    translated = x.copy()
    translated[:60] += 40
    one = x + 20 * rng.standard_normal((300, 1)) * rng.standard_normal(30)
    massive = x.copy()
    massive[:, 7] += 400
    massive[5, 7] += 1
    dead = np.hstack([x, np.ones((300, 90))])
    blank = x.copy()
    blank[::15] = 3.0
    return {
        "dominant": (dominant, "comes from 2 of 300 examples (rows 17, 40)"),
        "translated": (translated, "of the examples lie apart from the others in one direction, 99% of"),
        "one direction": (one, "the first principal component holds"),
        "massive": (massive, "1 feature (7) reaches 227 times a typical activation"),
        "dead": (dead, "90 of 120 features never change"),
        "blank": (blank, "in 20 of 300 examples all features are nearly equal"),
    }


KINDS = ["dominant", "translated", "one direction", "massive", "dead", "blank"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_defect_raises_its_alarm_and_no_other(kind: str, rng: np.random.Generator) -> None:
    x, text = defects(rng)[kind]
    messages = warned({"sound": cloud(rng, 300), kind: x.astype(np.float32)})
    assert len(messages) == 1
    assert messages[0].startswith(f"layer '{kind}': ")
    assert text in messages[0]


def test_doubled_data_raise_an_alarm_and_examples_that_are_equal_in_one_layer_do_not(rng: np.random.Generator) -> None:
    layers = {"embedding": cloud(rng, 5)[rng.integers(0, 5, 300)], "later": cloud(rng, 300)}
    assert warned(layers) == []
    assert diagnose(layers["embedding"]).repeated_examples == 295
    doubled = {name: np.concatenate([x, x[:30]]) for name, x in layers.items()}
    assert warned(doubled) == [
        "all layers: 30 of 330 examples equal another one. Unbiased scores take the examples to be independent: leave "
        "repeats out of the data."
    ]


def test_every_alarm_has_a_defect() -> None:
    assert len(KINDS) == len(alarms.ALARMS)


def test_a_warning_is_given_once_for_all_layers(rng: np.random.Generator) -> None:
    dead = np.hstack([cloud(rng, 100), np.zeros((100, 90))])
    layers = {f"layer{i}": dead[:, i:] for i in range(12)}
    result = None
    with pytest.warns(DiagnosticWarning) as caught:
        result = repscope.compare(layers, measure=["cka", "procrustes"])
    assert len(caught) == 1
    message = str(caught[0].message)
    assert message == (
        "layer 'layer11': 90 of 109 features never change (also in 11 others: 'layer0', 'layer1', 'layer2', …). "
        "They alter no score, but look for dead units."
    )
    assert caught[0].filename == __file__
    assert all(message in comparison.warnings for comparison in result.values())


def test_constant_layers_have_no_facts_that_are_not_numbers(rng: np.random.Generator) -> None:
    layers = {"constant": np.full((50, 6), 3.0), "sound": cloud(rng, 50)}
    with pytest.warns(repscope.DegenerateInputWarning):
        result = repscope.compare(layers)
    found = result.diagnostics[result.models[0]]["constant"]
    assert found["participation_ratio"] is None
    assert (found["constant_features"], found["repeated_examples"]) == (6, 49)
    json.dumps(dict(found), allow_nan=False)
    assert len(result.warnings) == 1


@pytest.mark.parametrize("value", [1e-30, 1e30])
def test_extreme_scales_give_the_same_facts(value: float, rng: np.random.Generator) -> None:
    x = cloud(rng, 60)
    usual, scaled = diagnose(x), diagnose(x * value)
    assert scaled.participation_ratio == pytest.approx(usual.participation_ratio, rel=1e-5)
    assert scaled.dominant_share == pytest.approx(usual.dominant_share, abs=1e-5)


@pytest.mark.parametrize("unit", [2.0**-100, 2.0**100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_features_repeat_and_reach_as_far_as_others(unit: float, dtype: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((120, 20)).astype(dtype)
    x[7] *= 60
    x[50:55] = x[60:65]
    x[9, 3] = -5000
    x[30:40] = x[30:40, :1]
    usual, scaled = diagnose(x), diagnose(x * dtype(unit))
    assert scaled == usual
    assert usual.repeated_examples == 5
    assert usual.massive_features == (3,)
    assert usual.blank_examples == 10


def test_cka_without_the_examples_that_dominate_layers_is_in_the_result(rng: np.random.Generator) -> None:
    """Nguyen et al. 2022: layers that share nothing but a few examples far out."""
    layers = {name: cloud(rng, 200, 20) for name in ("one", "two", "sound")}
    for name in ("one", "two"):
        layers[name][[17, 40]] += 200
    with pytest.warns(DiagnosticWarning) as caught:
        result = repscope.compare(layers, kernel="linear")
    assert result.values[0, 1] > 0.95
    rest = {name: np.delete(x, [17, 40], axis=0) for name, x in layers.items()}
    expected = [[float(repscope.cka(x, y)) for y in rest.values()] for x in rest.values()]
    without = result.details["without_dominant_rows"]
    assert (without["rows"], without["examples"]) == ([17, 40], 198)
    np.testing.assert_allclose(without["linear_cka"], expected, atol=1e-5)
    assert str(caught[0].message).endswith(
        f"Without them, linear CKA of 'one' and 'two' is about {expected[0][1]:.2f}."
    )
    assert "without_dominant_rows" not in repscope.compare({"sound": layers["sound"]}).details


# -- kept in the result --------------------------------------------------------------------------------------------


def test_a_comparison_keeps_the_facts_of_every_layer(rng: np.random.Generator, tmp_path: Any) -> None:
    a, b = {"one": cloud(rng), "two": cloud(rng, p=5)}, {"one": cloud(rng, p=12)}
    result = repscope.compare(a, b, measure="cca")
    assert {model: list(layers) for model, layers in result.diagnostics.items()} == {"a": ["one", "two"], "b": ["one"]}
    assert result.diagnostics["b"]["one"] == json.loads(json.dumps(dataclasses.asdict(_of(result, "b", "one"))))
    assert result.diagnostics["a"]["two"]["participation_ratio"] == pytest.approx(
        reference.participation_ratio(a["two"]), rel=1e-4
    )
    assert repscope.load(result.save(tmp_path / "x.npz")).diagnostics == result.diagnostics


def _of(result: Any, model: str, layer: str) -> LayerDiagnostics:
    return LayerDiagnostics(**result.diagnostics[model][layer])


# -- the stream ----------------------------------------------------------------------------------------------------


def test_repeats_are_found_across_batches_and_zeros_are_repeats(rng: np.random.Generator) -> None:
    x = cloud(rng, 500, 200).astype(np.float32)
    x[400] = x[3]
    x[450:460] = 0
    assert diagnose(x).repeated_examples == reference.repeated_examples(x) == 10


def test_near_repeats_are_none(rng: np.random.Generator) -> None:
    x = cloud(rng, 500, 200).astype(np.float32)
    x[400] = x[3] * 1.001
    assert diagnose(x).repeated_examples == 0


def test_order_is_noticed(rng: np.random.Generator) -> None:
    labels = np.repeat(np.arange(10), 40)
    x = 3 * rng.standard_normal((10, 20))[labels] + rng.standard_normal((400, 20))
    assert diagnose(x).ordered
    assert diagnose(x).order > 10
    shuffled = diagnose(rng.permutation(x))
    assert not shuffled.ordered


@pytest.mark.parametrize("expected", [None, 300])
@pytest.mark.parametrize("sketched", [False, True])
def test_any_division_of_the_batches_gives_the_same_facts(
    sketched: bool, expected: int | None, rng: np.random.Generator, monkeypatch: Any
) -> None:
    if sketched:
        monkeypatch.setattr(observer, "_FEATURES", 16)
        monkeypatch.setattr(observer, "_FEWEST_SKETCHED", 8)
    monkeypatch.setattr(observer, "SAMPLE", 64)
    monkeypatch.setattr(observer, "LEDGER", 100)
    layers = [cloud(rng, 300), np.hstack([cloud(rng, 300, 40), np.zeros((300, 5))])]
    layers[0][[7, 200]] += 50
    source = CutSource(layers, [40, 40, 40, 40, 40, 40, 60])
    whole = Observer(source.names, source.widths, expected=expected)
    whole.of_stream(source)
    merged = None
    for index in range(3):
        shard = repscope.engine.partial.Shard(index, 3)
        part = Observer(source.names, source.widths, expected=expected, shard=shard)
        part.of_stream(source)
        part = Observer.from_arrays(part.arrays(), source.names)
        if merged is None:
            merged = part
        else:
            merged.merge(part)
    for one, other in zip(facts(whole), facts(merged), strict=True):
        ours, theirs = dataclasses.asdict(one), dataclasses.asdict(other)
        largest = ours.pop("largest_activation"), theirs.pop("largest_activation")
        for fact, value in ours.items():
            assert theirs[fact] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value), fact
        # Deviations come from the examples that were among the sampled at some time, which depends on the division.
        assert largest[0] == pytest.approx(largest[1], rel=0.3)


@pytest.mark.parametrize(
    ("expected", "sampled", "gathered"),
    # Kept for a while: some 256 (1 + ln 4000 / 256) examples, or 320; with them the farthest, 32 (1 + ln 4000 / 32).
    [(None, 256, (800, 1200)), (50, 256, (800, 1200)), (4000, 256, (400, 550)), (8000, 160, (250, 400))],
)
def test_a_sample_of_a_stream_of_known_length_comes_from_few_candidates(
    expected: int | None, sampled: int, gathered: tuple[int, int], rng: np.random.Generator
) -> None:
    source = CutSource([rng.standard_normal((4000, 12), dtype=np.float32)], [100] * 40)
    watcher = Observer(source.names, source.widths, expected=expected)
    watcher.of_stream(source)
    rows = np.sort(watcher.sample_rows)
    assert len(set(rows)) == len(rows)
    # Where the length was told as twice what it is, half of the candidates do not exist.
    assert len(rows) == pytest.approx(sampled, abs=0 if sampled == 256 else 4 * np.sqrt(sampled))
    layer = watcher.layers[0]
    np.testing.assert_array_equal(layer.sample, source.arrays[0][watcher.sample_rows] - layer.shift)
    assert gathered[0] < layer.columns.count < gathered[1]
    assert abs(rows.mean() - 2000) < 4 * 4000 / np.sqrt(12 * len(rows))


def test_rows_are_those_of_the_data(rng: np.random.Generator) -> None:
    x = cloud(rng, 400)
    x[[11, 390]] += 500 * rng.standard_normal((2, 30))
    source = CutSource([x], [50] * 8)
    watcher = Observer(source.names, source.widths)
    watcher.of_stream(source)
    assert facts(watcher)[0].dominant_rows == (11, 390)


def test_memory_is_bounded(rng: np.random.Generator) -> None:
    layers = [rng.standard_normal((600, 3000), dtype=np.float32) for _ in range(12)]
    source = ArraySource(layers, [str(i) for i in range(12)])
    watcher = Observer(source.names, source.widths)
    watcher.of_stream(source)
    kept = sum(layer.sample.nbytes + layer.far_features.nbytes for layer in watcher.layers)
    assert kept <= observer.BYTES
    assert all(layer.sketched_to for layer in watcher.layers)


# -- comparisons without ---------------------------------------------------------------------------------------------


def test_without_diagnostics_nothing_else_changes(rng: np.random.Generator) -> None:
    layers = {"one": cloud(rng), "two": cloud(rng)}
    layers["one"][7] += 1000
    with pytest.warns(DiagnosticWarning, match="row 7"):
        looked = repscope.compare(layers)
    blind = repscope.compare(layers, diagnostics=False)  # warnings are errors here
    np.testing.assert_array_equal(blind.values, looked.values)
    np.testing.assert_array_equal(blind.p_values, looked.p_values)
    assert looked.diagnostics
    assert not blind.diagnostics
    blind = repscope.permutation_test(layers, permutations=19, diagnostics=False).comparison
    assert not blind.diagnostics


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True)])
def test_a_resumed_comparison_has_diagnostics_if_all_of_it_has(
    before: bool, after: bool, rng: np.random.Generator, tmp_path: Any
) -> None:
    layers = {"one": cloud(rng), "two": cloud(rng)}
    settings: dict[str, Any] = {"checkpoint": tmp_path / "sums", "pairs": "batch", "batch_size": 40}
    first = repscope.compare(layers, diagnostics=before, **settings)
    again = repscope.compare(layers, diagnostics=after, **settings)
    np.testing.assert_array_equal(again.values, first.values)
    assert bool(first.diagnostics) == before
    assert not again.diagnostics


# -- libraries and bad input ---------------------------------------------------------------------------------------


def test_every_library_gives_the_same_facts(xp: Library, rng: np.random.Generator) -> None:
    x = cloud(rng, 60)
    expected, found = diagnose(x.astype(np.float32)), diagnose(xp.array(x))
    assert found.participation_ratio == pytest.approx(expected.participation_ratio, rel=1e-4)
    assert found.repeated_examples == 0


def test_massive_features_of_an_array(rng: np.random.Generator) -> None:
    x = rng.standard_normal((100, 20))
    assert massive_features(x) == ()
    x[3, 7], x[:, 2] = -500, 900
    assert massive_features(x) == (2, 7)
    assert massive_features(x, threshold=1e4) == ()
    assert massive_features(np.ones((10, 3))) == ()


def test_bad_input_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match="diagnose: seed must be a whole number from 0 on, got -1"):
        diagnose(np.ones((5, 2)), seed=-1)
    with pytest.raises(InputError, match="diagnose: layers must hold at least one"):
        diagnose({})
    with pytest.raises(InputError, match=r"diagnose: layers must have the same number of rows, got \{'a': 5, 'b': 6\}"):
        diagnose({"a": np.eye(5), "b": np.eye(6)})
    with pytest.raises(InputError, match="diagnose: b must be finite"):
        diagnose({"a": np.eye(3), "b": np.full((3, 3), np.nan)})
    with pytest.raises(InputError, match="massive_features: threshold must be positive, got 0"):
        massive_features(np.eye(3), threshold=0)


# -- few examples --------------------------------------------------------------------------------------------------


def test_few_examples_are_said_once_where_unrelated_layers_would_look_alike():
    rng = np.random.default_rng(0)
    layers = {name: rng.standard_normal((64, p)) for name, p in (("x", 512), ("y", 256), ("narrow", 2))}
    (said,) = warned(layers, estimator="biased")
    assert said.startswith("CKA (linear, biased): 64 examples are few for layers whose variance lies in 5")
    assert "'x' × 'x', participation ratios): unrelated layers would score 0.89" in said
    (said,) = warned(layers, measure="procrustes")
    assert said.startswith("Procrustes (angle): 64 examples are few for layers")
    assert "unrelated layers would look alike (at 0.89" in said
    both = repscope_warnings(layers, measure=["cka", "procrustes"], estimator="biased")
    assert [len(result.warnings) for result in both.values()] == [1, 1]
    (said,) = warned(layers, estimator="biased", diagnostics=False)
    assert "64 examples are few for layers as wide as these ('x' × 'x'): unrelated layers would score 0.89" in said
    assert not warned(layers)  # of the unbiased estimator unrelated layers score 0


def repscope_warnings(layers: dict[str, Any], **settings: Any) -> dict[str, repscope.Comparison]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosticWarning)
        return repscope.compare(layers, **settings)


def test_it_is_the_participation_ratio_that_counts_and_not_the_width():
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((200, 8)) @ rng.standard_normal((8, 3000))  # eight directions in 3,000 features
    assert not warned({"wide": wide}, estimator="biased")
    assert warned({"full": rng.standard_normal((200, 3000))}, estimator="biased")


def test_the_ratio_of_a_sample_is_taken_to_all_examples():
    """Of 2,000 examples of 1,000 equal directions it is nP/(n + P) = 667, a third of n; of 256 of them 204."""
    rng = np.random.default_rng(0)
    result = repscope_warnings({"x": rng.standard_normal((2000, 1000))}, measure=["procrustes"])["procrustes"]
    facts_of_x = result.diagnostics["model"]["x"]
    assert facts_of_x["sampled_examples"] < 300
    (said,) = result.warnings
    ratio = float(said.split("(at ")[1].split(" of n")[0])
    assert ratio == pytest.approx(1 / 3, rel=0.1)


def test_the_estimate_from_batches_has_few_examples_in_each():
    rng = np.random.default_rng(0)
    (said,) = warned({"x": rng.standard_normal((400, 60))}, estimator="biased", pairs="batch", batch_size=50)
    assert said.startswith("CKA (linear, biased): batches of 50 examples are few")
