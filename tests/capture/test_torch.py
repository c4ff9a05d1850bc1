from __future__ import annotations

import copy
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from repscope.capture import Capture, LayerInfo, batches, representations
from repscope.capture.activations import activation_of
from repscope.errors import CaptureError, CaptureWarning, InputError
from tests.capture.models import Encoder, ResNet, paper_net, token_batch, units

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def hook_counts(model: nn.Module) -> list[tuple[int, int]]:
    return [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]


def linear_cka(x: Tensor, y: Tensor) -> float:
    x, y = x.double() - x.double().mean(0), y.double() - y.double().mean(0)
    return float((y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm()))


def trained_statistics(model: nn.Module) -> nn.Module:
    """A model whose batch norms have seen data, so that they do something in eval mode."""
    model.train()
    with torch.no_grad():
        model(IMAGES * 2 + 1)
    return model


class TestOverwrittenActivations:
    """pytorch-cka keeps references: CKA(bn1, relu) comes out as 1.000 where the truth is below."""

    def test_in_place_relu_does_not_reach_the_batch_norm(self) -> None:
        model = trained_statistics(nn.Sequential(*units(3, 4))).eval()
        got = Capture(model, ["1", "2"], reduce="positions").collect(IMAGES)
        with torch.no_grad():
            bn = model[1](model[0](IMAGES)).movedim(1, -1).reshape(-1, 4)
        torch.testing.assert_close(got, {"1": bn, "2": bn.clamp(min=0)})
        assert linear_cka(got["1"], got["2"]) == pytest.approx(linear_cka(bn, bn.clamp(min=0)))
        assert linear_cka(got["1"], got["2"]) < 0.95

    def test_in_place_sum_does_not_reach_the_block_before(self) -> None:
        class Sum(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

            def forward(self, x: Tensor) -> Tensor:
                y = self.first(x)
                z = self.second(y)
                y += z
                z *= 0
                return y

        model, x = Sum(), torch.randn(5, 4)
        got = Capture(model, nn.Linear).collect(x)
        with torch.no_grad():
            first = model.first(x)
            torch.testing.assert_close(got, {"first": first, "second": model.second(first)})

    def test_residual_block(self) -> None:
        model = trained_statistics(ResNet()).eval()
        got = Capture(model, ["layer1.0.bn2", "layer1.0"]).collect(IMAGES)
        block = model.layer1[0]
        with torch.no_grad():
            x = model.stem(IMAGES)
            bn2 = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
        torch.testing.assert_close(got, {"layer1.0.bn2": bn2.flatten(1), "layer1.0": F.relu(bn2 + x).flatten(1)})

    def test_model_that_writes_to_its_input_leaves_the_batch_alone(self) -> None:
        model, x = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2)), torch.randn(5, 4)
        kept = x.clone()
        got = Capture(model, "0").collect(x)
        assert torch.equal(x, kept)
        assert torch.equal(got["0"], kept.clamp(min=0))


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor, fail: Tensor) -> Tensor:
        y = self.linear(x)
        if fail.any():
            raise RuntimeError("forward broke")
        return y


class TestNothingIsLeftBehind:
    def test_hooks_vanish(self) -> None:
        model = ResNet()
        model.fc.register_forward_hook(lambda *_: None)
        before = hook_counts(model)
        capture = Capture(model)
        capture.discover(IMAGES)
        assert hook_counts(model) == before
        capture.collect(IMAGES)
        assert hook_counts(model) == before

    @pytest.mark.parametrize("discovered", [True, False])
    def test_hooks_vanish_when_forward_raises(self, discovered: bool) -> None:
        model, x = Broken(), torch.randn(3, 4)
        capture = Capture(model, "linear")
        if discovered:
            capture.discover({"x": x, "fail": torch.zeros(3)})
        with pytest.raises(RuntimeError, match="forward broke"):
            capture.collect({"x": x, "fail": torch.ones(3)})
        assert hook_counts(model) == [(0, 0), (0, 0)]
        assert model.training
        assert torch.is_grad_enabled()

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_hooks_vanish_when_the_consumer_raises(self, error: type[BaseException]) -> None:
        model = paper_net()
        seen = []

        def consume(name: str, x: Tensor) -> None:
            seen.append(name)
            raise error("enough")

        with pytest.raises(error, match="enough"):
            Capture(model).run(IMAGES, consume)
        assert seen == ["2"]
        assert set(hook_counts(model)) == {(0, 0)}
        assert model.training
        assert torch.is_grad_enabled()

    def test_hooks_vanish_when_a_reduction_raises(self) -> None:
        def wrong(x: Tensor, mask: Tensor | None) -> Tensor:
            raise ZeroDivisionError("in the reduction")

        model = paper_net()
        with pytest.raises(ZeroDivisionError, match="in the reduction"):
            Capture(model, reduce=wrong).discover(IMAGES)
        assert set(hook_counts(model)) == {(0, 0)}

    def test_a_reduction_that_fails_on_other_layers_only_is_fine(self) -> None:
        def maps_only(x: Tensor, mask: Tensor | None) -> Tensor:
            return x.mean((2, 3))

        assert [layer.features for layer in Capture(paper_net(), ["2", "5"], reduce=maps_only).discover(IMAGES)] == [
            4,
            6,
        ]

    def test_mixed_train_flags_come_back(self) -> None:
        model = ResNet()
        model.layer1.eval()
        model.layer1[0].bn1.train()
        flags = [module.training for module in model.modules()]
        assert len(set(flags)) == 2
        Capture(model).collect(IMAGES)
        assert [module.training for module in model.modules()] == flags

    def test_context_manager_spans_several_batches(self) -> None:
        model = paper_net()
        model[4].eval()
        flags = [module.training for module in model.modules()]
        capture = Capture(model)
        fast_path = torch.backends.mha.get_fastpath_enabled()

        def interrupted() -> None:
            with capture as entered:
                assert entered is capture
                capture.run(IMAGES, lambda name, x: None)
                assert not any(module.training for module in model.modules())
                with capture:  # again inside
                    capture.run(IMAGES, lambda name, x: None)
                assert not torch.is_grad_enabled()
                assert not torch.backends.mha.get_fastpath_enabled()
                raise KeyError

        with pytest.raises(KeyError):
            interrupted()
        assert [module.training for module in model.modules()] == flags
        assert torch.is_grad_enabled()
        assert torch.backends.mha.get_fastpath_enabled() == fast_path

    def test_gradients_off_stay_off(self) -> None:
        with torch.no_grad():
            Capture(paper_net()).collect(IMAGES)
            assert not torch.is_grad_enabled()

    def test_a_models_own_train_method_is_not_called(self) -> None:
        class Merging(nn.Linear):
            def train(self, mode: bool = True) -> Merging:
                raise AssertionError("weights would be merged")

        Capture(Merging(4, 2)).collect(torch.randn(3, 4))

    def test_batch_norm_statistics_stay(self) -> None:
        model = paper_net().train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        Capture(model).collect(IMAGES)
        torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)

    def test_no_graph_and_no_change_to_requires_grad(self) -> None:
        class Graphs(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.same, self.linear = nn.Identity(), nn.Linear(4, 4)

            def forward(self, x: Tensor) -> Tensor:
                with torch.enable_grad():
                    return self.linear(self.same(x))

        model, x = Graphs(), torch.randn(5, 4, requires_grad=True)
        model.linear.bias.requires_grad_(False)
        for value in Capture(model, ["same", "linear"]).collect(x).values():
            assert value.grad_fn is None
            assert not value.requires_grad
        assert [parameter.requires_grad for parameter in model.parameters()] == [True, False]
        assert all(parameter.grad is None for parameter in model.parameters())


class TestRun:
    def test_layer_facts(self) -> None:
        capture = Capture(paper_net())
        assert capture.discover(IMAGES) == capture.layers
        assert capture.layers[0] == LayerInfo("2", "ReLU", (6, 4, 8, 8), 256, 1.0)
        assert capture.layers[-1] == LayerInfo("11", "Linear", (6, 5), 5, 1.0)
        assert capture.names == ("2", "5", "8", "9", "11")

    def test_positions_are_more_examples(self) -> None:
        capture = Capture(paper_net(), "2", reduce="positions")
        assert capture.discover(IMAGES) == (LayerInfo("2", "ReLU", (6, 4, 8, 8), 4, 64.0),)

    def test_names_are_not_known_before_the_first_batch(self) -> None:
        capture = Capture(paper_net())
        assert capture.layers == ()
        with pytest.raises(CaptureError, match=r"names must be asked for after discover\(batch\)"):
            _ = capture.names

    def test_consumer_is_called_during_the_forward_pass(self) -> None:
        events: list[str] = []
        model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
        capture = Capture(model, ["0", "2"])
        capture.discover(torch.randn(4, 3))
        model[1].register_forward_hook(lambda *_: events.append("tanh"))
        capture.run(torch.randn(4, 3), lambda name, x: events.append(name))
        assert events == ["0", "tanh", "2"]

    def test_one_pass_per_run_after_discovery(self) -> None:
        passes = []

        def forward(model: nn.Module, batch: Tensor) -> None:
            passes.append(len(batch))
            model(batch)

        capture = Capture(paper_net(), forward=forward)
        capture.run(IMAGES, lambda name, x: None)
        assert passes == [6, 6]
        capture.run(IMAGES[:4], lambda name, x: None)
        assert passes == [6, 6, 4]

    @pytest.mark.parametrize(
        ("batch", "seen"),
        [
            (torch.randn(40, 3, 8, 8), [13, 40]),
            ((torch.randn(40, 3, 8, 8), torch.arange(40)), [13, 40]),
            ([torch.randn(40, 3, 8, 8), {"labels": torch.arange(40)}], [40, 40]),
            ({"images": torch.randn(40, 3, 8, 8)}, [40, 40]),
        ],
        ids=["tensor", "tuple", "mixed list", "dict"],
    )
    def test_a_dozen_items_of_a_batch_of_tensors_tell_the_layers(self, batch: Any, seen: list[int]) -> None:
        passes = []

        def forward(model: nn.Module, batch: Any) -> None:
            images = batch if isinstance(batch, Tensor) else batch["images" if isinstance(batch, dict) else 0]
            passes.append(len(images))
            model(images)

        capture = Capture(paper_net(), forward=forward)
        shapes = {}
        capture.run(batch, lambda name, x: shapes.update({name: tuple(x.shape)}))
        assert passes == seen
        assert shapes == {info.name: (40, info.features) for info in capture.layers}

    def test_a_model_that_takes_no_few_items_is_shown_all(self) -> None:
        def forward(model: nn.Module, batch: Tensor) -> None:
            model(batch.reshape(20, 3))

        capture = Capture(nn.Sequential(nn.Linear(3, 2)), forward=forward)
        assert [info.name for info in capture.discover(torch.randn(20, 3))] == ["0"]
        with pytest.raises(RuntimeError, match="invalid for input of size 63"):
            capture.discover(torch.randn(21, 3))

    def test_the_trial_run_leaves_no_state(self) -> None:
        class Stateful(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.linear = nn.Linear(7, 4)
                self.hidden: Tensor | None = None
                self.calls, self.memory = 0, torch.zeros(4)
                self.register_buffer("total", torch.zeros(4))

            def forward(self, x: Tensor) -> Tensor:
                if self.hidden is None:
                    self.hidden = torch.zeros(len(x), 4)
                self.hidden = self.linear(torch.cat([x, self.hidden], 1))
                self.calls, self.latest = self.calls + 1, x
                self.memory += 1
                self.total += 1
                return self.hidden

        model, x = Stateful(), torch.randn(40, 3)
        memory, weight = model.memory, model.linear.weight
        Capture(model).discover(x)
        assert (model.hidden, model.calls, hasattr(model, "latest")) == (None, 0, False)
        assert model.memory is memory
        assert model.linear.weight is weight
        assert not memory.any()
        assert not model.total.any()
        got = Capture(model).collect(x)["linear"]
        with torch.no_grad():
            torch.testing.assert_close(got, model.linear(torch.cat([x, torch.zeros(40, 4)], 1)))
        assert (model.calls, float(model.total[0])) == (1, 1.0)

    def test_the_trial_run_leaves_no_state_where_it_fails(self) -> None:
        class Fickle(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.linear = nn.Linear(3, 4)
                self.seen: int | None = None

            def forward(self, x: Tensor) -> Tensor:
                assert self.seen in (None, len(x))
                self.seen = len(x)
                assert len(x) == 40
                return self.linear(x)

        assert Capture(Fickle()).collect(torch.randn(40, 3))["linear"].shape == (40, 4)

    def test_lazy_modules_stay_as_their_first_call_made_them(self) -> None:
        model = nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d())
        assert Capture(model).collect(torch.randn(40, 3))["1"].shape == (40, 5)
        assert (model[0].in_features, model[1].num_features) == (3, 5)

    def test_collected_tensors_own_their_memory(self) -> None:
        got = Capture(nn.Sequential(nn.Linear(3, 3), nn.Identity(), nn.ReLU(inplace=True)), "*").collect(
            torch.randn(4, 3)
        )
        assert list(got) == ["0", "1", "2"]
        assert len({value.data_ptr() for value in got.values()}) == 3
        assert all(value.is_contiguous() and value._base is None for value in got.values())

    def test_other_features_on_a_later_batch(self) -> None:
        capture = Capture(nn.Sequential(*units(3, 4)))
        capture.discover(IMAGES)
        message = (
            r"layer '2' must have the same features in every batch, got 144 from shape \(6, 4, 6, 6\) after 256 from "
            r"shape \(6, 4, 8, 8\) in the first batch\. .*reduce='mean'"
        )
        with pytest.raises(CaptureError, match=message):
            capture.collect(IMAGES[..., :6, :6])
        assert set(hook_counts(capture.model)) == {(0, 0)}

    def test_mean_takes_images_of_any_size(self) -> None:
        capture = Capture(nn.Sequential(*units(3, 4)), reduce="mean")
        assert capture.collect(IMAGES)["2"].shape == capture.collect(IMAGES[..., :6, :6])["2"].shape == (6, 4)

    def test_other_number_of_calls_on_a_later_batch(self) -> None:
        class Steps(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.cell = nn.GRUCell(2, 3)

            def forward(self, x: Tensor) -> Tensor:
                state = x.new_zeros(len(x), 3)
                for step in range(x.shape[1]):
                    state = self.cell(x[:, step], state)
                return state

        capture = Capture(Steps(), name="the GRU")
        capture.discover(torch.randn(4, 3, 2))
        assert capture.names == ("cell#0", "cell#1", "cell#2")
        for steps in (2, 4):
            message = (
                rf"layer 'cell' of the GRU must be called as often as on the first batch, 3 time\(s\), got {steps}"
            )
            with pytest.raises(CaptureError, match=message):
                capture.collect(torch.randn(4, steps, 2))

    def test_each_call_of_a_module_is_a_layer(self) -> None:
        linear = nn.Linear(3, 3)
        x = torch.randn(4, 3)
        got = Capture(nn.Sequential(linear, linear)).collect(x)
        with torch.no_grad():
            torch.testing.assert_close(got, {"0#0": linear(x), "0#1": linear(linear(x))})

    def test_activation_that_later_has_no_numbers(self) -> None:
        class Fickle(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return x if len(x) > 3 else x.argmax(1)

        capture = Capture(nn.Sequential(nn.Linear(3, 3), Fickle()), "1")
        capture.discover(torch.randn(4, 3))
        with pytest.raises(
            CaptureError, match=r"layer '1' must return a floating-point tensor in every batch, got Tensor"
        ):
            capture.collect(torch.randn(2, 3))

    def test_rows_must_belong_to_items(self) -> None:
        with pytest.raises(CaptureError, match=r"layer 'position' must return .* with a row for each item"):
            Capture(Encoder(), "position").discover(token_batch())
        capture = Capture(nn.Sequential(nn.Linear(3, 3), Sample()), "1")
        capture.discover(torch.randn(4, 3))
        with pytest.raises(
            CaptureError, match=r"layer '1' must have one or more rows for each of the 6 items.*\(4, 3\)"
        ):
            capture.collect(torch.randn(6, 3))

    def test_several_rows_per_item_can_be_asked_for(self) -> None:
        model = nn.Sequential(nn.Linear(3, 3), nn.Unflatten(0, (-1,)), Windows(), nn.Linear(1, 2))
        (info,) = Capture(model, "3").discover(torch.randn(4, 3))
        assert info == LayerInfo("3", "Linear", (12, 2), 2, 3.0)
        assert Capture(model).discover(torch.randn(4, 3))[0].name == "0"  # but it isn't in the default set

    def test_bad_model_and_empty_batch(self) -> None:
        with pytest.raises(InputError, match=r"Capture: model_a must be a torch.nn.Module, got str"):
            Capture("resnet", name="model_a")  # type: ignore[arg-type]
        with pytest.raises(InputError, match="batch must hold at least one item"):
            Capture(paper_net()).discover(IMAGES[:0])


class Sample(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:4]


class Windows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, 1)


class TestBatches:
    @pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")  # the reference takes the fused path
    def test_mask_and_ids_arrive_by_keyword_and_extra_keys_do_not(self) -> None:
        model, batch = Encoder().eval(), token_batch()
        got = Capture(model, "encoder", reduce="flatten").collect({**batch, "labels": torch.zeros(4)})
        with torch.no_grad():
            expected = model(**batch)["last_hidden_state"]
            unmasked = model(batch["input_ids"])["last_hidden_state"]
        real = batch["attention_mask"].bool()
        hidden = got["encoder"].reshape(4, 6, 8)
        torch.testing.assert_close(hidden[real], expected[real], rtol=1e-4, atol=1e-5)
        assert (hidden[real] - unmasked[real]).abs().max() > 1e-2

    @pytest.mark.parametrize("left", [False, True])
    @pytest.mark.parametrize("reduce", ["auto", "mean", "tokens", "first", "last"])
    def test_padding_never_counts(self, reduce: str, left: bool) -> None:
        model, batch = Encoder(), token_batch(left=left)
        real = batch["attention_mask"].bool()
        hidden = (
            Capture(model, "encoder.layers.1", reduce="flatten").collect(batch)["encoder.layers.1"].reshape(4, 6, 8)
        )
        by_hand = {
            "tokens": hidden[real],
            "first": torch.stack([h[r][0] for h, r in zip(hidden, real, strict=True)]),
            "last": torch.stack([h[r][-1] for h, r in zip(hidden, real, strict=True)]),
        }
        mean = torch.stack([h[r].mean(0) for h, r in zip(hidden, real, strict=True)])
        got = Capture(model, "encoder.layers.1", reduce=reduce).collect(batch)["encoder.layers.1"]
        torch.testing.assert_close(got, by_hand.get(reduce, mean))

    def test_none_of_the_keys_accepted(self) -> None:
        with pytest.raises(
            CaptureError, match=r"the keyword arguments of the model's forward\(input: .*got the keys \['x'"
        ):
            Capture(nn.Linear(3, 2)).discover({"x": torch.randn(4, 3)})

    def test_custom_forward(self) -> None:
        def encode(model: Encoder, batch: tuple[list[str], Tensor]) -> None:
            model.encoder(batch[1])

        capture = Capture(nn.DataParallel(Encoder()), "encoder.layers.*.linear1", forward=encode)
        assert capture.collect((["a", "b"], torch.randn(2, 5, 8)))["encoder.layers.0.linear1"].shape == (2, 60)

    def test_custom_batch_object(self) -> None:
        class Graph:
            def __init__(self, x: Tensor) -> None:
                self.x = x

        (info,) = Capture(nn.Linear(3, 2), forward=lambda model, graph: model(graph.x)).discover(
            Graph(torch.randn(5, 3))
        )
        assert np.isnan(info.examples_per_item)
        assert info.shape == (5, 2)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_precision_of_the_model_is_kept(self, dtype: torch.dtype) -> None:
        model = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).to(dtype)
        for x in (torch.randn(5, 4), np.random.default_rng(0).normal(size=(5, 4))):
            assert Capture(model).collect(x)["1"].dtype == dtype
        assert next(model.parameters()).dtype == dtype

    def test_integer_inputs_are_not_cast(self) -> None:
        got = Capture(nn.Sequential(nn.Embedding(5, 3).half())).collect((torch.tensor([[1, 2]]), torch.ones(1)))
        assert got["0"].dtype == torch.float16


class TestModels:
    def test_data_parallel(self) -> None:
        model = trained_statistics(paper_net())
        wrapped = nn.DataParallel(model)
        torch.testing.assert_close(Capture(wrapped).collect(IMAGES), Capture(model).collect(IMAGES), rtol=0, atol=0)
        assert all(module.training for module in wrapped.modules())

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore")  # torch's own, while it loads the compiler
    def test_compiled(self) -> None:
        model = trained_statistics(paper_net())
        expected = Capture(model).collect(IMAGES)
        graphs = []

        def backend(graph: Any, inputs: Any) -> Any:
            graphs.append(graph)
            return graph.forward

        compiled = torch.compile(model, backend=backend)
        in_place = copy.deepcopy(model)
        in_place.compile(backend=backend)
        nested = nn.Sequential(OrderedDict(body=torch.compile(copy.deepcopy(model), backend=backend), act=nn.Tanh()))
        for variant in (compiled, in_place, nested):
            variant.eval()(IMAGES)  # now there is compiled code that knows of no hooks
        assert graphs
        graphs.clear()
        for variant in (compiled, in_place):
            torch.testing.assert_close(Capture(variant).collect(IMAGES), expected)
        got = Capture(nested, "body.*").collect(IMAGES)
        assert list(got) == [f"body.{name}" for name in range(12)]
        torch.testing.assert_close({name: got[f"body.{name}"] for name in expected}, expected)
        assert not graphs  # nothing was compiled again for the hooks
        assert set(hook_counts(nested)) == {(0, 0)}

    def test_fused_transformer_path_is_avoided(self) -> None:
        model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2).eval()
        x = torch.randn(5, 4, 8)
        assert torch.backends.mha.get_fastpath_enabled()
        got = Capture(model, "layers.*.linear1").collect(x)
        assert list(got) == ["layers.0.linear1", "layers.1.linear1"]
        assert torch.backends.mha.get_fastpath_enabled()

    def test_fused_transformer_path_stays_off_if_it_was(self) -> None:
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            Capture(paper_net()).collect(IMAGES)
            assert not torch.backends.mha.get_fastpath_enabled()
        finally:
            torch.backends.mha.set_fastpath_enabled(True)

    def test_tokens_first_models_give_the_same_as_items_first_ones(self) -> None:
        torch.manual_seed(0)
        model, other = Encoder(), Encoder(batch_first=False)
        other.load_state_dict(model.state_dict())
        batch = token_batch()
        torch.testing.assert_close(Capture(other).collect(batch), Capture(model).collect(batch))

    def test_tokens_first_recurrent(self) -> None:
        model, x = nn.LSTM(3, 2), torch.randn(5, 4, 3)  # (tokens, items, features)
        forward = Capture(model, forward=lambda model, x: model(x.transpose(0, 1)))
        with torch.no_grad():
            expected = model(x)[0].transpose(0, 1).flatten(1)
        torch.testing.assert_close(forward.collect(x.transpose(0, 1))["LSTM"], expected)

    def test_items_and_tokens_that_cannot_be_told_apart(self) -> None:
        batch = {**token_batch(4, 4), "of the whole batch": torch.zeros(7)}  # so that fewer items cannot be tried
        with pytest.raises(CaptureError, match=r"tell items from tokens at layer .*got 4 of both.*another batch size"):
            Capture(Encoder(batch_first=False), "*linear1").discover(batch)
        assert Capture(Encoder(), "*linear1").discover(token_batch(4, 4))
        assert Capture(nn.LSTM(3, 2)).discover(torch.randn(4, 4, 3))  # it says itself which is which

    def test_more_tokens_than_items_by_a_whole_factor(self) -> None:
        batch = token_batch(3, 6)
        other = Capture(Encoder(batch_first=False), "*linear1", reduce="mean").discover(batch)
        assert [layer.examples_per_item for layer in other] == [1.0, 1.0]

    @pytest.mark.parametrize("items", [2, 3, 4, 5, 6, 9, 26])
    @pytest.mark.parametrize("labels", [False, True])
    @pytest.mark.parametrize("named", [False, True])
    def test_items_are_on_the_axis_that_shrinks(self, items: int, labels: bool, named: bool) -> None:
        class TokensFirst(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embed, self.place, self.linear = nn.Embedding(9, 5), nn.Embedding(26, 5), nn.Linear(5, 5)
                self.out = nn.Linear(5, 3)

            def forward(self, ids: Tensor) -> Tensor:
                x = self.embed(ids) + self.place(torch.arange(ids.shape[1]))
                return self.out(self.linear(x.transpose(0, 1)).cumsum(0)[-1])

        model = TokensFirst()
        for tokens in (4, 6, 13, 26):
            ids = torch.randint(9, (items, tokens), generator=torch.Generator().manual_seed(0))
            batch: Any = {"ids": ids} if named else ids
            batch = (batch, torch.zeros(items)) if labels else batch
            with pytest.warns(CaptureWarning, match=r"left out: place\."):  # a table of positions has no items
                got = Capture(model, "*").collect(batch)
            assert list(got) == ["embed", "linear", "out"]
            with torch.no_grad():
                hidden = model.linear(model.embed(ids) + model.place(torch.arange(tokens)))
            torch.testing.assert_close(got["linear"], hidden.flatten(1))

    def test_windows_as_long_as_the_batch(self) -> None:
        class Windowed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.linear = nn.Linear(2, 3)

            def forward(self, x: Tensor) -> Tensor:
                return self.linear(x.reshape(-1, 4, 2))

        (info,) = Capture(Windowed(), "linear").discover(torch.randn(4, 12, 2))
        assert (info.shape, info.examples_per_item) == ((12, 4, 3), 3.0)

    def test_frozen_model_and_buffers_only(self) -> None:
        model = paper_net().requires_grad_(False)
        assert Capture(model).collect(IMAGES)["11"].shape == (6, 5)
        assert not any(parameter.requires_grad for parameter in model.parameters())
        norm = nn.BatchNorm2d(3, affine=False).half()
        assert Capture(norm).collect(IMAGES)["BatchNorm2d"].dtype == torch.float16

    def test_inference_mode(self) -> None:
        expected_model = paper_net()
        expected = Capture(expected_model).collect(IMAGES)
        with torch.inference_mode():
            inner = paper_net()
            inner.load_state_dict(expected_model.state_dict())
            total = torch.zeros(5)  # made in inference mode, so it can be written to only there
            got = Capture(inner).collect(IMAGES.clone())
            Capture(inner, "11").run(IMAGES, lambda name, x: total.add_(x.sum(0)))
            assert torch.is_inference_mode_enabled()
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(total.clone(), expected["11"].sum(0))
        torch.testing.assert_close(Capture(inner).collect(IMAGES), expected)

    def test_features_last_maps(self) -> None:
        class Permuted(nn.Module):
            """A ConvNeXt block: a convolution, then Linear layers on (items, height, width, channels)."""

            def __init__(self) -> None:
                super().__init__()
                self.conv, self.norm, self.linear, self.act = (
                    nn.Conv2d(3, 3, 1),
                    nn.LayerNorm(3),
                    nn.Linear(3, 6),
                    nn.GELU(),
                )
                self.back = nn.Linear(6, 3)

            def forward(self, x: Tensor) -> Tensor:
                y = self.norm(self.conv(x).permute(0, 2, 3, 1))
                return x + self.back(self.act(self.linear(y))).permute(0, 3, 1, 2)

        model = nn.Sequential(Permuted())
        capture = Capture(model, "*", reduce="mean")
        facts = {layer.name: (layer.shape[1:], layer.features) for layer in capture.discover(IMAGES)}
        assert facts == {
            "0.conv": ((3, 8, 8), 3),
            "0.norm": ((8, 8, 3), 3),
            "0.linear": ((8, 8, 6), 6),
            "0.act": ((8, 8, 6), 6),
            "0.back": ((8, 8, 3), 3),
            "0": ((3, 8, 8), 3),
        }
        with torch.no_grad():
            block = model(IMAGES).mean((2, 3))
        torch.testing.assert_close(capture.collect(IMAGES)["0"], block)

    def test_sequences_with_channels_second(self) -> None:
        model = nn.Sequential(nn.Conv1d(3, 5, 3), nn.ReLU())
        x = torch.randn(4, 3, 9)
        with torch.no_grad():
            torch.testing.assert_close(Capture(model, reduce="mean").collect(x)["1"], model(x).mean(2))


Point = namedtuple("Point", ["index", "value"])


@dataclass
class ModelOutput:
    loss: Tensor
    attentions: tuple[Tensor, ...]
    last_hidden_state: Tensor


class TestActivationOf:
    x = torch.randn(4, 3)
    loss = torch.tensor(1.0)
    index = torch.arange(4)

    @pytest.mark.parametrize(
        "output",
        [
            x,
            (x, index),
            [index, (None, x)],
            Point(index, x),
            {"mask": index, "out": x, "aux": torch.zeros(4)},
            {"loss": loss, "hidden": torch.zeros(4, 2), "logits": x},
            OrderedDict(logits=torch.zeros(4, 2), last_hidden_state=x),
            ModelOutput(loss, (torch.zeros(4, 2),), x),
            {"last_hidden_state": None, "logits": x},
        ],
        ids=lambda output: type(output).__name__,
    )
    def test_found(self, output: Any) -> None:
        assert activation_of(output) is self.x

    @pytest.mark.parametrize(
        "output", [None, index, loss, (), "text", {"a": index}, torch.ones(2, 2).to_sparse()], ids=repr
    )
    def test_none(self, output: Any) -> None:
        assert activation_of(output) is None


class TestRepresentations:
    def test_whole_data_set_in_order(self) -> None:
        model = trained_statistics(paper_net())
        data = TensorDataset(IMAGES, torch.arange(6))
        at_once = Capture(model).collect(IMAGES)
        for source in (data, DataLoader(data, batch_size=4), IMAGES, IMAGES.numpy(), (IMAGES, torch.arange(6))):
            got = representations(model, source, batch_size=4)
            assert list(got) == list(at_once)
            torch.testing.assert_close(got, at_once)
        assert model.training

    def test_every_token(self) -> None:
        batch = token_batch()
        got = representations(Encoder(), batch, "encoder.layers.*.linear1", reduce="tokens", batch_size=2, device="cpu")
        assert got["encoder.layers.0.linear1"].shape == (int(batch["attention_mask"].sum()), 12)

    def test_generator_is_enough(self) -> None:
        assert representations(paper_net(), (IMAGES for _ in range(2)), "11")["11"].shape == (12, 5)

    def test_folded_batches_work_with_capture(self) -> None:
        capture, rows = Capture(paper_net(), "11"), []
        with capture:
            for batch in batches(IMAGES[:5], batch_size=4):
                capture.run(batch, lambda name, x: rows.append(len(x)))
        assert rows == [5]
