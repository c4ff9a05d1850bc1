from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from repscope.errors import InputError  # noqa: E402
from repscope.studies.networks import REPRESENTATION_LAYERS, ConvUnit, tiny10  # noqa: E402


def shapes_of(model, images):
    """Record the output shape of every child, by name, with one forward pass."""
    shapes = {}
    handles = [
        child.register_forward_hook(lambda _, __, output, name=name: shapes.update({name: tuple(output.shape)}))
        for name, child in model.named_children()
    ]
    model.eval()(images)
    for handle in handles:
        handle.remove()
    return shapes


def test_tiny10_has_the_maps_of_the_paper_at_32_pixels():
    assert shapes_of(tiny10(), torch.zeros(2, 3, 32, 32)) == {
        "conv1": (2, 16, 32, 32),
        "conv2": (2, 16, 32, 32),
        "conv3": (2, 32, 16, 16),
        "conv4": (2, 32, 16, 16),
        "conv5": (2, 32, 16, 16),
        "conv6": (2, 64, 8, 8),
        "conv7": (2, 64, 6, 6),
        "conv8": (2, 64, 6, 6),
        "avg_pool": (2, 64),
        "logits": (2, 10),
    }


def test_tiny10_at_16_pixels_and_another_width():
    shapes = shapes_of(tiny10(width=4, in_channels=1, classes=7), torch.zeros(2, 1, 16, 16))
    assert shapes["conv1"] == (2, 4, 16, 16)
    assert shapes["conv5"] == (2, 8, 8, 8)
    assert shapes["conv6"] == (2, 16, 4, 4)
    assert shapes["conv7"] == shapes["conv8"] == (2, 16, 2, 2)
    assert shapes["avg_pool"] == (2, 16)
    assert shapes["logits"] == (2, 7)


def test_the_representation_layers_are_all_children_but_the_logits():
    assert (*REPRESENTATION_LAYERS, "logits") == tuple(name for name, _ in tiny10().named_children())


def test_every_unit_is_convolution_without_bias_then_batch_norm_then_relu():
    model = tiny10()
    for name in REPRESENTATION_LAYERS[:-1]:
        conv, norm, relu = model.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is None
        assert isinstance(norm, nn.BatchNorm2d)
        assert isinstance(relu, nn.ReLU)
    kernels = [model.get_submodule(f"{name}.conv").kernel_size for name in REPRESENTATION_LAYERS[:-1]]
    assert kernels == [(3, 3)] * 7 + [(1, 1)]


def test_number_of_parameters_follows_from_the_table():
    w = 16
    kernels = 9 * (3 * w + w * w + w * 2 * w + 2 * (2 * w) ** 2 + 2 * w * 4 * w + (4 * w) ** 2) + (4 * w) ** 2
    norms = 2 * (2 * w + 3 * 2 * w + 3 * 4 * w)
    assert sum(p.numel() for p in tiny10().parameters()) == kernels + norms + 4 * w * 10 + 10


def test_the_average_pool_is_the_mean_over_positions():
    pool = tiny10().get_submodule("avg_pool")
    maps = torch.arange(24.0).reshape(2, 3, 2, 2)
    torch.testing.assert_close(pool(maps), torch.tensor([[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]))


def test_a_seed_fixes_the_weights_and_leaves_the_global_state_alone():
    before = torch.random.get_rng_state()
    first, again, other = tiny10(seed=3), tiny10(seed=3), tiny10(seed=4)
    assert torch.equal(torch.random.get_rng_state(), before)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.get_parameter("conv1.conv.weight"), other.get_parameter("conv1.conv.weight"))


def test_without_a_seed_the_weights_come_from_the_global_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        drawn = tiny10()
    assert torch.equal(drawn.get_parameter("logits.weight"), tiny10(seed=5).get_parameter("logits.weight"))


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        (ConvUnit(1), 7),
        (ConvUnit(1, stride=2), 9),
        (ConvUnit(1, padding="valid"), 5),
        (ConvUnit(1, kernel=1), 6),
    ],
)
def test_smallest_input_is_the_smallest_that_gives_the_output(unit, size):
    module = unit.build(1).eval()
    output = module(torch.zeros(1, 1, size, size)).shape[-1]
    smallest = unit.smallest_input(output)
    assert module(torch.zeros(1, 1, smallest, smallest)).shape[-1] == output
    assert module(torch.zeros(1, 1, smallest - 1, smallest - 1)).shape[-1] < output


def test_nine_pixels_are_enough_and_eight_are_refused():
    model = tiny10(in_channels=1).eval()
    assert model(torch.zeros(1, 1, 9, 9)).shape == (1, 10)
    with pytest.raises(InputError, match=r"tiny10: images must be at least 9×9 pixels, got 8×8\. .* enlarge"):
        model(torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (1, 16, 16)])
def test_wrong_axes_or_channels_are_refused(shape):
    with pytest.raises(InputError, match=r"tiny10: images must have shape \(n, 1, height, width\), got .*in_channels"):
        tiny10(in_channels=1)(torch.zeros(shape))
