from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from repscope.errors import InputError  # noqa: E402
from repscope.studies.augmentation import FlipAndCrop  # noqa: E402
from repscope.studies.datasets import load_images  # noqa: E402
from repscope.studies.networks import ConvNet, ResNet  # noqa: E402
from repscope.studies.zoo import ARCHITECTURES, NetworkSpec, Recipe  # noqa: E402
from repscope.studies.zoo import spec as spec_module  # noqa: E402


def test_specs_that_mean_the_same_are_the_same():
    assert NetworkSpec("plain") == NetworkSpec("plain", {"depth": 10})
    assert hash(NetworkSpec("plain")) == hash(NetworkSpec("plain", {"depth": 10}))
    assert NetworkSpec("plain") != NetworkSpec("plain", {"depth": 18})
    assert len({NetworkSpec("tiny10"), NetworkSpec("tiny10", {"width": 16}), NetworkSpec("tiny10", {"width": 8})}) == 2
    with pytest.raises(TypeError):
        NetworkSpec("plain").options["depth"] = 18


@pytest.mark.parametrize(
    ("architecture", "options", "name"),
    [
        ("tiny10", {}, "tiny10"),
        ("tiny10", {"batch_norm": False}, "tiny10-no-batch-norm"),
        ("tiny10", {"width": 4}, "tiny10-width4"),
        ("plain", {}, "plain10"),
        ("plain", {"depth": 66, "width": 24}, "plain66-width24"),
        ("width_net", {"width": 128}, "width128"),
        ("resnet", {"depth": 62}, "resnet62"),
    ],
)
def test_names_tell_what_differs_and_json_brings_the_spec_back(architecture, options, name):
    spec = NetworkSpec(architecture, options)
    assert spec.name == name
    assert NetworkSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec


def test_a_network_for_other_data_is_refused():
    with pytest.raises(InputError, match="data of a translator must have vocabulary, got 'digits', which has none"):
        NetworkSpec("translator").build(load_images("digits"), 0)


def test_every_architecture_is_built_for_the_images():
    digits = load_images("digits")
    for architecture in set(ARCHITECTURES) - {"translator"}:
        spec = NetworkSpec(architecture, {"width": 2})
        model, again = spec.build(digits, 3), spec.build(digits, 3)
        assert isinstance(model, ConvNet | ResNet)
        assert model.eval()(torch.from_numpy(digits.standardised("test", 2))).shape == (2, 10)
        for a, b in zip(model.parameters(), again.parameters(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vgg",), "architecture must be one of tiny10, plain, width_net, resnet, translator, got 'vgg'"),
        (("tiny10", {"depth": 3}), "options of tiny10 must be among width, batch_norm, got 'depth'"),
        (("tiny10", {"seed": 3}), "options of tiny10 must be among width, batch_norm, got 'seed'"),
        (("width_net",), r"options of width_net must hold 'width', got \{\}"),
    ],
)
def test_unknown_and_missing_parts_are_refused(arguments, message):
    with pytest.raises(InputError, match=f"NetworkSpec: {message}"):
        NetworkSpec(*arguments)


def test_recipes_differ_by_data_set_and_json_brings_them_back():
    assert Recipe.for_images("cifar10") == Recipe.for_images("cifar100") == Recipe()
    assert Recipe().flip
    digits = Recipe.for_images("digits", epochs=2)
    assert Recipe.for_images("digits-transposed", epochs=2) == digits
    assert (digits.epochs, digits.flip) == (2, False)
    assert Recipe.from_json(json.loads(json.dumps(digits.as_json()))) == digits


def test_without_batch_normalisation_the_steps_are_shorter():
    assert Recipe.for_images("cifar10", batch_norm=False).learning_rate == Recipe().learning_rate / 5
    assert Recipe.for_images("digits", batch_norm=False, learning_rate=0.3).learning_rate == 0.3


def test_the_augmentation_of_a_recipe():
    assert Recipe(crop=3).augmentation == FlipAndCrop(3, True)
    assert Recipe(crop=0).augmentation == FlipAndCrop(0, True)
    assert Recipe(flip=False, crop=1).augmentation == FlipAndCrop(1, False)
    assert Recipe(flip=False, crop=0).augmentation is None


def test_automatic_precision_is_16_bits_where_the_hardware_has_them(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for has, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(spec_module, "_cpu_has_bfloat16", lambda has=has: has)
        assert Recipe().precision_on(cpu) == expected
        assert Recipe().precision_on(gpu) == "bfloat16"
        assert Recipe(precision="float32").precision_on(gpu) == "float32"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": -1}, "epochs must be 0 or more, got -1"),
        ({"crop": -1}, "crop must be 0 or more, got -1"),
        ({"weight_decay": float("nan")}, "weight_decay must be 0 or more, got nan"),
        ({"batch_size": 0}, "batch_size must be positive, got 0"),
        ({"learning_rate": 0}, "learning_rate must be positive, got 0"),
        ({"precision": "float16"}, "precision must be auto, float32 or bfloat16, got 'float16'"),
    ],
)
def test_impossible_recipes_are_refused(changes, message):
    with pytest.raises(InputError, match=f"Recipe: {message}"):
        Recipe(**changes)
