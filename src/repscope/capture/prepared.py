"""A batch as a model is called on it, with what is known of its tokens; and whether models see the same ones."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from repscope.capture.data import Batch, attention_mask, model_inputs
from repscope.capture.nested import rebuilt, tensor_of, with_values
from repscope.capture.reduce import TOKEN_LEVEL
from repscope.capture.text import counts_from_padding
from repscope.capture.tokens import UNITS, BatchTokens, Text, Tokens
from repscope.errors import CaptureError, InputError

if TYPE_CHECKING:
    from repscope.capture.trace import PlannedLayer


_FROM_THE_EDGE = re.compile(r"(Learned|Sinusoidal)PositionalEmbedding$")
"""Classes of absolute positions in the encoder-decoders of Hugging Face."""


@dataclass(frozen=True)
class Prepared:
    """A batch, ready for a model.

    Attributes:
        batch: what the model is called on.
        items: how many items it holds; None if it doesn't say.
        tokens: its tokens.
    """

    batch: Batch
    items: int | None
    tokens: BatchTokens


def tokens_of(batch: Batch, text: Text | None = None) -> BatchTokens:
    """The tokens of a batch, from its ``input_ids``, ``attention_mask`` and what a decoder reads.

    Raises:
        CaptureError: a mask isn't one of (items, tokens).
    """
    keywords = _keywords(batch)
    source = Tokens(attention_mask(batch), _content(batch, keywords), text)
    ids, labels = _tensor(keywords.get("decoder_input_ids")), _tensor(keywords.get("labels"))
    mask = _tensor(keywords.get("decoder_attention_mask"))
    if ids is None and mask is None and (labels is None or labels.ndim != 2 or "input_ids" not in keywords):
        return BatchTokens(source, source)
    if mask is None and ids is None and labels is not None:
        mask = (labels != -100).long()  # what the loss leaves out is padding
    if mask is None and ids is not None:
        mask = torch.ones_like(ids)
    real = None if mask is None else attention_mask({"attention_mask": mask}, argument="decoder_attention_mask")
    return BatchTokens(source, Tokens(real, ids if ids is not None else labels), has_target=True)


def with_positions(batch: Batch, model: nn.Module) -> Batch:
    """The batch with the position of each token in its own sentence, where padding on the left would shift it.

    Models of Hugging Face that number positions from the left edge of the batch take ``position_ids`` for this, as
    their own ``generate`` gives them. Models that count from the padding (RoBERTa) need none.

    Raises:
        CaptureError: the model numbers positions from the left edge and can't be told others (BART).
    """
    keywords = _keywords(batch)
    if "attention_mask" not in keywords or "position_ids" in keywords or not hasattr(model, "config"):
        return batch
    mask = attention_mask(batch)
    if mask is None or bool(mask[:, 0].all()) or counts_from_padding(model):
        return batch
    if "position_ids" not in inspect.signature(model.forward).parameters:
        if any(_FROM_THE_EDGE.search(type(module).__name__) for module in model.modules()):
            raise CaptureError(
                f"Capture: attention_mask must have its padding on the right for a {type(model).__name__}, which "
                "numbers tokens from the left edge of the batch and takes no position_ids, got padding on the left. "
                "Set the tokenizer's padding_side to 'right'."
            )
        return batch
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    placed = {**keywords, "position_ids": positions}
    if isinstance(batch, Mapping):
        return with_values(batch, placed)
    return rebuilt(batch, [with_values(batch[0], placed), *batch[1:]])


def check_mask_accepted(batch: Batch, accepted: Mapping[str, Any], model: nn.Module, name: str) -> None:
    """Refuses padding for a model that can't be told of it.

    Raises:
        CaptureError: the batch is padded, and the model's forward has no ``attention_mask``.
    """
    is_told = "attention_mask" in accepted and not _drops_mask(model)
    mask = None if is_told else attention_mask(batch)
    if mask is not None and not bool(mask.all()):
        raise CaptureError(
            f"Capture: {name} must take attention_mask to run on padded batches, got a forward without it, which "
            "would read the padding as text. Give all items of a batch one length, or take batch_size=1."
        )


def _drops_mask(model: nn.Module) -> bool:
    """Whether a model of Hugging Face names its inputs, and the mask would be among others, of no effect (FNet)."""
    names = inspect.signature(model.forward).parameters if hasattr(model, "config") else {}
    return "input_ids" in names and "attention_mask" not in names


def check_one_kind_of_tokens(planned: Sequence[PlannedLayer], tokens: BatchTokens) -> None:
    """Refuses to compare single tokens of an encoder with single tokens of a decoder.

    Raises:
        CaptureError: layers of both are reduced to their tokens, and the two read different text.
    """
    layers = [layer for layer in planned if layer.level in (*TOKEN_LEVEL, *UNITS)]
    sides = {layer.recipe.target: layer.info.name for layer in layers}
    if len(sides) == 2 and not _same(tokens.source, tokens.target):
        raise CaptureError(
            f"Capture: reduce must give layers of an encoder and a decoder the same examples, got tokens of the source "
            f"at '{sides[False]}' and of the target at '{sides[True]}'. Compare per sentence, with reduce='mean', or "
            "choose layers of one of them."
        )


def aligned(
    prepared: Sequence[Prepared], levels: Sequence[frozenset[str]], names: Sequence[str]
) -> tuple[list[Prepared], int]:
    """One batch as several models see it, with the same examples for all.

    Args:
        prepared: the batch for each model.
        levels: the reductions of each model's layers.
        names: what messages call the models.

    Returns:
        The batches, and how many words and characters were left out because a model has no token for them.

    Raises:
        CaptureError: examples are tokens, and the models have different ones.
    """
    wanted = frozenset().union(*levels)
    if wanted & TOKEN_LEVEL:
        first = prepared[0].tokens.source
        for other, name in zip(prepared[1:], names[1:], strict=True):
            if not _same(first, other.tokens.source):
                raise CaptureError(_different_tokens(prepared[0], other, names[0], name))
    left_out = 0
    result = list(prepared)
    for kind in sorted(wanted & UNITS.keys()):
        covered = [batch.tokens.source.units(kind).covered for batch in result]
        keep = np.logical_and.reduce(covered)
        left_out += int(np.logical_or.reduce(covered).sum() - keep.sum())
        result = [
            replace(batch, tokens=replace(batch.tokens, source=source, target=source))
            for batch in result
            for source in [batch.tokens.source.keeping(kind, keep)]
        ]
    return result, left_out


def check_all_covered(prepared: Prepared, levels: frozenset[str]) -> None:
    """Refuses words and characters without a token, where nobody can leave them out for other models, too.

    Raises:
        CaptureError: there are some; the message says the first.
    """
    for kind in sorted(levels & UNITS.keys()):
        tokens = prepared.tokens.source
        units = tokens.units(kind)
        missing = np.flatnonzero(~units.covered)
        if missing.size and tokens.text is not None:
            item, number = units.names[missing[0]].tolist()
            unit = UNITS[kind].findall(tokens.text.items[item])[number]
            raise CaptureError(
                f"write_store: every one of the {kind} must have a token to be stored, so that stores of other models "
                f"have the same, got none for {unit!r} in {tokens.text.items[item][:40]!r}. Leave the sentence out, or "
                "compare the models themselves, which leaves such cases out."
            )


def check_one_number_of_tokens(counts: Mapping[str, int]) -> None:
    """Refuses a sample of tokens from layers with different numbers of them: other positions would be drawn.

    Args:
        counts: names for messages, and the tokens of each item.

    Raises:
        CaptureError: they differ in their numbers of tokens.
    """
    if len(set(counts.values())) > 1:
        first, n = next(iter(counts.items()))
        other, m = next((name, count) for name, count in counts.items() if count != n)
        raise CaptureError(
            f"compare: layers must have the same number of tokens to sample some, got {n} of {first} and {m} of "
            f"{other}. Compare per item, with reduce='mean' or 'first'."
        )


def _different_tokens(a: Prepared, b: Prepared, name_a: str, name_b: str) -> str:
    text, count = a.tokens.source.text, [_counts(batch.tokens.source) for batch in (a, b)]
    what = ""
    if count[0] is not None and count[1] is not None and len(count[0]) == len(count[1]):
        item = next((i for i, (x, y) in enumerate(zip(*count, strict=True)) if x != y), None)
        if item is not None:
            where = f"in {text.items[item][:40]!r}" if text is not None else f"in item {item} of the batch"
            what = f": {count[0][item]} and {count[1][item]} {where}"
    return (
        "compare: models must have the same tokens where single tokens are the examples, got different ones for "
        f"{name_a} and {name_b}{what}. Compare words with reduce='words', characters with reduce='characters', or "
        "sentences with reduce='mean'."
    )


def _counts(tokens: Tokens) -> list[int] | None:
    return None if tokens.real is None else [int(count) for count in tokens.real.sum(1)]


def _same(a: Tokens, b: Tokens) -> bool:
    """Whether two batches have the same tokens, whatever stands in the padding; True where nothing tells."""
    if a.real is not None and b.real is not None and not torch.equal(a.real, b.real):
        return False
    x, y = _unpadded(a), _unpadded(b)
    return x is None or y is None or torch.equal(x, y)


def _unpadded(tokens: Tokens) -> Tensor | None:
    content, real = tokens.content, tokens.real
    return content if content is None or real is None or content.shape != real.shape else content[real]


def _keywords(batch: Batch) -> dict[str, Any]:
    if not (isinstance(batch, (Mapping, tuple, list)) and len(batch)):
        return {}
    try:
        return model_inputs(batch)[1]
    except InputError:
        return {}


def _content(batch: Batch, keywords: Mapping[str, Any]) -> Tensor | None:
    """What the items are told apart by: token ids, or the model's only input."""
    if keywords:
        named = keywords.get("input_ids")
        return _tensor(next(iter(keywords.values())) if named is None else named)
    if isinstance(batch, (tuple, list)) and len(batch) and not isinstance(batch, PackedSequence):
        batch = batch[0]
    return _tensor(batch)


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        value = tensor_of(value)
    return value if isinstance(value, Tensor) and value.ndim else None
