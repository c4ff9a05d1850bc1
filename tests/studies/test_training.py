from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

from repscope.errors import FileFormatError, InputError  # noqa: E402
from repscope.studies.augmentation import RandomShift  # noqa: E402
from repscope.studies.digits import load_digits  # noqa: E402
from repscope.studies.networks import tiny10  # noqa: E402
from repscope.studies.training import accuracy, images_per_second, one_cycle, train  # noqa: E402


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits()
    return images[:200], labels[:200]


def network(seed=0):
    return tiny10(width=4, in_channels=1, seed=seed)


def assert_same_weights(a, b):
    for (name, left), (_, right) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        assert torch.equal(left, right), name


def differ(a, b):
    return any(not torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.slow
def test_it_learns_the_digits_and_what_it_learned_carries_over():
    images, labels = load_digits()
    model = tiny10(width=8, in_channels=1, seed=0)
    before = accuracy(model, images[1400:], labels[1400:])
    record = train(model, images[:1400], labels[:1400], epochs=6, augment=RandomShift(1))
    assert before < 0.3
    assert accuracy(model, images[1400:], labels[1400:]) > 0.9
    assert record.accuracies[-1] > 0.95
    assert record.final_loss < 0.2


def test_the_record_holds_every_epoch(digits):
    seen = []
    record = train(network(), *digits, epochs=3, progress=seen.append)
    assert tuple(seen) == record.epochs
    assert [(epoch.number, epoch.of) for epoch in seen] == [(1, 3), (2, 3), (3, 3)]
    assert record.final_loss == seen[-1].loss < seen[0].loss
    assert record.accuracies == tuple(epoch.accuracy for epoch in seen)
    assert record.seconds == sum(epoch.seconds for epoch in seen) > 0


def test_loss_and_accuracy_of_an_epoch_are_means_over_examples():
    # Weights that barely move: the epoch's values are those of the initial network.
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    images = torch.randn(7, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    expected_loss = nn.functional.cross_entropy(model(images), labels).item()
    expected_accuracy = (model(images).argmax(1) == labels).sum().item() / 7
    record = train(model, images, labels, epochs=1, batch_size=2, learning_rate=1e-7)
    np.testing.assert_allclose(record.final_loss, expected_loss, rtol=1e-4)
    np.testing.assert_allclose(record.accuracies, expected_accuracy, rtol=1e-6)


def test_every_example_is_seen_once_an_epoch_in_batches_of_nearly_equal_size():
    batches = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 2)

        def forward(self, images):
            batches.append(images.flatten().tolist())
            return self.linear(images.flatten(1))

    images = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1)
    train(Spy(), images, np.zeros(10, dtype=int), epochs=2, batch_size=4, learning_rate=1e-6)
    assert [len(batch) for batch in batches] == [4, 3, 3] * 2
    first, second = np.concatenate(batches[:3]).tolist(), np.concatenate(batches[3:]).tolist()
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_the_same_seed_gives_the_same_network_and_another_seed_another(digits):
    models = [network() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        torch.rand(3)  # what the global generator did before does not matter
        train(model, *digits, epochs=2, seed=seed, augment=RandomShift(1))
    assert_same_weights(models[0], models[1])
    assert differ(models[0], models[2])


def test_the_global_random_states_are_left_alone(digits):
    before, before_numpy = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    model = nn.Sequential(network(), nn.Dropout(0.5))
    train(model, *digits, epochs=1, augment=RandomShift(1))
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], before_numpy)


class _InterruptedError(Exception):
    pass


class _InterruptAt:
    """A shift that raises when it is called for the n-th time, as a kill in mid-epoch would."""

    def __init__(self, calls):
        self.calls = calls
        self.shift = RandomShift(1)

    def __repr__(self):
        return repr(self.shift)

    def __call__(self, images, generator):
        self.calls -= 1
        if self.calls == 0:
            raise _InterruptedError
        return self.shift(images, generator)


def test_an_interrupted_training_resumes_to_the_same_network_bit_for_bit(digits, tmp_path):
    path = tmp_path / "run.safetensors"
    whole = nn.Sequential(network(), nn.Dropout(0.1))
    expected = train(whole, *digits, epochs=4, augment=RandomShift(1))
    with pytest.raises(_InterruptedError):  # 200 examples are 4 batches, so this is the second batch of epoch 3
        train(nn.Sequential(network(), nn.Dropout(0.1)), *digits, epochs=4, augment=_InterruptAt(10), checkpoint=path)
    resumed = nn.Sequential(network(), nn.Dropout(0.1))
    seen = []
    record = train(resumed, *digits, epochs=4, augment=RandomShift(1), checkpoint=path, progress=seen.append)
    assert [epoch.number for epoch in seen] == [3, 4]
    assert_same_weights(whole, resumed)
    assert [(e.number, e.loss, e.accuracy) for e in record.epochs] == [
        (e.number, e.loss, e.accuracy) for e in expected.epochs
    ]


def test_a_finished_training_is_read_back_without_training(digits, tmp_path):
    path = tmp_path / "run.safetensors"
    model, again = network(), network()
    record = train(model, *digits, epochs=2, checkpoint=path)
    assert train(again, *digits, epochs=2, checkpoint=path) == record
    assert_same_weights(model, again)


def test_resume_false_starts_again_and_overwrites(digits, tmp_path):
    path = tmp_path / "run.safetensors"
    train(network(), *digits, epochs=1, checkpoint=path)
    seen = []
    train(network(), *digits, epochs=1, seed=5, checkpoint=path, resume=False, progress=seen.append)
    assert len(seen) == 1
    with pytest.raises(InputError, match="another seed"):
        train(network(), *digits, epochs=1, seed=0, checkpoint=path)


def test_a_failed_write_leaves_the_previous_checkpoint_whole(digits, tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"

    def interrupt(source, target):
        raise KeyboardInterrupt

    def stop_writing(_):
        monkeypatch.setattr("os.replace", interrupt)

    with pytest.raises(KeyboardInterrupt):
        train(network(), *digits, epochs=3, checkpoint=path, progress=stop_writing)
    monkeypatch.undo()
    resumed, whole = network(), network()
    seen = []
    train(resumed, *digits, epochs=3, checkpoint=path, progress=seen.append)
    assert [epoch.number for epoch in seen] == [2, 3]
    assert not list(tmp_path.glob("*.partial"))
    train(whole, *digits, epochs=3)
    assert_same_weights(whole, resumed)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"epochs": 3}, "epochs"),
        ({"batch_size": 32}, "batch_size"),
        ({"learning_rate": 0.2}, "learning_rate"),
        ({"augment": RandomShift(2)}, "augment"),
        ({"weight_decay": 1e-4}, "weight_decay"),
        ({"decay_all": False}, "decay_all"),
        ({"precision": "bfloat16"}, "precision"),
    ],
)
def test_a_checkpoint_of_another_recipe_is_refused(digits, tmp_path, change, named):
    path = tmp_path / "run.safetensors"
    train(network(), *digits, epochs=1, checkpoint=path)
    with pytest.raises(
        InputError,
        match=rf"train: checkpoint must come from the same training, .* another {named}\. .* resume=False",
    ):
        train(network(), *digits, **{"epochs": 1, "checkpoint": path, **change})


def test_a_checkpoint_of_other_data_or_initial_weights_is_refused(digits, tmp_path):
    path = tmp_path / "run.safetensors"
    images, labels = digits
    train(network(), images, labels, epochs=1, checkpoint=path)
    with pytest.raises(InputError, match="another data"):
        train(network(), images, (labels + 1) % 10, epochs=1, checkpoint=path)
    with pytest.raises(InputError, match="another initial weights"):
        train(network(seed=1), images, labels, epochs=1, checkpoint=path)


def test_a_broken_or_foreign_checkpoint_is_refused(digits, tmp_path):
    path = tmp_path / "run.safetensors"
    train(network(), *digits, epochs=1, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        FileFormatError, match=r"train: checkpoint must be a whole safetensors file, got .*resume=False"
    ):
        train(network(), *digits, epochs=1, checkpoint=path)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(FileFormatError, match=r"train: checkpoint must be a 'repscope training checkpoint 1', got"):
        train(network(), *digits, epochs=1, checkpoint=path)


def test_a_checkpoint_holds_weights_momentum_and_record(digits, tmp_path):
    path = tmp_path / "run.safetensors"
    model = network()
    train(model, *digits, epochs=1, checkpoint=path)
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        metadata = file.metadata()
        assert torch.equal(file.get_tensor("model.conv1.conv.weight"), model.get_parameter("conv1.conv.weight"))
    assert {f"model.{name}" for name in model.state_dict()} <= names
    assert {f"momentum.{name}" for name, _ in model.named_parameters()} <= names
    assert set(metadata) == {"format", "recipe", "record"}


def test_the_learning_rate_rises_then_falls_to_zero():
    curve = [one_cycle(step / 1000) for step in range(1001)]
    peak = int(np.argmax(curve))
    assert peak == 250
    np.testing.assert_allclose((curve[0], curve[peak], curve[-1]), (0, 1, 0), atol=1e-12)
    assert (np.diff(curve[: peak + 1]) > 0).all()
    assert (np.diff(curve[peak:]) < 0).all()


def test_accuracy_is_the_share_of_right_answers_and_leaves_the_flags_alone():
    class Echo(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))
            self.frozen = nn.BatchNorm2d(1).eval()

        def forward(self, images):
            assert not self.training
            return nn.functional.one_hot(images.flatten().long(), 4).float()

    model = Echo()
    images = np.array([0, 1, 2, 3, 0], dtype=np.float32).reshape(5, 1, 1, 1)
    assert accuracy(model, images, np.array([0, 1, 2, 0, 1]), batch_size=2) == 3 / 5
    assert model.training
    assert not model.frozen.training


def test_wrong_shapes_and_options_are_refused(digits):
    images, labels = digits
    with pytest.raises(InputError, match=r"train: images must have shape .* got \(200, 1, 16, 16\) and \(199,\)"):
        train(network(), images, labels[:-1])
    with pytest.raises(InputError, match=r"accuracy: images must have shape .* got \(200, 16, 16\)"):
        accuracy(network(), images[:, 0], labels)
    with pytest.raises(InputError, match="with the same n ≥ 1"):
        train(network(), images[:0], labels[:0])
    for option in ("epochs", "batch_size", "learning_rate"):
        with pytest.raises(InputError, match=f"train: {option} must be positive, got 0"):
            train(network(), images, labels, **{option: 0})


def test_unknown_precision_and_negative_decay_are_refused(digits):
    with pytest.raises(InputError, match=r"train: precision must be one of float32, bfloat16, got 'float16'"):
        train(network(), *digits, precision="float16")
    with pytest.raises(InputError, match=r"train: weight_decay must be 0 or more, got -0.1"):
        train(network(), *digits, weight_decay=-0.1)


class _Flat(nn.Module):
    """Logits that depend on no parameter, so that only the weight decay moves the parameters."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.ones(2, 2))
        self.vector = nn.Parameter(torch.ones(2))

    def forward(self, images):
        return 0 * (self.matrix.sum() + self.vector.sum()) + torch.zeros(len(images), 2)


@pytest.mark.parametrize(("decay_all", "spared"), [(True, False), (False, True)])
def test_weight_decay_spares_vectors_if_asked_to(decay_all, spared):
    model = _Flat()
    images, labels = np.zeros((4, 1, 1, 1), np.float32), np.zeros(4, int)
    train(model, images, labels, epochs=1, batch_size=4, learning_rate=0.5, weight_decay=0.1, decay_all=decay_all)
    rate = 0.5 * one_cycle(0.5)  # the only step stands in the middle; Nesterov makes it 1 + 0.9 times as long
    np.testing.assert_allclose(model.matrix.detach(), 1 - rate * 0.1 * 1.9, rtol=1e-6)
    np.testing.assert_allclose(model.vector.detach(), 1 if spared else 1 - rate * 0.1 * 1.9, rtol=1e-6)


def test_half_precision_computes_the_logits_in_16_bits_and_keeps_the_weights_in_32(digits):
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, images):
            logits = self.net(images)
            seen.append(logits.dtype)
            return logits

    model = Spy()
    record = train(model, *digits, epochs=3, precision="bfloat16")
    assert set(seen) == {torch.bfloat16}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert record.final_loss < record.epochs[0].loss
    exact = train(network(), *digits, epochs=3)
    np.testing.assert_allclose(record.final_loss, exact.final_loss, rtol=0.2)


def test_measuring_the_speed_leaves_the_model_and_the_random_state_alone(digits):
    model, before = network(), torch.random.get_rng_state()
    rate = images_per_second(model, *digits, augment=RandomShift(1), seconds=0.01)
    assert 10 < rate < 1e7
    assert_same_weights(model, network())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_full_disk_ends_with_a_message_and_the_checkpoint_before(digits, tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"

    def full(_):
        raise OSError(28, "No space left on device")

    def fill_the_disk(_):
        monkeypatch.setattr("os.fsync", full)

    with pytest.raises(
        InputError, match=r"run\.safetensors' must be writable, .*No space left on device; the one before"
    ):
        train(network(), *digits, epochs=3, checkpoint=path, progress=fill_the_disk)
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]
    resumed, whole = network(), network()
    seen = []
    train(resumed, *digits, epochs=3, checkpoint=path, progress=seen.append)
    assert [epoch.number for epoch in seen] == [2, 3]
    train(whole, *digits, epochs=3)
    assert_same_weights(whole, resumed)


def test_a_loss_that_is_not_finite_is_an_error(digits):
    images, labels = digits
    with pytest.raises(InputError, match=r"train: learning_rate must keep the loss finite, got 0.1 .*nan in epoch 1"):
        train(network(), np.full_like(images, math.nan), labels, epochs=1)
