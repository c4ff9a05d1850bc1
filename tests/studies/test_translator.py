from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from repscope.errors import FileFormatError, InputError  # noqa: E402
from repscope.studies._checkpoint import Checkpoint  # noqa: E402
from repscope.studies.text import load_text  # noqa: E402
from repscope.studies.translating import (  # noqa: E402
    _batches,
    pairs_per_second,
    token_accuracy,
    token_batches,
    train_translator,
    translate,
)
from repscope.studies.translator import TAPS, tapped_layers, translator  # noqa: E402
from repscope.studies.vocabulary import BEGIN, END, PAD  # noqa: E402


def network(seed=0, **changes):
    sizes = {"vocabulary": 68, "width": 16, "heads": 2, "inner": 24, "layers": 2} | changes
    return translator(seed=seed, **sizes)


@pytest.fixture(scope="module")
def pairs():
    text = load_text("numbers")
    return text.tokens(text.train[:200])


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


# -- the network ----------------------------------------------------------------------------------------------------


def test_a_sublayer_is_norm_scale_operation_and_sum():
    model = network().eval()
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    sublayer = model.encoder.ffn1
    sublayer.scale.weight.data.uniform_(0.5, 2)
    normed = (x - x.mean(2, keepdim=True)) / torch.sqrt(x.var(2, unbiased=False, keepdim=True) + 1e-5)
    scaled = normed * sublayer.scale.weight
    ffn = sublayer.operation
    hidden = torch.relu(scaled @ ffn.inner.weight.T + ffn.inner.bias)
    expected = x + hidden @ ffn.outer.weight.T + ffn.outer.bias
    torch.testing.assert_close(sublayer(x), expected)
    assert not list(sublayer.layer_norm.parameters())


def test_attention_is_the_formula_head_by_head():
    model = network().eval()
    attention = model.encoder.attention1.operation
    x = torch.randn(1, 4, 16, generator=torch.Generator().manual_seed(1))
    real = torch.tensor([[True, True, True, False]])
    heads = []
    for head in (slice(0, 8), slice(8, 16)):
        q, k, v = (part(x)[0, :, head] for part in (attention.query, attention.key, attention.value))
        weights = torch.softmax((q @ k.T / 8**0.5)[:, :3], dim=1)
        heads.append(weights @ v[:3])
    torch.testing.assert_close(attention(x, real)[0], attention.output(torch.cat(heads, dim=1)))


def test_padding_changes_nothing():
    model = network().eval()
    source, target = torch.tensor([[5, 6, END]]), torch.tensor([[BEGIN, 7, 8]])
    padded = torch.tensor([[5, 6, END, PAD, PAD]])
    torch.testing.assert_close(model.encode(padded)[:, :3], model.encode(source))
    torch.testing.assert_close(model(padded, target), model(source, target))


def test_the_decoder_does_not_see_what_it_has_to_say():
    model = network().eval()
    source = torch.tensor([[5, 6, END]])
    one, other = torch.tensor([[BEGIN, 7, 8, 9]]), torch.tensor([[BEGIN, 7, 10, 11]])
    torch.testing.assert_close(model(source, one)[:, :2], model(source, other)[:, :2])
    assert not torch.allclose(model(source, one)[:, 2], model(source, other)[:, 2])


@pytest.mark.parametrize("tap", TAPS)
def test_taps_are_modules_of_the_encoder_in_order(tap):
    model = network()
    names = tapped_layers(model, tap)
    assert [name.split(".")[1] for name in names] == ["attention1", "ffn1", "attention2", "ffn2"]
    seen = []
    for name in names:
        model.get_submodule(name).register_forward_hook(lambda *_, name=name: seen.append(name))
    model.encode(torch.tensor([[5, END]]))
    assert tuple(seen) == names


def test_the_seed_decides_the_weights_and_nothing_else_changes():
    before = torch.random.get_rng_state()
    assert same(network(3), network(3))
    assert not same(network(3), network(4))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"width": 9, "heads": 3}, "width must be even and a multiple of heads, got width 9 with 3 heads"),
        ({"width": 16, "heads": 3}, "width must be even and a multiple of heads, got width 16 with"),
        ({"dropout": 1.0}, "dropout must be from 0 to below 1, got 1.0"),
    ],
)
def test_impossible_sizes_are_refused(changes, message):
    with pytest.raises(InputError, match=f"translator: {message}"):
        network(**changes)


def test_an_unknown_tap_is_named():
    with pytest.raises(InputError, match="tap must be one of layer-norm, scale, operation, residual, got 'norm'"):
        tapped_layers(network(), "norm")


# -- training -------------------------------------------------------------------------------------------------------


def test_batches_hold_every_pair_once_and_follow_the_seed(pairs):
    batches = _batches(pairs, 32, seed=1)
    assert [len(batch) for batch in batches].count(32) == 6
    assert len(batches) == 7
    assert sorted(id(pair) for batch in batches for pair in batch) == sorted(id(pair) for pair in pairs)
    assert _batches(pairs, 32, seed=1) == batches != _batches(pairs, 32, seed=2)


def test_the_loss_and_accuracy_of_an_epoch_are_means_over_target_tokens(pairs):
    model = network()
    some = pairs[:50]
    total, right, count = 0.0, 0, 0
    for source, target in some:
        logits = model(torch.tensor([source]), torch.tensor([target[:-1]]))[0]
        wanted = torch.tensor(target[1:])
        total += torch.nn.functional.cross_entropy(logits, wanted, reduction="sum").item()
        right += int((logits.argmax(1) == wanted).sum())
        count += len(wanted)
    assert token_accuracy(model.eval(), some) == pytest.approx(right / count)
    record = train_translator(
        model, some, epochs=1, batch_size=7, learning_rate=1e-9, label_smoothing=0.0
    )  # weights that barely move
    assert record.final_loss == pytest.approx(total / count, rel=1e-4)
    assert record.accuracies[0] == pytest.approx(right / count)


class _StopError(Exception):
    pass


def test_an_interrupted_training_ends_with_the_same_weights(pairs, tmp_path):
    options = {"epochs": 3, "batch_size": 40, "seed": 5}
    whole, part = network(dropout=0.1), network(dropout=0.1)
    record = train_translator(whole, pairs, **options)

    def stop(epoch):
        if epoch.number == 2:
            raise _StopError

    path = tmp_path / "state.safetensors"
    with pytest.raises(_StopError):
        train_translator(part, pairs, **options, checkpoint=path, progress=stop)
    resumed = network(dropout=0.1)
    found = train_translator(resumed, pairs, **options, checkpoint=path)
    assert same(resumed, whole)
    assert [epoch.loss for epoch in found.epochs] == [epoch.loss for epoch in record.epochs]
    assert found.final_loss < found.epochs[0].loss
    with pytest.raises(InputError, match="another label_smoothing"):
        train_translator(network(dropout=0.1), pairs, **options, label_smoothing=0.2, checkpoint=path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(FileFormatError, match="must be a whole safetensors file"):
        train_translator(network(dropout=0.1), pairs, **options, checkpoint=path)


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
def test_what_adam_keeps_is_put_on_the_device_of_the_model(tmp_path):
    # Of fused Adam also the count of steps, which its kernel reads there.
    model, elsewhere = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2, device="meta")
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    Checkpoint(tmp_path / "it.safetensors", {}, model, optimizer).save([])
    empty = torch.optim.Adam(elsewhere.parameters())
    Checkpoint(tmp_path / "it.safetensors", {}, elsewhere, empty).load()
    assert [sorted(state) for state in empty.state.values()] == [["exp_avg", "exp_avg_sq", "step"]] * 2
    assert {value.device.type for state in empty.state.values() for value in state.values()} == {"meta"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be positive, got 0"),
        ({"label_smoothing": 1.0}, "label_smoothing must be from 0 to below 1, got 1.0"),
        ({"precision": "int8"}, "precision must be one of float32, bfloat16, got 'int8'"),
        ({"pairs": []}, "pairs must hold at least one pair"),
        ({"learning_rate": 1e30}, "learning_rate must keep the loss finite"),
    ],
)
def test_bad_options_of_a_training_are_refused(pairs, changes, message):
    with pytest.raises(InputError, match=f"train: {message}"):
        train_translator(**{"model": network(), "pairs": pairs, "epochs": 1} | changes)


def test_the_speed_is_measured_on_a_copy(pairs):
    model = network()
    assert pairs_per_second(model, pairs, seconds=0.01) > 0
    assert same(model, network())


# -- translating ----------------------------------------------------------------------------------------------------


def test_translations_take_the_likeliest_token_each_time_whatever_the_batch(pairs):
    model = network()
    train_translator(model, pairs, epochs=3, batch_size=10, learning_rate=1e-2)
    model.eval()
    sources = [source for source, _ in pairs[:9]]
    found = translate(model, sources, batch_size=4)
    for source, got in zip(sources, found, strict=True):
        tokens = [BEGIN]
        for _ in range(len(got) + 1):
            tokens.append(int(model(torch.tensor([source]), torch.tensor([tokens]))[0, -1].argmax()))
        assert tokens[1 : len(got) + 1] == got
        assert END not in got
        assert tokens[-1] == END or len(got) >= 2 * len(source)


def test_batches_for_a_comparison_count_neither_padding_nor_the_end():
    first, second = token_batches([[5, 6, END], [7, END], [8, 9, 10, END]], batch_size=2)
    assert first["tokens"].tolist() == [[5, 6, END], [7, END, PAD]]
    assert first["attention_mask"].tolist() == [[True, True, False], [True, False, False]]
    assert second["attention_mask"].tolist() == [[True, True, True, False]]
