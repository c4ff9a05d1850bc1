"""Tokens as examples: padding, samples, words and characters, and models that read the same text differently."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from repscope import compare
from repscope.capture import Capture, TextModel, batches, representations
from repscope.capture.tokens import Text, Tokens, sample_of
from repscope.errors import CaptureError, CaptureWarning, InputError
from tests.capture import language
from tests.capture.language import SENTENCES, ids_of

pytest.importorskip("transformers")

ROUNDING = {"rtol": 1e-4, "atol": 2e-6}
"""Of float32: sums over other numbers of tokens are added up in another order."""

PARTS = ["embeddings", "residual", "attention", "mlp", "heads"]


class Sentences:
    """Sentences as a data set; a plain list would be a list of batches."""

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences

    def __len__(self) -> int:
        return len(self.sentences)

    def __getitem__(self, index: int) -> str:
        return self.sentences[index]


def text_model(kind: str, **options: Any) -> TextModel:
    tokenizer = language.word_pieces() if kind in ("bert", "roberta") else language.byte_pairs()
    return TextModel(getattr(language, kind)(**options), tokenizer)


def captured(model: Any, batch: Any, reduce: str, layers: Any = PARTS) -> dict[str, Tensor]:
    return Capture(model, layers, reduce=reduce).collect(batch)


class TestPadding:
    @pytest.mark.parametrize("reduce", ["tokens", "mean", "first", "last", "sample:3:1"])
    @pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "t5"])
    def test_sentences_together_and_alone_give_the_same(self, kind: str, reduce: str) -> None:
        model = text_model(kind)
        together = captured(model, list(SENTENCES), reduce)
        alone = [captured(model, [sentence], reduce) for sentence in SENTENCES]
        assert len(together) >= 9
        for name, x in together.items():
            torch.testing.assert_close(x, torch.cat([rows[name] for rows in alone]), **ROUNDING)

    @pytest.mark.parametrize("reduce", ["tokens", "auto", "first", "last", "sample:3"])
    @pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "roberta", "esm", "t5"])
    def test_padding_on_the_left(self, kind: str, reduce: str) -> None:
        model = getattr(language, kind)()
        model = model.encoder if kind == "t5" else model
        right, left = ids_of(7, 3, 5), ids_of(7, 3, 5, left=True)
        for item, length in enumerate((7, 3, 5)):
            left["input_ids"][item, -length:] = right["input_ids"][item, :length]
        expected, got = (captured(model, batch, reduce) for batch in (right, left))
        for name, x in expected.items():
            torch.testing.assert_close(got[name], x, **ROUNDING)

    @pytest.mark.parametrize("reduce", ["tokens", "mean", "last", "sample:3:1"])
    def test_where_a_layer_has_the_tokens_of_all_items_in_one_axis(self, reduce: str) -> None:
        model = language.decoder("opt")
        batch = ids_of(7, 3, 5)
        together = captured(model, batch, reduce, ["mlp", "residual"])
        alone = [
            captured(model, {"input_ids": ids[None, mask == 1]}, reduce, "mlp")
            for ids, mask in zip(*batch.values(), strict=True)
        ]
        for name, x in together.items():
            assert len(x) == {"tokens": 15, "sample:3:1": 9}.get(reduce, 3)
            if name in alone[0]:
                torch.testing.assert_close(x, torch.cat([rows[name] for rows in alone]), **ROUNDING)

    @pytest.mark.parametrize("cache", [True, False])
    @pytest.mark.parametrize("attention", ["sdpa", "eager"])
    @pytest.mark.parametrize("kind", ["gpt2", "llama"])
    def test_key_value_cache_and_kind_of_attention_change_nothing(self, kind: str, attention: str, cache: bool) -> None:
        torch.manual_seed(3)
        model = getattr(language, kind)()
        expected = captured(model, ids_of(7, 3, 5), "tokens")
        torch.manual_seed(3)
        other = getattr(language, kind)(attn_implementation=attention, use_cache=cache)
        got = captured(other, ids_of(7, 3, 5), "tokens")
        for name, x in expected.items():
            torch.testing.assert_close(got[name], x, **ROUNDING)

    @pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
    def test_bfloat16(self, kind: str) -> None:
        model = getattr(language, kind)().to(torch.bfloat16)
        single = getattr(language, kind)().to(torch.float32)
        single.load_state_dict(model.state_dict())
        batch = ids_of(7, 3, 5, 6, 7, 7)
        got, expected = (captured(m, batch, "tokens", "residual") for m in (model, single))
        for name, x in got.items():
            assert x.dtype == torch.bfloat16
            torch.testing.assert_close(x.float(), expected[name], rtol=0.1, atol=0.05)
        result = compare({"half": model, "single": single}, data=[batch], layers="residual", reduce="tokens")
        # Of the same layer at two precisions: 8 bits of mantissa cost some 2**-8 a step.
        assert result.values[0, 2] == pytest.approx(1, abs=5e-3)
        assert result.values[1, 3] == pytest.approx(1, abs=5e-3)

    def test_both_sides_of_an_encoder_decoder_have_their_own_mask(self) -> None:
        model, source, target = language.t5(), ids_of(7, 3, 5), ids_of(2, 6, 4, seed=1)
        batch = {
            **source,
            "decoder_input_ids": target["input_ids"],
            "decoder_attention_mask": target["attention_mask"],
        }
        got = captured(model, batch, "mean", ["residual", "final_norm", "*.embed_tokens"])
        for item in range(3):
            real = {False: source["attention_mask"][item].sum(), True: target["attention_mask"][item].sum()}
            alone = {key: x[item : item + 1, : real[key.startswith("decoder")]] for key, x in batch.items()}
            for name, x in captured(model, alone, "mean", ["residual", "final_norm", "*.embed_tokens"]).items():
                torch.testing.assert_close(got[name][item : item + 1], x, **ROUNDING)
        assert {"encoder.embed_tokens", "decoder.embed_tokens"} < set(got)

    def test_single_tokens_of_encoder_and_decoder_do_not_mix(self) -> None:
        model, source = language.t5(), ids_of(5, 4)
        other = {**source, "decoder_input_ids": source["input_ids"].flip(1).clamp(min=3)}
        with pytest.raises(
            CaptureError, match=r"tokens of the source at 'encoder\.block\.\d' and of the target at 'dec"
        ):
            captured(model, other, "tokens", "residual")
        assert captured(model, other, "tokens", ["decoder.block.?", "decoder.*.EncDecAttention.o"])
        # The keys of the cross-attention are made of the encoder's tokens, its output of the decoder's.
        assert captured(model, other, "tokens", ["encoder.block.0", "decoder.*.EncDecAttention.k"])

    def test_a_model_without_a_mask_refuses_padding(self) -> None:
        class Bag(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embed, self.out = torch.nn.Embedding(200, 4), torch.nn.Linear(4, 4)

            def forward(self, input_ids: Tensor) -> Tensor:
                return self.out(self.embed(input_ids))

        assert captured(Bag(), ids_of(4, 4), "tokens", "out")["out"].shape == (8, 4)
        with pytest.raises(CaptureError, match=r"model must take attention_mask to run on padded batches"):
            captured(Bag(), ids_of(4, 3), "tokens", "out")

    def test_a_model_that_counts_from_the_left_edge_refuses_padding_there(self) -> None:
        from transformers import BartConfig, BartModel

        sizes = {"d_model": language.WIDTH, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 24}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": language.VOCABULARY}
        model = BartModel(BartConfig(**sizes, **heads)).encoder
        assert captured(model, ids_of(4, 3), "mean", "residual")
        with pytest.raises(CaptureError, match=r"padding on the right for a BartEncoder, .*padding_side to 'right'"):
            captured(model, ids_of(4, 3, left=True), "mean", "residual")

    def test_a_model_that_drops_the_mask_refuses_padding(self) -> None:
        from transformers import FNetConfig, FNetModel

        model = TextModel(FNetModel(FNetConfig(**language.SIZES, tpu_short_seq_length=8)), language.word_pieces())
        assert captured(model, SENTENCES[:1] * 2, "mean", "residual")
        with pytest.raises(CaptureError, match=r"model must take attention_mask to run on padded batches"):
            captured(model, SENTENCES, "mean", "residual")


class TestSample:
    def test_names(self) -> None:
        assert sample_of("sample") == (8, 0)
        assert sample_of("sample:3") == (3, 0)
        assert sample_of("sample:3:11") == (3, 11)
        assert sample_of("sample:0") is None
        assert sample_of("samples") is None

    def test_is_of_real_tokens_in_order_and_without_replacement(self) -> None:
        batch = ids_of(9, 2, 6)
        tokens = Tokens(batch["attention_mask"].bool(), batch["input_ids"])
        chosen = tokens.sampled(4, 0, batch["input_ids"].shape)
        assert chosen.sum(1).tolist() == [4, 2, 4]
        assert not (chosen & ~tokens.real).any()
        x = torch.randn(3, 9, 5)
        every = Capture(language.gpt2(), "residual", reduce="tokens").collect(batch)
        some = Capture(language.gpt2(), "residual", reduce="sample:9").collect(batch)
        assert all(some[name].shape == every[name].shape for name in every)
        assert x[chosen].shape == (10, 5)

    def test_depends_on_the_seed_and_the_sentence_alone(self) -> None:
        batch = ids_of(9, 9, 6)
        real, ids = batch["attention_mask"].bool(), batch["input_ids"]
        chosen = Tokens(real, ids).sampled(4, 0, ids.shape)
        again = Tokens(real.flip(0), ids.flip(0)).sampled(4, 0, ids.shape)
        np.testing.assert_array_equal(chosen.flip(0).numpy(), again.numpy())
        assert not torch.equal(chosen, Tokens(real, ids).sampled(4, 1, ids.shape))
        assert not torch.equal(chosen[0], chosen[1])  # another sentence of the same length

    def test_every_token_is_as_likely_as_another(self) -> None:
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(0, 100, (1000, 8), generator=generator)
        counts = Tokens(None, ids).sampled(2, 0, ids.shape).sum(0).numpy()
        # Binomial of 1000 draws at 1/4: standard deviation 13.7; six of them are a chance below 1e-8.
        assert np.abs(counts - 250).max() < 82

    def test_positions_of_images(self) -> None:
        images = torch.randn(4, 3, 16, 16)
        x = representations(language.vit(), images, "residual", reduce="sample:3")
        assert {tuple(rows.shape) for rows in x.values()} == {(12, language.WIDTH)}


def words_by_hand(sentences: tuple[str, ...], spans: Any, states: list[Tensor]) -> list[Tensor]:
    """For every word of white space the mean of the states of the tokens that share a character with it."""
    rows = []
    for sentence, tokens, x in zip(sentences, spans, states, strict=True):
        start = 0
        for word in sentence.split(" "):
            stop = start + len(word)
            inside = [i for i, (a, b) in enumerate(tokens) if max(a, start) < min(b, stop)]
            assert inside
            rows.append(x[inside].mean(0))
            start = stop + 1
    return rows


@pytest.mark.filterwarnings("ignore::repscope.errors.DiagnosticWarning")  # signs in one token are alike
class TestWordsAndCharacters:
    @pytest.mark.parametrize("kind", ["bert", "gpt2"])
    def test_words_are_the_means_of_their_tokens(self, kind: str) -> None:
        model = text_model(kind)
        _, text = model.tokenize(SENTENCES)
        tokens = captured(model, list(SENTENCES), "tokens", "residual")
        got = captured(model, list(SENTENCES), "words", "residual")
        lengths = [len(spans) for spans in text.spans]
        for name, x in got.items():
            expected = words_by_hand(SENTENCES, text.spans, list(tokens[name].split(lengths)))
            torch.testing.assert_close(x, torch.stack(expected))

    def test_every_character_has_its_token(self) -> None:
        model = text_model("gpt2")
        _, text = model.tokenize(SENTENCES)
        states = captured(model, list(SENTENCES), "tokens", "h.0")["h.0"]
        states = states.split([len(spans) for spans in text.spans])
        expected = [
            x[[i for i, (a, b) in enumerate(spans) if a <= place < b]].mean(0)  # an é is two bytes, so maybe two tokens
            for sentence, spans, x in zip(SENTENCES, text.spans, states, strict=True)
            for place, sign in enumerate(sentence)
            if not sign.isspace()
        ]
        got = captured(model, list(SENTENCES), "characters", "h.0")["h.0"]
        torch.testing.assert_close(got, torch.stack(expected))

    def test_padding_on_the_left_of_the_mask_moves_the_tokens(self) -> None:
        spans = [[(0, 2), (3, 5)], [(0, 1)]]
        text = Text(("ab cd", "e"), spans)
        x = torch.arange(6.0).reshape(2, 3, 1)
        left = Tokens(torch.tensor([[False, True, True], [False, False, True]]), None, text)
        assert left.means("words", x).flatten().tolist() == [1, 2, 5]
        right = Tokens(torch.tensor([[True, True, False], [True, False, False]]), None, text)
        assert right.means("words", x).flatten().tolist() == [0, 1, 3]

    def test_a_token_over_two_words_counts_for_both(self) -> None:
        text = Text(("ab cd",), [[(0, 4), (4, 5)]])
        x = torch.tensor([[[1.0], [3.0]]])
        assert Tokens(None, None, text).means("words", x).flatten().tolist() == [1, 2]

    @pytest.mark.parametrize("reduce", ["words", "characters"])
    def test_two_tokenizers_on_the_same_examples(self, reduce: str) -> None:
        a, b = text_model("bert"), text_model("gpt2")
        data = Sentences(*SENTENCES)
        result = compare({"a": a, "b": b}, data=data, layers="residual", reduce=reduce, batch_size=2)
        pattern = {"words": str.split, "characters": lambda text: "".join(text.split())}[reduce]
        assert result.n == sum(len(pattern(sentence)) for sentence in SENTENCES)
        assert result.conventions["reduce"] == reduce
        together = compare({"a": a, "b": b}, data=data, layers="residual", reduce=reduce, batch_size=6)
        np.testing.assert_allclose(result.values, together.values, rtol=1e-4, atol=1e-5)

    def test_what_one_model_does_not_see_is_left_out_for_all(self) -> None:
        a, b = text_model("bert"), text_model("gpt2")
        strange = ("one \x00 two", *SENTENCES)  # BERT drops control signs
        with pytest.warns(CaptureWarning, match=r"every word or character must have a token in each model"):
            result = compare({"a": a, "b": b}, data=Sentences(*strange), layers="residual", reduce="words")
        assert result.n == sum(len(sentence.split()) for sentence in SENTENCES) + 2
        assert sum("must have a token in each model" in text for text in result.warnings) == 1

    def test_needs_text_and_a_tokenizer_with_offsets(self) -> None:
        with pytest.raises(CaptureError, match=r"reduce='words' must be used on text that is tokenized here"):
            captured(language.gpt2(), ids_of(4, 3), "words")
        with pytest.raises(CaptureError, match=r"reduce='words' must be used with a tokenizer that tells which"):
            Tokens(None, None, Text(("a",), None)).units("words")


@pytest.mark.filterwarnings("ignore::repscope.errors.DiagnosticWarning")  # [CLS] of random weights hardly varies
class TestNeverMisaligned:
    @pytest.mark.parametrize("reduce", ["tokens", "sample:2"])
    def test_different_tokens_are_refused(self, reduce: str) -> None:
        a, b = text_model("bert"), text_model("gpt2")
        with pytest.raises(CaptureError, match=r"different ones for a and b: \d+ and \d+ in 'Two men.*reduce='words'"):
            compare({"a": a, "b": b}, data=Sentences(*SENTENCES), layers="residual", reduce=reduce)

    def test_functions_that_give_tokens_are_tokens(self) -> None:
        def tokens(x: Tensor, mask: Tensor | None) -> Tensor:
            assert mask is not None
            return x[mask][:20]

        def sentences(x: Tensor, mask: Tensor | None) -> Tensor:
            return x[:, 0]

        a, b = text_model("bert"), text_model("gpt2")
        with pytest.raises(CaptureError, match="models must have the same tokens where single tokens are the examples"):
            compare({"a": a, "b": b}, data=Sentences(*SENTENCES), layers="residual", reduce=tokens)
        assert compare({"a": a, "b": b}, data=Sentences(*SENTENCES), layers="residual", reduce=sentences).n == 6

    def test_also_where_their_numbers_agree(self) -> None:
        a, b, data = text_model("gpt2"), text_model("gpt2"), Sentences(*SENTENCES)
        b.tokenizer = Shifted(a.tokenizer)
        with pytest.raises(CaptureError, match="models must have the same tokens where single tokens are the examples"):
            compare({"a": a, "b": b}, data=data, layers="residual", reduce="tokens")

    def test_sentences_can_always_be_compared(self) -> None:
        a, b = text_model("bert"), text_model("gpt2")
        for reduce in ("auto", "mean", "first", "last"):
            result = compare({"a": a, "b": b}, data=Sentences(*SENTENCES), layers="residual", reduce=reduce)
            assert result.n == len(SENTENCES)
            assert result.values.shape == (4, 4)

    def test_images_in_patches_of_two_sizes(self) -> None:
        a, b = language.vit(), language.vit(patch_size=4)
        with pytest.raises(CaptureError, match=r"the same number of tokens.*got 5 .*and 17"):
            compare({"a": a, "b": b}, data=torch.randn(5, 3, 16, 16), layers="residual", reduce="sample:2")


class Shifted:
    """A tokenizer with other numbers for the same tokens."""

    is_fast, model_max_length, pad_token_id = True, 64, 0

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, *args: Any, **options: Any) -> dict[str, Any]:
        found = dict(self.tokenizer(*args, **options))
        return {**found, "input_ids": [[token + 1 for token in ids] for ids in found["input_ids"]]}


class TestTextModel:
    def test_runs_by_itself(self) -> None:
        model = text_model("bert")
        assert model(["A dog runs."]).last_hidden_state.shape[0] == 1

    def test_is_transparent(self) -> None:
        model = text_model("gpt2")
        assert list(captured(model, ["A dog runs."], "mean", "residual")) == ["h.0", "h.1"]
        batch = ids_of(4, 3)
        for name, x in captured(model, batch, "mean").items():
            torch.testing.assert_close(x, captured(model.model, batch, "mean")[name])

    def test_of_an_encoder_decoder_the_encoder_is_taken(self) -> None:
        assert list(captured(text_model("t5"), ["A dog."], "mean", "residual")) == ["block.0", "block.1"]

    def test_text_needs_a_tokenizer(self) -> None:
        with pytest.raises(InputError, match=r"model must have a tokenizer to run on text, got a GPT2Model by itself"):
            captured(language.gpt2(), ["A dog."], "mean")

    def test_long_sentences(self) -> None:
        text = "dog " * 70
        model = text_model("gpt2")
        message = r"at most the 64 tokens that the model takes, got \d+ for 'dog dog .*…'.*--truncate"
        with pytest.raises(InputError, match=message):
            model.tokenize(["snow", text])
        model.truncate = True
        inputs, _ = model.tokenize(["snow", text])
        assert inputs["input_ids"].shape == (2, 64)

    def test_a_limit_counted_from_behind_the_padding_token(self) -> None:
        tokenizer = language.word_pieces()
        tokenizer.model_max_length = int(1e30)
        assert TextModel(language.roberta(pad_token_id=1), tokenizer).longest == 62
        assert TextModel(language.bert(), tokenizer).longest == 64
        assert TextModel(language.t5(), tokenizer).longest is None

    def test_sentences_without_tokens(self) -> None:
        with pytest.raises(InputError, match=r"every sentence must have a token, got none for ''"):
            text_model("gpt2").tokenize(["snow", ""])

    def test_a_tokenizer_of_another_model(self) -> None:
        model = TextModel(language.gpt2(vocab_size=20), language.byte_pairs())
        with pytest.raises(InputError, match=r"tokenizer must belong to the model, got token \d+ .* knows 20 tokens"):
            model.tokenize(["A dog runs."])

    def test_a_tokenizer_is_known_again(self) -> None:
        model = text_model("bert")
        again = copy.deepcopy(model)
        model.tokenize(list(SENTENCES))
        again.truncate = True
        again.tokenize(["snow"])
        assert model.tokenizer_fingerprint == again.tokenizer_fingerprint != text_model("gpt2").tokenizer_fingerprint

    def test_a_model_that_returns_no_hidden_states(self) -> None:
        class Counts(torch.nn.Module):
            def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
                return attention_mask.sum(1)

        with pytest.raises(CaptureError, match=r"got none with a floating-point output .* Name others with layers="):
            captured(TextModel(Counts(), language.byte_pairs()), ["A dog."], "mean", None)

    def test_batches_of_sentences(self) -> None:
        assert [len(batch) for batch in batches(Sentences(*SENTENCES), batch_size=4)] == [4, 2]
