"""Language models with their tokenizers: from sentences to what a model is called on."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from repscope.capture.tokens import Text
from repscope.errors import InputError

_NO_LIMIT = 1 << 30
"""Tokenizers without a limit say some astronomical number."""


class TextModel(nn.Module):
    """A language model that takes sentences: batches of text are tokenized for it, each model by its own tokenizer.

    Sentences are padded on the right, whatever the tokenizer's usual side, so that positions are those of the sentence
    alone. Padding takes the tokenizer's padding token, or any other where it has none: the attention mask says what
    counts. Of an encoder-decoder the encoder is taken, because one text has no translation to feed the decoder; to
    capture both, pass batches with ``input_ids`` and ``decoder_input_ids`` to the model itself.

    Args:
        model: a model of Hugging Face, or any module with ``forward(input_ids, attention_mask)``.
        tokenizer: a tokenizer of Hugging Face; a fast one for words and characters.
        truncate: cut sentences that are longer than the model takes.

    Attributes:
        model: the module that runs.
        tokenizer: the tokenizer.
        longest: tokens of the longest sentence that the model takes, special ones included; None without a limit.

    Example:
        >>> model = TextModel(AutoModel.from_pretrained("gpt2"), AutoTokenizer.from_pretrained("gpt2"))
        >>> compare(model, other, data=TextFile("sentences.txt"), layers="residual", reduce="words")
    """

    def __init__(self, model: nn.Module, tokenizer: Any, *, truncate: bool = False) -> None:
        super().__init__()
        config = getattr(model, "config", None)
        if getattr(config, "is_encoder_decoder", False) and hasattr(model, "get_encoder"):
            find: Any = model.get_encoder
            model = find()
        self.model, self.tokenizer, self.truncate = model, tokenizer, truncate
        self.longest = _longest(model, tokenizer)
        self.training = model.training

    @property
    def tokenizer_fingerprint(self) -> str:
        """A hash of all that the tokenizer does; of one that doesn't tell, of its vocabulary."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            content = repr(sorted(self.tokenizer.get_vocab().items()))
        else:
            # Padding and truncation are as the last call left them.
            content = json.dumps({**json.loads(backend.to_str()), "padding": None, "truncation": None}, sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def forward(self, sentences: Sequence[str]) -> Any:
        """The model's output for a batch of sentences."""
        inputs, _ = self.tokenize(sentences)
        return self.model(**inputs)

    def tokenize(self, sentences: Sequence[str]) -> tuple[dict[str, Tensor], Text]:
        """The inputs for a batch of sentences, and which characters each token stands for.

        Returns:
            ``input_ids`` and ``attention_mask``, both (items, tokens), and the text.

        Raises:
            InputError: a sentence is longer than the model takes, has no tokens, or has one that the model doesn't
                know.
        """
        is_fast = bool(getattr(self.tokenizer, "is_fast", False))
        found = self.tokenizer(
            list(sentences),
            truncation=self.truncate and self.longest is not None,
            max_length=self.longest if self.truncate else None,
            return_offsets_mapping=is_fast,
            return_attention_mask=False,
            verbose=False,
        )
        ids = [list(tokens) for tokens in found["input_ids"]]
        self._check(sentences, ids)
        tokens = max(map(len, ids))
        padding = getattr(self.tokenizer, "pad_token_id", None) or 0
        batch = torch.full((len(ids), tokens), padding, dtype=torch.int64)
        mask = torch.zeros_like(batch)
        for item, sentence in enumerate(ids):
            batch[item, : len(sentence)] = torch.tensor(sentence, dtype=torch.int64)
            mask[item, : len(sentence)] = 1
        spans = [[tuple(span) for span in item] for item in found["offset_mapping"]] if is_fast else None
        return {"input_ids": batch, "attention_mask": mask}, Text(tuple(sentences), spans)

    def _check(self, sentences: Sequence[str], ids: Sequence[Sequence[int]]) -> None:
        known = _vocabulary(self.model)
        for sentence, tokens in zip(sentences, ids, strict=True):
            if not tokens:
                raise InputError(
                    f"TextModel: every sentence must have a token, got none for {_shown(sentence)}. Leave it out."
                )
            if self.longest is not None and len(tokens) > self.longest:
                raise InputError(
                    f"TextModel: sentences must have at most the {self.longest} tokens that the model takes, got "
                    f"{len(tokens)} for {_shown(sentence)}. Split it, or cut it with truncate=True (--truncate)."
                )
            if known is not None and max(tokens) >= known:
                raise InputError(
                    f"TextModel: tokenizer must belong to the model, got token {max(tokens)} for {_shown(sentence)}, "
                    f"and the model knows {known} tokens."
                )


def _is_text(batch: Any) -> bool:
    """Whether a batch holds sentences."""
    return isinstance(batch, Sequence) and len(batch) > 0 and all(isinstance(item, str) for item in batch)


def text_of(batch: Any) -> Sequence[str] | None:
    """The sentences of a batch: all of it, or what stands first in a tuple or list (sentences, labels)."""
    if _is_text(batch):
        return batch  # type: ignore[no-any-return]
    has_labels = isinstance(batch, (tuple, list)) and len(batch) > 0 and not isinstance(batch[0], str)
    return batch[0] if has_labels and _is_text(batch[0]) else None


def counts_from_padding(model: nn.Module) -> bool:
    """Whether a model numbers its tokens itself, from behind the padding token, as RoBERTa and MPNet do."""
    counter = "create_position_ids_from_input_ids"  # a method, or a function beside the class
    return any(
        hasattr(module, counter) or hasattr(sys.modules.get(type(module).__module__), counter)
        for module in model.modules()
    )


def _longest(model: nn.Module, tokenizer: Any) -> int | None:
    """What the tokenizer says, and what the positions of the model allow."""
    config = getattr(model, "config", None)
    limits = [getattr(tokenizer, "model_max_length", None), getattr(config, "max_position_embeddings", None)]
    if counts_from_padding(model):
        padding = getattr(config, "pad_token_id", None)
        limits[1] = limits[1] - 1 - (padding or 0) if isinstance(limits[1], int) else None  # counted from behind it
    known = [limit for limit in limits if isinstance(limit, int) and 0 < limit < _NO_LIMIT]
    return min(known) if known else None


def _vocabulary(model: nn.Module) -> int | None:
    get: Any = getattr(model, "get_input_embeddings", None)
    table = None if get is None else get()
    size = getattr(table, "num_embeddings", None)
    return size if isinstance(size, int) else None


def _shown(sentence: str) -> str:
    return repr(sentence if len(sentence) <= 40 else f"{sentence[:39]}…")
