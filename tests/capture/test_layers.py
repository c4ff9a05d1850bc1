from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repscope.capture import Capture
from repscope.capture.layers import ModuleTable, declared_features_last
from repscope.errors import CaptureError, CaptureWarning, InputError
from tests.capture.models import Block, Encoder, ResNet, paper_net, token_batch, units

IMAGES = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def names(model: nn.Module, layers: Any = None, batch: Any = IMAGES, **options: Any) -> tuple[str, ...]:
    capture = Capture(model, layers, **options)
    capture.discover(batch)
    return capture.names


class TestNames:
    def test_labels_follow_execution_not_registration(self) -> None:
        """torch_cka labels rows in named_modules order: a mislabelled heat map."""
        model = ResNet()
        registered = [name for name, _ in model.named_modules() if name in ("fc", "avgpool", "layer2", "layer1")]
        assert registered == ["fc", "avgpool", "layer2", "layer1"]
        assert names(model, ["fc", "layer2", "avgpool", "layer1"]) == ("layer1", "layer2", "avgpool", "fc")

    def test_labels_carry_the_output_of_their_own_module(self) -> None:
        model = ResNet().eval()
        with torch.no_grad():
            x1 = model.layer1(model.stem(IMAGES))
            x2 = model.layer2(x1)
        got = Capture(model, ["layer2", "layer1"]).collect(IMAGES)
        torch.testing.assert_close(got, {"layer1": x1.flatten(1), "layer2": x2.flatten(1)})

    def test_wrappers_leave_no_trace(self) -> None:
        model = ResNet()
        plain = names(model)
        model.layer1 = nn.DataParallel(model.layer1)
        assert names(nn.DataParallel(model)) == plain
        assert names(model, "layer1") == ("layer1",)

    def test_shared_module_goes_by_its_first_name(self) -> None:
        act = nn.ReLU()
        model = nn.Sequential(nn.Conv2d(3, 4, 1), act, nn.Conv2d(4, 4, 1), act)
        assert names(model, nn.ReLU) == ("1#0", "1#1")
        assert names(model, "3") == ("1#0", "1#1")
        assert names(model, "3#1") == ("1#1",)
        assert names(model, lambda name, _: name == "3") == ("1#0", "1#1")

    def test_names_inside_a_shared_module(self) -> None:
        twice = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        model = nn.ModuleDict({"a": twice, "b": twice})
        table = ModuleTable.of(model)
        assert list(table.modules) == ["a", "a.0", "a.1"]
        assert table.aliases == {"b": "a", "b.0": "a.0", "b.1": "a.1"}

    def test_module_that_holds_itself(self) -> None:
        model = nn.Sequential(nn.Linear(8, 8))
        model[0].parent = model
        assert list(ModuleTable.of(model).modules) == ["0"]

    def test_single_module_goes_by_its_class(self) -> None:
        assert names(nn.Linear(8, 2)) == ("Linear",)

    def test_parametrised_weights_do_not_count_as_layers(self) -> None:
        model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 4)), nn.ReLU(), nn.Linear(4, 2))
        assert names(model) == ("1", "2")
        assert list(ModuleTable.of(model).modules) == ["0", "1", "2"]


class TestSelection:
    @pytest.mark.parametrize(
        ("layers", "expected"),
        [
            ("fc", ("fc",)),
            ("layer?", ("layer1", "layer2")),
            ("layer1.?.conv*", ("layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "layer1.1.conv2")),
            (nn.Linear, ("fc",)),
            (Block, ("layer1.0", "layer1.1", "layer2.0")),
            (lambda name, module: name.endswith("bn1"), ("layer1.0.bn1", "layer1.1.bn1", "layer2.0.bn1")),
            (["fc", "layer?", nn.AdaptiveAvgPool2d], ("layer1", "layer2", "avgpool", "fc")),
            (("fc", "fc"), ("fc",)),
            ("layer2.0.relu", ("layer2.0.relu#0", "layer2.0.relu#1")),
            ("layer2.0.relu#1", ("layer2.0.relu#1",)),
            (["layer2.0.relu#1", "layer2.0.relu"], ("layer2.0.relu#0", "layer2.0.relu#1")),
            ("fc#0", ("fc",)),
        ],
    )
    def test_selections(self, layers: Any, expected: tuple[str, ...]) -> None:
        assert names(ResNet(), layers) == expected

    def test_modules_themselves(self) -> None:
        model = ResNet()
        assert names(model, [model.fc, model.layer1[0]]) == ("layer1.0", "fc")

    @pytest.mark.parametrize(
        ("layers", "message"),
        [
            ("layr1", r"layers must name modules of the model or its parts, got 'layr1'\. Did you mean 'layer1'"),
            ("layr*", r"got 'layr\*'\. Did you mean 'layer"),
            ("zzz", r"got 'zzz'\. There are: 'fc', 'avgpool', .* and \d+ more\."),
            ("zzz#1", r"got 'zzz#1'"),
            (["fc", "layer9"], r"got 'layer9'\. Did you mean 'layer"),
            (nn.Conv3d, r"got the type Conv3d, of which it has none\. Did you mean 'Conv2d'"),
            (lambda name, module: False, r"got a predicate\(name, module\) that is false for all\. There are: 'fc'"),
            (nn.Linear(2, 2), r"layers must hold modules of the model itself, got another Linear"),
            ([], r"layers must select at least one layer, got an empty list"),
            (3, r"layers must be names, globs, module types, modules, predicates.*got 3"),
            (dict, r"layers must be names, globs, module types, modules, predicates.*got <class 'dict'>"),
        ],
    )
    def test_mistakes(self, layers: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            Capture(ResNet(), layers)

    def test_containers_compute_nothing(self) -> None:
        model = nn.Sequential(nn.Linear(8, 8))
        model.more = nn.ModuleList([nn.Linear(8, 8)])
        with pytest.raises(InputError, match=r"got 'more', which only holds others\. Select them with 'more\.\*'"):
            Capture(model, "more")

    def test_call_that_does_not_happen(self) -> None:
        with pytest.raises(CaptureError, match=r"got 'layer2\.0\.relu#2', but 'layer2\.0\.relu' is called 2 time"):
            names(ResNet(), "layer2.0.relu#2")


class TestSilentModules:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(8, 4), nn.Linear(8, 4)
            self.argmax = Argmax()

        def forward(self, x: Tensor) -> Tensor:
            y = self.used(x)
            self.argmax(y)
            return y

    x = torch.randn(5, 8)

    def test_selected_modules_that_do_not_run_are_named(self) -> None:
        with pytest.warns(CaptureWarning, match="not called in the forward pass and are left out: unused"):
            assert names(self.Net(), ["unused", "used"], self.x) == ("used",)

    def test_default_set_says_which_weights_do_not_run(self) -> None:
        with pytest.warns(CaptureWarning, match=r"left out: unused\.$"):
            assert names(self.Net(), None, self.x) == ("used",)

    def test_nothing_left_is_an_error(self) -> None:
        with pytest.raises(CaptureError, match=r"at least one of the layers.*modules that ran: used, argmax"):
            names(self.Net(), "unused", self.x)

    def test_outputs_without_numbers(self) -> None:
        with pytest.raises(
            CaptureError, match=r"layer 'argmax' must return a floating-point tensor with a row for each"
        ):
            names(self.Net(), ["argmax", "used"], self.x)
        with pytest.warns(
            CaptureWarning, match=r"no floating-point output with a row per item and are left out: argmax"
        ):
            assert names(self.Net(), lambda name, _: name in ("argmax", "used"), self.x) == ("used",)

    def test_long_lists_are_cut(self) -> None:
        model = nn.Sequential(nn.Linear(8, 8))
        model.extra = nn.ModuleList(nn.Linear(8, 8) for _ in range(11))
        with pytest.warns(CaptureWarning, match=r"extra\.7 and 3 more\."):
            names(model, None, self.x, forward=lambda model, x: model[0](x))


class Argmax(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.argmax(1)


class TestDefaultSet:
    def test_paper_net_gives_relus_pool_and_logits(self) -> None:
        assert names(paper_net()) == ("2", "5", "8", "9", "11")

    def test_pooling_within_the_features_belongs_to_its_unit(self) -> None:
        model = nn.Sequential(*units(3, 4), nn.MaxPool2d(2), *units(4, 4), nn.Flatten(), nn.Dropout(), nn.Linear(64, 2))
        assert names(model) == ("3", "6", "9")

    def test_pooling_that_changes_nothing_is_no_layer_of_its_own(self) -> None:
        model = nn.Sequential(*units(3, 4), nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        assert names(model) == ("2", "4")  # the second pooling ends the first one's unit

    def test_residual_blocks(self) -> None:
        assert names(ResNet()) == (
            "stem.3",
            "layer1.0.relu#0",
            "layer1.0",  # the same tensor as relu#1, after the sum
            "layer1.1.relu#0",
            "layer1.1",
            "layer2.0.relu#0",
            "layer2.0.bn2",
            "layer2.0",
            "avgpool",
            "fc",
        )

    def test_block_without_a_sum_is_listed_as_its_last_module(self) -> None:
        model = nn.Sequential(nn.Sequential(*units(3, 4)), nn.Sequential(nn.Sequential(*units(4, 4))))
        assert names(model) == ("0.2", "1.0.2")

    def test_block_that_ends_in_a_reordering_is_listed_once(self) -> None:
        model = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Dropout(), nn.Flatten()), nn.Linear(256, 2)
        )
        assert names(model) == ("0.1", "1")

    def test_block_with_a_function_at_its_end_is_listed_besides_its_module(self) -> None:
        class Functional(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 3, 1)

            def forward(self, x: Tensor) -> Tensor:
                return self.conv(x).relu_()

        assert names(nn.Sequential(Functional())) == ("0.conv", "0")

    def test_squeeze_and_excitation_pool_is_left_out(self) -> None:
        class Squeeze(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.pool, self.fc, self.gate = nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid()

            def forward(self, x: Tensor) -> Tensor:
                return x * self.gate(self.fc(self.pool(x)))

        model = nn.Sequential(*units(3, 4), Squeeze(), *units(4, 4), nn.AdaptiveAvgPool2d(1))
        assert names(model) == ("2", "3.gate", "3", "6", "7")

    @pytest.mark.parametrize("batch_first", [True, False])
    def test_transformer(self, batch_first: bool) -> None:
        assert names(Encoder(batch_first=batch_first), None, token_batch()) == (
            "embed",
            "norm",  # the position embedding, one row for all items, is no layer; its norm is
            "encoder.layers.0.norm1",
            "encoder.layers.0.linear1",
            "encoder.layers.0",
            "encoder.layers.1.norm1",
            "encoder.layers.1.linear1",
            "encoder.layers.1",
        )

    def test_recurrent(self) -> None:
        model = nn.Sequential(nn.LSTM(4, 3, batch_first=True))
        assert names(model, None, torch.randn(5, 7, 4)) == ("0",)

    def test_model_without_weights(self) -> None:
        assert names(nn.Sequential(nn.ReLU(), nn.Identity(), nn.Tanh())) == ("0", "2")

    def test_weights_in_buffers_count(self) -> None:
        class Fixed(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("weight", torch.ones(8, 8))

            def forward(self, x: Tensor) -> Tensor:
                return x @ self.weight

        assert names(nn.Sequential(Fixed(), nn.ReLU(), Fixed(), nn.Tanh())) == ("1", "3")

    def test_lazy_modules(self) -> None:
        model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
        assert names(model, None, torch.randn(3, 6)) == ("1", "2")

    def test_same_names_in_inference_mode(self) -> None:
        with torch.inference_mode():
            model = ResNet()
            x = IMAGES.clone()
            in_mode = names(model, None, x)
        assert in_mode == names(ResNet())
        assert names(model, None, x) == in_mode


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Conv1d(2, 2, 1), False),
        (nn.BatchNorm2d(2), False),
        (nn.GroupNorm(1, 2), False),
        (nn.AdaptiveAvgPool3d(1), False),
        (nn.Linear(2, 2), True),
        (nn.LayerNorm(2), True),
        (nn.LSTM(2, 2), True),
        (nn.MultiheadAttention(2, 1), True),
        (nn.GELU(), None),
        (type("LayerNorm2d", (nn.LayerNorm,), {})(2), False),
        (type("MyConv", (nn.Conv2d,), {})(2, 2, 1), False),
    ],
)
def test_where_the_features_are(module: nn.Module, expected: bool | None) -> None:
    assert declared_features_last(module) is expected
