"""compare on torch models, from end to end."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import repscope
from repscope import RBF, CaptureError, Comparison, DataOrderWarning, DegenerateInputWarning, InputError, compare
from tests.capture.models import Encoder, ResNet
from tests.compare.nets import ORDER, Net, Shuffled, class_sorted, generator_of, inputs

pytestmark = pytest.mark.filterwarnings("ignore::repscope.DiagnosticWarning")  # the networks are tiny and untrained


def reference(model: nn.Module, data: Any, measure: str = "cka", other: nn.Module | None = None, **options: Any) -> Any:
    rows = repscope.representations(model, data)
    columns = rows if other is None else repscope.representations(other, data)
    return [
        [float(repscope.score(measure, x.double(), y.double(), **options)) for y in columns.values()]
        for x in rows.values()
    ]


# -- values and labels -----------------------------------------------------------------------------------------------


def test_labels_stand_in_execution_order() -> None:
    result = compare(Net(0), Net(1), data=inputs())
    assert list(result.row_layers) == list(result.column_layers) == ORDER
    assert set(result.row_models) == {"Net a"}
    assert set(result.column_models) == {"Net b"}
    assert list(compare(Net(0), data=inputs()).row_layers) == ORDER


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("kernel", ["linear", RBF(0.5), "cosine", "laplace", "polynomial"])
def test_the_exact_value_is_that_of_the_representations(kernel: Any, estimator: str) -> None:
    a, b, x = Net(0), Net(1), inputs(70)
    options = {"kernel": kernel, "estimator": estimator}
    result = compare(a, b, data=x, batch_size=16, pairs="all", layers=["first", "second", "head"], **options)
    chosen = [repscope.representations(m, x, ["first", "second", "head"]) for m in (a, b)]
    expected = [
        [float(repscope.cka(p.double(), q.double(), **options)) for q in chosen[1].values()] for p in chosen[0].values()
    ]
    np.testing.assert_allclose(result.values, expected, atol=1e-5)
    assert result.n == 70


ROUTES: dict[str, dict[str, Any]] = {
    "moments": {},
    "memory": {"width": 300},
    "passes": {"width": 300, "memory": 420},
    "batch": {"pairs": "batch", "batch_size": 64},
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_route_gives_the_same_value(route: str, dtype: torch.dtype) -> None:
    settings = {"pairs": "all", "batch_size": 20} | ROUTES[route]
    width = settings.pop("width", 4)
    if "memory" in settings:
        settings["memory"] = f"{settings['memory'] * dtype.itemsize // 4}KB"
    models = [Net(seed, width).to(dtype) for seed in (0, 1)]
    result = compare(*models, data=inputs(64).to(dtype), **settings)
    assert result.conventions["route"] == route
    assert (result.conventions["passes"] > 1) == (route == "passes")
    tolerance = 1e-5 if dtype is torch.float32 else 1e-9
    np.testing.assert_allclose(
        result.values, reference(models[0], inputs(64).to(dtype), other=models[1]), atol=tolerance
    )


def test_rbf_is_the_same_in_memory_and_over_several_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    models, x = [Net(seed, 300) for seed in (0, 1)], inputs(900)
    settings: dict[str, Any] = {"data": x, "batch_size": 100, "kernel": RBF(0.4), "pairs": "all", "seed": 3}
    settings["layers"] = "act"
    whole = compare(*models, **settings)
    wide = [next(iter(repscope.representations(m, x, "act").values())) for m in models]
    np.testing.assert_allclose(whole.values[0, 0], repscope.cka(*wide, kernel=RBF(0.4)), atol=1e-5)
    assert (whole.conventions["bandwidth_examples"], whole.seeds) == (900, {})
    passes = compare(*models, **settings, memory="5MB")
    assert (passes.conventions["route"], passes.seeds) == ("passes", {"bandwidth": 3})
    assert passes.conventions["bandwidth_examples"] == 256  # more do not fit
    np.testing.assert_allclose(passes.values, whole.values, atol=0.01)
    monkeypatch.setattr("repscope.engine.plan.BANDWIDTH_EXAMPLES", 256)
    sampled = compare(*models, **settings)
    assert sampled.conventions["route"] == "memory"
    np.testing.assert_allclose(passes.values, sampled.values, atol=1e-5)


def test_hsic_has_the_units_of_the_measure() -> None:
    model, x = Net(0), inputs(60)
    with torch.no_grad():
        model.first.weight *= 1000
        model.first.bias *= 1000
    for settings in ({"pairs": "all"}, {"pairs": "batch", "batch_size": 60}, {"kernel": "rbf"}):
        options = {k: v for k, v in settings.items() if k == "kernel"}
        result = compare(model, data=x, measure="hsic", **settings)
        np.testing.assert_allclose(result.values, reference(model, x, "hsic", **options), rtol=1e-4)
        assert result.range[1] == np.inf


def test_the_minibatch_estimate_averages_before_the_ratio() -> None:
    a, b, x = Net(0), Net(1), inputs(64)
    result = compare(a, b, data=x, pairs="batch", batch_size=16)
    total = [
        sum(np.array(reference(m, part, "hsic", other=o)) for part in x.split(16)) for m, o in ((a, b), (a, a), (b, b))
    ]
    expected = total[0] / np.sqrt(np.outer(np.diag(total[1]), np.diag(total[2])))
    np.testing.assert_allclose(result.values, expected, atol=1e-5)
    assert (result.conventions["pairs"], result.conventions["batches"]) == ("batch", 4)


def test_many_models_share_one_pass() -> None:
    models = {"one": Net(0), "two": Net(1), "three": Net(2, 5)}
    result = compare(models, data=inputs(60), batch_size=20, pairs="batch")
    assert result.values.shape == (9, 9)
    assert result.models == ("one", "two", "three")
    assert [m.examples for m in models.values()] == [models["one"].examples] * 3
    assert models["one"].examples == 60 + 13  # one pass, and a dozen items to see the layers
    pair = compare(models["one"], models["three"], data=inputs(60), batch_size=20, pairs="batch")
    np.testing.assert_allclose(result.between("one", "three").values, pair.values, atol=1e-12)


@pytest.mark.parametrize(
    "measures",
    [
        ["cka", "hsic", "cca", "procrustes"],
        ["cka", repscope.configure("cka", estimator="biased"), repscope.configure("cka", kernel=RBF(0.4))],
    ],
)
@pytest.mark.parametrize("pairs", ["auto", "all", "batch"])
def test_a_list_of_measures_shares_one_pass(measures: list[Any], pairs: str) -> None:
    model = Net(0)
    results = compare(model, data=Shuffled(inputs(80), 20), measure=measures, pairs=pairs)
    assert model.examples <= 80 + 4 * 20
    assert [r.measure for r in results.values()] == [m if isinstance(m, str) else m.id for m in measures]
    if pairs == "batch":
        assert results["cka"].conventions["pairs"] == "batch"
    for label, result in results.items():
        single = compare(model, data=inputs(80), measure=measures[list(results).index(label)], pairs="all")
        np.testing.assert_allclose(
            result.values, single.values, rtol=0.5 if pairs == "batch" else 1e-4, atol=0.1 if pairs == "batch" else 1e-5
        )


def test_measures_with_the_same_sums_share_their_passes() -> None:
    model = Net(0, 300)
    measures = ["cka", "hsic", repscope.configure("cka", estimator="biased")]
    settings: dict[str, Any] = {"data": inputs(64), "memory": "300KB", "batch_size": 20, "pairs": "all"}
    single = compare(model, **settings)
    examples, model.examples = model.examples, 0
    results = compare(model, measure=measures, **settings)
    assert single.conventions["route"] == "passes"
    assert model.examples == examples
    np.testing.assert_array_equal(results["cka"].values, single.values)
    np.testing.assert_allclose(results["hsic"].values, reference(model, inputs(64), "hsic"), rtol=1e-4)


def test_options_reach_the_measures_that_have_them() -> None:
    x = inputs(90)
    results = compare(Net(0), data=x, measure=["cka", "svcca", "procrustes"], estimator="biased", variance=0.9)
    assert list(results) == ["cka(estimator='biased')", "svcca(variance=0.9)", "procrustes"]
    np.testing.assert_allclose(
        results["svcca(variance=0.9)"].values, reference(Net(0), x, "svcca", variance=0.9), atol=1e-4
    )
    assert results["procrustes"].kind == "distance"
    with pytest.raises(InputError, match=r"compare: kernel must be an option of the measure, got .* for procrustes"):
        compare(Net(0), data=x, measure="procrustes", kernel="rbf")
    with pytest.raises(InputError, match=r"compare: measure must name at least one measure, got none"):
        compare(Net(0), data=x, measure=[])


# -- which layers ----------------------------------------------------------------------------------------------------


def test_layers_for_both_models_and_for_each() -> None:
    a, b = Net(0), Net(1)
    assert compare(a, b, data=inputs(), layers=["head", "first"]).row_layers == ("first", "head")
    result = compare(a, b, data=inputs(), layers=("first", ["second", "head"]))
    assert (result.row_layers, result.column_layers) == (("first",), ("second", "head"))
    result = compare({"x": a, "y": b}, data=inputs(), layers={"x": "first"})
    assert result.row_layers == ("first", *ORDER)
    with pytest.raises(InputError, match=r"compare: layers must have names of models as keys, got 'z'"):
        compare({"x": a, "y": b}, data=inputs(), layers={"z": "first"})
    with pytest.raises(InputError, match=r"Did you mean 'first'"):
        compare(a, b, data=inputs(), layers="frist")


def test_a_model_may_be_compared_with_itself() -> None:
    model = Net(0)
    result = compare(model, model, data=inputs())
    np.testing.assert_allclose(np.diag(result.values), 1, atol=1e-6)
    assert result.models == ("Net a", "Net b")


# -- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"pairs": "batch"}, {"pairs": "all"}, {"kernel": "rbf"}, {"measure": "cca"}])
def test_a_shuffled_loader_is_safe_in_one_pass(settings: dict[str, Any]) -> None:
    a, b = Net(0), Net(0)
    loader = DataLoader(TensorDataset(inputs(96)), batch_size=32, shuffle=True)
    result = compare(a, b, data=loader, **settings)
    np.testing.assert_allclose(np.diag(result.values), 1, atol=1e-4)


def test_a_shuffled_loader_over_several_passes_is_refused() -> None:
    with pytest.raises(InputError, match=r"compare: data must come in the same order on every pass, got another batch"):
        compare(Net(0, 300), data=Shuffled(inputs(64), 16), memory="300KB", pairs="all")


@pytest.mark.parametrize("change", [-1, 1])
def test_a_second_pass_of_another_length_is_refused(change: int) -> None:
    class Changing:
        passes = 0

        def __len__(self) -> int:
            return 4

        def __iter__(self) -> Any:
            self.passes += 1  # the first look and the first pass are whole
            return iter(inputs(96).split(16)[: 4 + change * (self.passes > 2)])

    with pytest.raises(InputError, match=r"compare: data must (come in the same order|hold as many batches)"):
        compare(Net(0, 300), data=Changing(), memory="300KB", pairs="all")


@pytest.mark.parametrize(
    "settings", [{"pairs": "batch"}, {"pairs": "all"}, {"kernel": "rbf"}, {"measure": ["cca", "cka"]}]
)
def test_a_generator_is_enough_for_one_pass(settings: dict[str, Any]) -> None:
    result = compare(Net(0), data=generator_of(inputs(96), 32), **settings)
    again = compare(Net(0), data=list(inputs(96).split(32)), **settings)
    for one, other in zip(*(r.values() if isinstance(r, dict) else [r] for r in (result, again)), strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-6)
        assert one.n == 96


@dataclass
class Graph:
    """A batch that does not say how many items it holds."""

    x: torch.Tensor


@pytest.mark.parametrize("settings", [{"pairs": "batch"}, {"pairs": "all"}, {"pairs": "all", "memory": "300KB"}])
def test_batches_may_be_objects_that_only_forward_knows(settings: dict[str, Any]) -> None:
    models = Net(0, 300), Net(1)
    expected = compare(*models, data=list(inputs(90).split(16)), **settings)
    graphs = [Graph(part) for part in inputs(90).split(16)]
    result = compare(*models, data=graphs, forward=lambda model, graph: model(graph.x), **settings)
    np.testing.assert_allclose(result.values, expected.values, atol=1e-6)
    assert (result.n, result.conventions["route"]) == (90, expected.conventions["route"])
    generator = compare(*models, data=iter(graphs), forward=lambda model, graph: model(graph.x))
    assert generator.n == 90
    with pytest.raises(InputError, match=r"got Graph. Pass forward=, a function of \(model, batch\)"):
        compare(*models, data=graphs)


def test_a_divided_job_counts_the_examples_of_objects(tmp_path: Any) -> None:
    graphs = [Graph(part) for part in inputs(90).split(16)]
    settings: dict[str, Any] = {"forward": lambda model, graph: model(graph.x), "pairs": "all", "memory": "300KB"}
    paths = [tmp_path / "one", tmp_path / "two"]
    for i, path in enumerate(paths):
        repscope.compare_part(Net(0, 300), data=graphs, shard=(i + 1, 2), path=path, progress=False, **settings)
    merged = repscope.merge(paths)
    np.testing.assert_allclose(merged.values, compare(Net(0, 300), data=graphs, **settings).values, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 16, 32, 48])
def test_the_examples_are_the_same_whatever_the_batch(batch_size: int) -> None:
    class TokensFirst(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            torch.manual_seed(seed)
            self.e, self.f, self.r, self.o = nn.Embedding(11, 4), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 5)

        def forward(self, idx: torch.Tensor) -> torch.Tensor:
            x = self.e(idx).transpose(0, 1)
            x = self.r(self.f(x)).cumsum(0)
            return self.o(x[-1])

    ids = torch.randint(0, 11, (96, 32), generator=torch.Generator().manual_seed(0))
    models = TokensFirst(0), TokensFirst(1)
    with torch.no_grad():
        expected = [model.f(model.e(ids)).flatten(1).double() for model in models]
    for layers in ("f", None):
        result = compare(*models, data={"idx": ids}, batch_size=batch_size, layers=layers)
        assert (result.n, result.row_layers) == (96, ("f",) if layers else ("e", "r", "o"))
        if layers:
            np.testing.assert_allclose(result.values, [[float(repscope.cka(*expected))]], atol=1e-5)


def test_other_numbers_of_tokens_are_seen_whatever_the_batch() -> None:
    def tokens(width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(10, 4 * width), nn.Unflatten(1, (width, 4)), nn.Linear(4, 4))

    with pytest.raises(CaptureError, match=r"the same number of tokens to sample some, got 5 of .* and 6 of"):
        compare(tokens(5), tokens(6), data=inputs(64), layers="2", reduce="sample:3")


@pytest.mark.parametrize("settings", [{"pairs": "batch"}, {"pairs": "all"}, {"pairs": "all", "memory": "300KB"}])
def test_a_loader_may_use_its_memory_again(settings: dict[str, Any]) -> None:
    class OneBuffer:
        """The same memory for all batches, also of the next pass."""

        def __init__(self) -> None:
            self.buffer = torch.empty(16, 10)

        def __iter__(self) -> Any:
            for part in inputs(90).split(16):
                yield self.buffer[: len(part)].copy_(part)

    model = Net(0, 300)
    expected = compare(model, data=inputs(90), batch_size=16, **settings)
    result = compare(model, data=OneBuffer(), **settings)
    np.testing.assert_allclose(result.values, expected.values, atol=1e-6)
    assert result.n == 90


def test_a_generator_that_does_not_fit_memory_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"compare: .*(gone through only once|memory=)"):
        compare(Net(0, 300), data=generator_of(inputs(640), 16), memory="300KB", pairs="all")


def test_activations_that_outgrow_the_estimate_are_streamed_again() -> None:
    class Unsized:
        """An iterable that does not tell its length."""

        def __iter__(self) -> Any:
            return iter(inputs(160).split(16))

    model = Net(0, 300)
    result = compare(model, data=Unsized(), memory="300KB", pairs="all")
    assert result.conventions["route"] == "passes"
    assert result.n == 160
    np.testing.assert_allclose(result.values, reference(model, inputs(160)), atol=1e-5)


def test_a_small_last_batch_is_folded_in() -> None:
    result = compare(Net(0), data=inputs(66), batch_size=32, pairs="batch")
    assert (result.n, result.conventions["batches"]) == (66, 2)


def test_a_small_batch_that_cannot_be_joined_is_left_out_with_a_warning() -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.one, self.two = nn.Conv1d(1, 4, 3), nn.Conv1d(4, 5, 3)

        def forward(self, x: Any) -> Any:
            return self.two(torch.relu(self.one(x)))

    batches = [torch.randn(20, 1, 9), torch.randn(20, 1, 9), torch.randn(2, 1, 12)]
    with pytest.warns(repscope.CaptureWarning, match=r"compare: examples 40 to 41 are left out") as caught:
        result = compare(Pooled(), data=batches, pairs="batch", reduce="mean")
    assert caught[0].filename == __file__
    assert result.n == 40
    assert "left out" in result.warnings[0]


def test_batches_too_small_for_the_estimator_are_refused() -> None:
    with pytest.raises(InputError, match=r"compare: a batch must hold at least 4 examples for the unbiased estimator"):
        compare(Net(0), data=inputs(30), batch_size=3, pairs="batch")
    compare(Net(0), data=inputs(30), batch_size=3, pairs="batch", estimator="biased")
    compare(Net(0), data=inputs(30), batch_size=3, pairs="all")


@pytest.mark.parametrize("pairs", ["all", "batch"])
@pytest.mark.parametrize("measure", ["cka", "hsic"])
def test_too_few_examples_are_refused(measure: str, pairs: str) -> None:
    with pytest.raises(InputError, match=r"must hold at least 4 examples.*got 3"):
        compare(Net(0), data=inputs(3), measure=measure, pairs=pairs)
    assert compare(Net(0), data=inputs(3), measure=measure, pairs=pairs, estimator="biased").n == 3


@pytest.mark.parametrize("data", [[], torch.zeros(0, 10), iter([])])
def test_a_loader_that_yields_nothing_is_refused(data: Any) -> None:
    with pytest.raises(InputError, match=r"at least one (batch|item)"):
        compare(Net(0), data=data)


def test_models_need_data_and_cannot_be_mixed_with_arrays() -> None:
    with pytest.raises(InputError, match=r"compare: data must be given to run the models on"):
        compare(Net(0))
    with pytest.raises(InputError, match=r"compare: models and stored arrays cannot be mixed"):
        compare(Net(0), {"x": np.zeros((5, 2))}, data=inputs())
    with pytest.raises(InputError, match=r"compare: a must be one model"):
        compare({"x": Net(0), "y": Net(1)}, Net(2), data=inputs())
    with pytest.raises(InputError, match=r"must be a torch module, a mapping of layer names to arrays.*got int"):
        compare(3, data=inputs())


# -- ordered data ----------------------------------------------------------------------------------------------------


def test_class_sorted_data_are_warned_about_under_minibatches_only() -> None:
    x, model = class_sorted(), Net(0)
    with pytest.warns(
        DataOrderWarning, match=r"compare: the examples come in an order .*'act#0'.* pairs='all'"
    ) as caught:
        result = compare(model, data=x, batch_size=40, pairs="batch")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert result.warnings == (str(caught[0].message),)
    exact = compare(model, data=x, batch_size=40, pairs="all")
    assert exact.warnings == ()
    shuffled = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    estimate = compare(model, data=shuffled, batch_size=40, pairs="batch")
    assert estimate.warnings == ()
    assert np.abs(estimate.values - exact.values).max() < 0.05
    assert np.abs(result.values - exact.values).max() > 0.1
    np.testing.assert_allclose(compare(model, data=shuffled, pairs="all").values, exact.values, atol=1e-5)


# -- degenerate activations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "settings",
    [{"pairs": "batch"}, {"pairs": "all"}, {"kernel": "rbf"}, {"measure": "cca"}, {"memory": "2MB", "width": 300}],
)
def test_activations_that_are_not_finite_are_named_with_their_batch(settings: dict[str, Any], value: float) -> None:
    settings = dict(settings)
    model, x = Net(0, settings.pop("width", 12)), inputs(64)

    def poison(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[args[0][:, 0] == x[41, 0]] = value
        return output

    model.first.register_forward_hook(lambda m, i, o: poison(m, i, o))
    with pytest.raises(InputError, match=r"activations of layer 'act#0' must be finite, got (NaN|infinity) in batch 2"):
        compare(model, data=x, batch_size=16, **settings)


@pytest.mark.parametrize(
    "settings", [{"pairs": "batch"}, {"pairs": "all"}, {"kernel": "rbf"}, {"kernel": "rbf", "pairs": "batch"}]
)
@pytest.mark.parametrize("bias", [0.0, 0.1])
def test_a_constant_layer_gives_nan_with_one_warning_that_names_it(settings: dict[str, Any], bias: float) -> None:
    model = Net(0)
    with torch.no_grad():
        model.second.weight.zero_()
        model.second.bias.fill_(bias)
    with pytest.warns(DegenerateInputWarning, match=r"'second'") as caught:
        result = compare(model, data=inputs(60), layers=["first", "second", "head"], batch_size=20, **settings)
    # The head is constant as well.
    assert [str(w.message).count("'second', 'head'") for w in caught] == [1]
    assert caught[0].filename == __file__
    assert result.warnings == (str(caught[0].message),)
    assert np.isnan(result.values).tolist() == [[False, True, True], [True] * 3, [True] * 3]


def test_rank_warnings_are_summed_up_once_and_kept() -> None:
    model = Net(0, 40)
    with pytest.warns(repscope.RankWarning, match=r"The same holds for \d+ more pairs") as caught:
        result = compare(model, data=inputs(30), measure="cca")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert result.warnings == (str(caught[0].message),)


def test_warnings_of_the_users_model_keep_their_place() -> None:
    class Talking(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            warnings.warn("old layer", FutureWarning, stacklevel=1)
            return super().forward(x)

    with pytest.warns(FutureWarning, match="old layer") as caught:
        result = compare(Talking(0), data=inputs())
    assert {w.filename for w in caught} == {__file__}
    assert result.warnings == ()


# -- state of the models ---------------------------------------------------------------------------------------------


def state(model: nn.Module) -> Any:
    return (
        [m.training for m in model.modules()],
        [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        torch.is_grad_enabled(),
    )


def test_models_are_left_as_they_were() -> None:
    a, b = Net(0).train(), Net(1).eval()
    a.drop.eval()
    before = [state(a), state(b)]
    weights = [p.clone() for p in a.parameters()]
    compare(a, b, data=inputs())
    assert [state(a), state(b)] == before
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), weights, strict=True))

    class Failing(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.passes == 3:
                raise RuntimeError("out of luck")
            return super().forward(x)

    a = Failing(0).train()
    before = [state(a), state(b)]
    with pytest.raises(RuntimeError, match="out of luck"):
        compare(a, b, data=inputs(), batch_size=16, pairs="batch")
    assert [state(a), state(b)] == before


def test_the_result_is_the_same_every_time() -> None:
    def run(**settings: Any) -> Comparison:
        return compare(Net(0), Net(1), data=inputs(), seed=3, **settings)

    for settings in ({"pairs": "batch"}, {"pairs": "all"}, {"kernel": "rbf"}, {"reduce": {"first": lambda x, mask: x}}):
        one, other = run(**settings), run(**settings)
        np.testing.assert_array_equal(one.values, other.values)
        assert one.conventions["reduce"] == other.conventions["reduce"]


def test_nothing_is_printed_where_stderr_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    compare(Net(0), data=inputs(), measure=["cka", "cca"])
    assert capfd.readouterr() == ("", "")


def test_a_bar_is_shown_where_it_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    compare(Net(0), data=inputs(), progress=True)
    assert "Forward passes" in capfd.readouterr().err


def test_a_display_of_the_callers_own_is_no_obstacle() -> None:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)):
        compare(Net(0), data=inputs(), measure=["cka", "cca"], progress=True)


# -- what is recorded ------------------------------------------------------------------------------------------------


def test_the_result_says_how_it_came_about(tmp_path: Any) -> None:
    result = compare(Net(0), data=DataLoader(inputs(64), batch_size=16), kernel=RBF(0.3), pairs="all", seed=5)
    wanted = {
        "estimator": "unbiased",
        "kernel": "RBF(0.3)",
        "pairs": "all",
        "route": "memory",
        "passes": 1,
        "dtype": "float32",
        "batch_size": 16,
        "reduce": "auto",
    }
    assert {k: result.conventions.get(k) for k in wanted} == wanted
    assert result.versions["repscope"] == repscope.__version__
    assert {"python", "numpy", "torch", "array-api-compat"} <= set(result.versions)
    assert result.seeds == {}  # all examples set the bandwidth
    assert result.details["features"] == {"act#0": 24, "act#1": 12, "head": 3}
    assert compare(Net(0), data=inputs(), kernel="rbf").conventions["kernel"] == "RBF(0.4)"
    loaded = repscope.load(result.save(tmp_path / "result.npz"))
    assert loaded.equals(result)


@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.float64, "float64"), (torch.bfloat16, "bfloat16"), (torch.float16, "float16")]
)
def test_the_dtype_of_the_activations_is_recorded_and_half_precision_is_promoted(dtype: torch.dtype, name: str) -> None:
    model, x = Net(0).to(dtype), inputs(64)
    for settings in (
        {"pairs": "batch", "batch_size": 64},
        {"pairs": "all"},
        {"kernel": "rbf"},
        {"measure": "procrustes"},
    ):
        result = compare(model, data=x, **settings)
        assert result.conventions["dtype"] == name
        options = {k: v for k, v in settings.items() if k == "kernel"}
        expected = reference(model, x, settings.get("measure", "cka"), **options)
        np.testing.assert_allclose(result.values, expected, atol=1e-3 if settings.get("measure") else 1e-5)


# -- other models ----------------------------------------------------------------------------------------------------


def token_data(items: int = 24, tokens: int = 7) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 20, (items, tokens), generator=generator)
    lengths = torch.randint(2, tokens + 1, (items,), generator=generator)
    mask = (torch.arange(tokens) < lengths[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def padded(batch: dict[str, torch.Tensor], more: int) -> dict[str, torch.Tensor]:
    return {k: torch.nn.functional.pad(v, (0, more)) for k, v in batch.items()}


@pytest.mark.parametrize("reduce", ["auto", "first", "last", "tokens"])
@pytest.mark.parametrize("pairs", ["all", "batch"])
def test_padding_does_not_matter(reduce: str, pairs: str) -> None:
    torch.manual_seed(0)
    model, batch = Encoder(), token_data()
    settings = {"pairs": pairs, "reduce": reduce, "batch_size": 24}
    result = compare(model, data=batch, **settings)
    wider = compare(model, data=padded(batch, 5), **settings)
    np.testing.assert_allclose(wider.values, result.values, atol=1e-4)
    assert result.n == (int(batch["attention_mask"].sum()) if reduce == "tokens" else 24)


def test_tokens_as_examples_over_several_passes() -> None:
    torch.manual_seed(0)
    model, batch = Encoder(32), token_data(80)
    exact = compare(model, data=batch, reduce="tokens", batch_size=10, pairs="all")
    passes = compare(model, data=batch, reduce="tokens", batch_size=10, pairs="all", kernel="cosine", memory="600KB")
    assert passes.conventions["route"] == "passes"
    assert passes.n == exact.n == int(batch["attention_mask"].sum())
    memory = compare(model, data=batch, reduce="tokens", batch_size=10, pairs="all", kernel="cosine")
    np.testing.assert_allclose(passes.values, memory.values, atol=1e-5)


def test_layers_with_different_numbers_of_examples_are_refused() -> None:
    torch.manual_seed(0)
    images = torch.randn(8, 3, 8, 8)
    with pytest.raises(CaptureError, match=r"compare: all layers must give the same number of examples, got \d+ from"):
        compare(ResNet(), data=images, reduce={"layer1*": "positions", "*": "flatten"}, layers=["layer1", "layer2"])


def test_models_with_outputs_of_their_own_kind() -> None:
    from dataclasses import dataclass

    @dataclass
    class Output:
        extra: Any
        hidden: torch.Tensor

    class Inner(Net):
        def forward(self, x: torch.Tensor) -> Any:
            return Output(None, super().forward(x))

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.last = Inner(0), nn.Linear(3, 4)

        def forward(self, x: torch.Tensor) -> Any:
            return {"logits": self.last(self.inner(x).hidden)}

    result = compare(Outer(), data=inputs(), layers=["inner", "last"])
    assert result.row_layers == ("inner", "last")
    assert np.isfinite(result.values).all()


def test_an_overwritten_activation_is_not_compared_with_itself() -> None:
    """The in-place ReLU after ``first`` must not be seen in its place."""
    result = compare(Net(0), data=inputs(), pairs="all", layers=["first", "act"])
    assert result.values[0, 1] < 0.99


# -- memory ----------------------------------------------------------------------------------------------------------


def test_a_budget_too_small_for_one_tile_says_how_much_is_needed() -> None:
    with pytest.raises(
        InputError, match=r"compare: memory must hold at least .*, [\d.]+ (MiB|KiB), got .*Raise memory="
    ):
        compare(Net(0), data=inputs(), memory=1000, pairs="all")
    with pytest.raises(
        InputError, match=r"compare: memory must hold at least .*, [\d.]+ (MiB|KiB), got .*Raise memory="
    ):
        compare(Net(0), data=inputs(), memory=1000, pairs="batch")


def test_a_measure_that_needs_all_examples_says_so_before_the_pass_is_over() -> None:
    model = Net(0, 300)
    with pytest.raises(InputError, match=r"compare: cca needs the representations of all examples in memory"):
        compare(model, data=inputs(6400), batch_size=16, measure=["cka", "cca"], memory="1MB")
    assert model.passes < 100


def test_measures_of_one_list_share_the_decomposition_of_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    from repscope import prepared
    from repscope.measures import _decomposition, cca, regression

    rng = np.random.default_rng(0)
    arrays = {"one": rng.normal(size=(40, 3)), "two": rng.normal(size=(40, 4))}
    measures = ["cca", "svcca", "pwcca", "linear_regression"]
    expected = {name: float(repscope.score(name, arrays["one"], arrays["two"])) for name in measures}
    layers = []

    def counted(x: Any) -> Any:
        layers.append(x.shape)
        return _decomposition.decompose(x)

    monkeypatch.setattr(prepared, "decompose", counted)
    for module in (cca, regression):
        monkeypatch.setattr(module, "decompose", None)
    results = compare(arrays, measure=measures)
    assert layers == [(40, 3), (40, 4)]
    for name in measures:
        np.testing.assert_allclose(results[name].values[0, 1], expected[name], rtol=1e-12)
