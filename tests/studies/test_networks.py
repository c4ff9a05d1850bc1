from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from repscope.errors import InputError  # noqa: E402
from repscope.studies.networks import (  # noqa: E402
    REPRESENTATION_LAYERS,
    ConvUnit,
    ResNet,
    plain,
    representation_layers,
    resnet,
    take_statistics,
    tiny10,
    width_net,
)


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


def features_of(model, size=32):
    """Number of features of every layer of the paper, in its order, as a recorder by name sees them."""
    counts = {}

    def count(name):
        return lambda _, __, output: counts.update({name: output[0].numel()})

    names = representation_layers(model)
    handles = [model.get_submodule(name).register_forward_hook(count(name)) for name in names]
    with torch.inference_mode():
        model.eval()(torch.zeros(1, 3, size, size))
    for handle in handles:
        handle.remove()
    assert tuple(counts) == names, "in the order of execution"
    return list(counts.values())


def test_feature_counts_are_those_of_the_paper():
    assert features_of(tiny10()) == [16384, 16384, 8192, 8192, 8192, 4096, 2304, 2304, 64]
    assert features_of(plain(10)) == [98304, 98304, 24576, 49152, 49152, 12288, 6912, 6912, 192]
    assert features_of(width_net(8)) == [8192, 8192, 2048, 2048, 2048, 512, 288, 288, 8]


@pytest.mark.parametrize(("depth", "n"), [(10, 1), (18, 2), (34, 4), (66, 8)])
def test_plain_networks_have_the_units_of_table_e2(depth, n):
    model = plain(depth, width=2)
    layers = representation_layers(model)
    assert len(layers) == depth - 1
    assert [name for name, _ in model.named_children()] == [*layers, "logits"]
    convs = [model.get_submodule(f"{name}.conv") for name in layers[:-1]]
    found = [(conv.out_channels, conv.kernel_size[0], conv.stride[0], conv.padding[0]) for conv in convs]
    assert found == [
        *[(2, 3, 1, 1)] * (3 * n - 1),
        (2, 3, 2, 1),
        *[(4, 3, 1, 1)] * (3 * n - 1),
        (4, 3, 2, 1),
        *[(4, 3, 1, 1)] * (n - 1),
        (4, 3, 1, 0),
        *[(4, 1, 1, 0)] * n,
    ]
    sizes = [model(torch.zeros(2, 3, 9, 9)).shape, model(torch.zeros(2, 3, 32, 32)).shape]
    assert sizes == [(2, 10)] * 2


@pytest.mark.parametrize(("depth", "blocks"), [(14, 6), (32, 15), (62, 30)])
def test_residual_networks_show_two_layers_of_each_block_and_the_pool(depth, blocks):
    model = resnet(depth, width=2)
    layers = representation_layers(model)
    assert len(layers) == depth - 1
    assert layers[:4] == ("block1.inside", "block1", "block2.inside", "block2")
    assert layers[-2:] == (f"block{blocks}", "avg_pool")
    stages = [2 * 32**2, 4 * 16**2, 8 * 8**2]
    assert features_of(model) == [count for count in stages for _ in range(2 * blocks // 3)] + [8]


def test_residual_networks_have_the_parameters_of_the_table_and_none_in_the_shortcuts():
    w = 16
    first = 9 * 3 * w + 9 * w * w * 4
    second = 9 * (w * 2 * w + 3 * (2 * w) ** 2)
    third = 9 * (2 * w * 4 * w + 3 * (4 * w) ** 2)
    norms = 2 * (w + 4 * (w + 2 * w + 4 * w))
    model = resnet(14)
    assert sum(p.numel() for p in model.parameters()) == first + second + third + norms + 4 * w * 10 + 10
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convs) == 13
    assert {conv.kernel_size for conv in convs} == {(3, 3)}


def test_the_output_of_a_block_is_relu_of_residual_plus_shortcut():
    model = resnet(14, width=2, seed=0).eval()
    maps = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(0)).relu()
    same, halving = model.get_submodule("block1"), model.get_submodule("block3")
    torch.testing.assert_close(same(maps), (same.residual(same.inside(maps)) + maps).relu())
    shortcut = torch.cat([torch.zeros(2, 1, 4, 4), maps[:, :, ::2, ::2], torch.zeros(2, 1, 4, 4)], dim=1)
    torch.testing.assert_close(halving(maps), (halving.residual(halving.inside(maps)) + shortcut).relu())
    assert halving(maps).min() >= 0
    assert len(list(same.residual)) == 2


EVERY_KIND = [
    lambda **options: tiny10(width=2, **options),
    lambda **options: width_net(2, **options),
    lambda **options: plain(18, width=2, **options),
    lambda **options: resnet(14, width=2, **options),
]


@pytest.mark.parametrize("build", EVERY_KIND)
def test_no_layer_changes_its_input(build):
    model = build(seed=0).eval()
    kept = []

    def check(module, inputs, output):
        kept.append((output, output.clone()))

    handles = [model.get_submodule(name).register_forward_hook(check) for name, _ in model.named_modules() if name]
    with torch.inference_mode():
        model(torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    for handle in handles:
        handle.remove()
    assert kept
    for output, copy in kept:
        assert torch.equal(output, copy)


@pytest.mark.parametrize("build", EVERY_KIND)
def test_a_seed_fixes_the_weights_of_every_kind_and_classes_and_channels_are_as_asked(build):
    first, again, other = build(seed=1), build(seed=1), build(seed=2)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert build(in_channels=1, classes=7).eval()(torch.zeros(2, 1, 16, 16)).shape == (2, 7)


@pytest.mark.parametrize(("build", "norms"), [(tiny10, 8), (lambda **o: plain(10, width=4, **o), 8)])
def test_without_batch_normalisation_the_convolutions_have_biases_of_zero(build, norms):
    with_norm, without = build(), build(batch_norm=False)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in with_norm.modules()) == norms
    assert not any(isinstance(module, nn.BatchNorm2d) for module in without.modules())
    convs = [module for module in without.modules() if isinstance(module, nn.Conv2d)]
    assert all(conv.bias is not None and not conv.bias.any() for conv in convs)
    assert [name for name, _ in with_norm.named_children()] == [name for name, _ in without.named_children()]


@pytest.mark.parametrize("options", [{"depth": 66}, {"depth": 66, "batch_norm": False}])
def test_untrained_deep_networks_keep_the_scale_of_the_activations(options):
    model = plain(width=32, seed=0, **options).eval()
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for name, layer in model.named_children():
        images = layer(images)
        assert 0.01 < images.std() < 100, name


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: plain(12), r"plain: depth must be 8n \+ 2 .*, got 12"),
        (lambda: plain(2), r"plain: depth must be 8n \+ 2 .*, got 2"),
        (lambda: resnet(18), r"resnet: depth must be 6m \+ 2 .*, got 18"),
        (lambda: resnet(2), r"resnet: depth must be 6m \+ 2 .*, got 2"),
        (lambda: plain(10, width=0), "plain: width must be at least 1, got 0"),
        (lambda: width_net(0), "width_net: width must be at least 1, got 0"),
        (lambda: tiny10(0), "tiny10: width must be at least 1, got 0"),
        (lambda: resnet(14, width=0), "resnet: width must be at least 1, got 0"),
        (lambda: resnet(14, classes=0), "resnet: classes must be at least 1, got 0"),
        (lambda: tiny10(in_channels=0), "tiny10: in_channels must be at least 1, got 0"),
        (lambda: representation_layers(nn.Linear(2, 2)), "model must be a network of .*, got Linear"),
    ],
)
def test_impossible_networks_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_residual_networks_take_images_of_the_right_channels_only():
    model = resnet(14)
    assert isinstance(model, ResNet)
    with pytest.raises(InputError, match=r"resnet: images must have shape \(n, 3, height, width\), got \(1, 1, 8, 8\)"):
        model(torch.zeros(1, 1, 8, 8))


def test_tiny10_at_16_pixels_and_another_width():
    shapes = shapes_of(tiny10(width=4, in_channels=1, classes=7), torch.zeros(2, 1, 16, 16))
    assert shapes["conv1"] == (2, 4, 16, 16)
    assert shapes["conv5"] == (2, 8, 8, 8)
    assert shapes["conv6"] == (2, 16, 4, 4)
    assert shapes["conv7"] == shapes["conv8"] == (2, 16, 2, 2)
    assert shapes["avg_pool"] == (2, 16)
    assert shapes["logits"] == (2, 7)


def test_the_representation_layers_are_all_children_but_the_logits():
    assert representation_layers(tiny10()) == REPRESENTATION_LAYERS
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
    assert sum(p.numel() for p in tiny10().parameters()) == kernels + norms + 4 * w * 10 + 10 == 86_458


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


def test_batch_normalisation_takes_the_statistics_of_images():
    network = plain(10, seed=0, width=4).eval()
    images = 3 + 2 * torch.randn(32, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    take_statistics(network, images.numpy())
    assert not network.training
    assert {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}
    seen = []
    handles = [
        m.register_forward_hook(lambda m, inputs, output: seen.append(output))
        for m in network.modules()
        if isinstance(m, nn.BatchNorm2d)
    ]
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    assert len(seen) == 8
    for output in seen:  # up to n / (n - 1), by which the variances of a batch and of the images differ
        mean, deviation = output.mean(dim=(0, 2, 3)), output.std(dim=(0, 2, 3))
        torch.testing.assert_close(mean, torch.zeros_like(mean), atol=0.02, rtol=0)
        torch.testing.assert_close(deviation, torch.ones_like(mean), atol=0.05, rtol=0)
