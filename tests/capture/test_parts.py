"""Words for parts of a network, held against the models' own outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repscope.capture import Capture
from repscope.errors import InputError
from tests.capture import language
from tests.capture.models import Encoder, paper_net, token_batch
from tests.capture.models import ResNet as Residual

pytest.importorskip("transformers")

IDS = language.ids_of(6, 6, 6)
IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def captured(model: nn.Module, layers: Any, batch: Any = IDS) -> dict[str, Tensor]:
    """Every token of every layer, as (items, tokens, features)."""
    rows = Capture(model, layers, reduce="tokens").collect(batch)
    return {name: x.reshape(3, -1, x.shape[1]) for name, x in rows.items()}


def hidden_states(model: nn.Module, batch: dict[str, Tensor]) -> Any:
    with torch.no_grad():
        return model(**batch, output_hidden_states=True)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "vit"])
def test_embeddings_and_residual_stream_are_the_hidden_states(kind: str) -> None:
    model = getattr(language, kind)()
    batch = {"pixel_values": IMAGES} if kind == "vit" else IDS
    output = hidden_states(model, batch)
    got = captured(model, ["residual", "embeddings"], batch)
    names = list(got)
    assert len(names) == 3
    assert names[0] == "embeddings"
    # What transformers calls its last hidden state has been through the final norm, where there is one.
    for name, expected in list(zip(names, output.hidden_states, strict=True))[:2]:
        torch.testing.assert_close(got[name], expected)
    last = got[names[-1]]
    norm = {"gpt2": "ln_f", "llama": "norm", "vit": "layernorm"}.get(kind)
    if norm is not None:
        assert list(captured(model, "final_norm", batch)) == [norm]
        last = captured(model, "final_norm", batch)[norm]
    torch.testing.assert_close(last, output.last_hidden_state)


def test_both_stacks_of_an_encoder_decoder() -> None:
    model, batch = language.t5(), {**IDS, "decoder_input_ids": IDS["input_ids"]}
    output = hidden_states(model, batch)
    got = captured(model, ["residual", "embeddings", "final_norm"], batch)
    assert list(got) == [
        "encoder.embeddings",
        "encoder.block.0",
        "encoder.block.1",
        "encoder.final_layer_norm",
        "decoder.embeddings",
        "decoder.block.0",
        "decoder.block.1",
        "decoder.final_layer_norm",
    ]
    for name, expected in {
        "encoder.embeddings": output.encoder_hidden_states[0],
        "encoder.block.0": output.encoder_hidden_states[1],
        "encoder.final_layer_norm": output.encoder_last_hidden_state,
        "decoder.embeddings": output.decoder_hidden_states[0],
        "decoder.block.0": output.decoder_hidden_states[1],
        "decoder.final_layer_norm": output.last_hidden_state,
    }.items():
        torch.testing.assert_close(got[name], expected)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_attention_and_mlp_add_up_to_the_residual_stream(kind: str) -> None:
    model = getattr(language, kind)()
    got = captured(model, ["embeddings", "attention", "mlp", "residual"])
    x, attention, mlp, residual = list(got.values())[:4]
    torch.testing.assert_close(x + attention + mlp, residual)


@pytest.mark.parametrize("kind", language.DECODERS)
def test_so_they_do_in_decoders_with_peculiar_structures(kind: str) -> None:
    model = language.decoder(kind)
    output = hidden_states(model, IDS)
    parts = {part: list(captured(model, part).values()) for part in ("embeddings", "attention", "mlp", "residual")}
    assert [len(layers) for layers in parts.values()] == [1, 2, 2, 2]
    stream = parts["embeddings"] + parts["residual"]
    torch.testing.assert_close(stream[:2], list(output.hidden_states[:2]))
    for x, attention, mlp, y in zip(stream, parts["attention"], parts["mlp"], stream[1:], strict=False):
        torch.testing.assert_close(x + attention + mlp, y)


def test_t5_adds_three_parts_in_its_decoder() -> None:
    model, batch = language.t5(), {**IDS, "decoder_input_ids": IDS["input_ids"]}
    got = captured(model, ["attention", "mlp", "residual"], batch)
    added = [x for name, x in got.items() if name.startswith("decoder.block.1.")]
    assert len(added) == 3
    torch.testing.assert_close(got["decoder.block.0"] + sum(added), got["decoder.block.1"])


def test_bert_normalises_what_attention_and_mlp_add() -> None:
    model = language.bert()
    got = captured(model, ["embeddings", "attention", "mlp", "residual"])
    x, attention, mlp, residual = list(got.values())[:4]
    block = model.encoder.layer[0]
    with torch.no_grad():
        middle = block.attention.output.LayerNorm(x + attention)
        torch.testing.assert_close(block.output.LayerNorm(middle + mlp), residual)


def test_a_feed_forward_network_that_normalises_its_sum() -> None:
    from transformers import XLNetConfig, XLNetModel

    model = XLNetModel(XLNetConfig(vocab_size=400, d_model=language.WIDTH, n_layer=1, n_head=2, d_inner=24)).eval()
    got = captured(model, ["layer.0.rel_attn", "mlp", "residual"])
    assert list(got) == ["layer.0.rel_attn", "layer.0.ff.layer_2", "layer.0"]
    x, mlp, residual = got.values()
    with torch.no_grad():
        torch.testing.assert_close(model.layer[0].ff.layer_norm(x + mlp), residual)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "t5"])
def test_projected_heads_are_the_attention(kind: str) -> None:
    model = getattr(language, kind)()
    model = model.encoder if kind == "t5" else model
    got = captured(model, ["heads", "attention"])
    first, second, attention = list(got)[:3]
    assert first.endswith(".head0")
    assert second.endswith(".head1")
    assert got[first].shape[-1] == language.WIDTH // 2
    with torch.no_grad():
        projected = model.get_submodule(attention)(torch.cat([got[first], got[second]], -1))
    torch.testing.assert_close(projected, got[attention])


def test_a_head_by_its_name() -> None:
    model = language.gpt2()
    every = captured(model, "heads")
    assert list(captured(model, "h.1.attn.head1")) == ["h.1.attn.head1"]
    only = captured(model, "*.head1")
    assert list(only) == ["h.0.attn.head1", "h.1.attn.head1"]
    torch.testing.assert_close(only["h.1.attn.head1"], every["h.1.attn.head1"])


def test_residual_networks_look_through_their_stages() -> None:
    images = torch.randn(3, 3, 32, 32)
    ours = Capture(language.resnet(), "residual").collect(images)
    assert list(ours) == [f"encoder.stages.{stage}.layers.{block}" for stage in (0, 1) for block in (0, 1)]
    assert list(Capture(language.resnet(), "embeddings").collect(images)) == ["encoder.embeddings"]
    model = Residual()
    got = Capture(model, ["residual", "embeddings"]).collect(torch.randn(2, 3, 8, 8))
    # In the order of execution, although layer2 is registered before layer1.
    assert list(got) == ["embeddings", "layer1.0", "layer1.1", "layer2.0"]


def test_torchs_own_transformer() -> None:
    model, batch = Encoder(), token_batch()
    names = {part: list(Capture(model, part).collect(batch)) for part in ("residual", "attention", "mlp")}
    assert names == {
        "residual": ["encoder.layers.0", "encoder.layers.1"],
        "attention": ["encoder.layers.0.self_attn", "encoder.layers.1.self_attn"],
        "mlp": ["encoder.layers.0.linear2", "encoder.layers.1.linear2"],
    }


def test_a_module_of_the_same_name_comes_first() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.residual, self.head = nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.residual(x))

    assert list(Capture(Net(), "residual").collect(torch.randn(5, 4))) == ["residual"]


@pytest.mark.parametrize(
    ("model", "part", "reason"),
    [
        (paper_net, "residual", "none of its modules is a block"),
        (language.bert, "final_norm", "post-norm blocks end with one"),
        (language.resnet, "heads", "none of its attentions"),
        (language.resnet, "mlp", "its blocks have none"),
        (Encoder, "heads", "none of its attentions has a projection that is a module"),
    ],
)
def test_parts_that_are_not_there(model: Any, part: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"layers must name parts that the model has, got '{part}' .*{reason}"):
        Capture(model(), part)


def test_attentions_in_a_list_of_their_own_are_no_blocks() -> None:
    from transformers import XLMConfig, XLMModel

    model = XLMModel(XLMConfig(emb_dim=language.WIDTH, n_layers=2, n_heads=2, vocab_size=language.VOCABULARY))
    with pytest.raises(InputError, match=r"got 'residual' .* for a XLMModel: none of its modules is a block"):
        Capture(model, "residual")


def test_final_norm_of_a_class_with_a_number_behind_its_name() -> None:
    class LayerNorm1P(nn.LayerNorm):
        """As in Nemotron."""

    model = language.llama()
    model.norm = LayerNorm1P(language.WIDTH)
    assert list(captured(model, "final_norm")) == ["norm"]


def test_heads_need_their_number() -> None:
    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(4, 4)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention, self.linear = SelfAttention(), nn.Linear(4, 4)

    model = nn.Sequential(Block(), Block())
    with pytest.raises(InputError, match=r"tell their number of heads, got '0\.attention' without any of num_heads"):
        Capture(model, "heads")
    model[0].attention.num_heads = model[1].attention.num_heads = 4
    assert Capture(model, "heads") is not None
