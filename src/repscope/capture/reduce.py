"""From the activation of a layer to its representation: a matrix of (examples, features).

Three kinds of activations are told apart by their number of axes and by where their features are:

- *vectors*, (items,) or (items, features): one row per item already, left as they are by every named reduction;
- *tokens*, (items, tokens, features): a third axis with the features last; also (items · tokens, features), as experts
  and the feed-forward networks of some language models have them, where the batch tells its tokens;
- *maps*: everything else. Channels are axis 1, as in torch's convolutions, (items, channels, height, width), unless
  the layer keeps its features last, as a Linear on a map of shape (items, height, width, channels) does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from repscope._words import nearest_or_all
from repscope.capture.tokens import SAMPLED, UNITS, Tokens, sample_of
from repscope.errors import CaptureError, InputError

Reduction = Callable[[Tensor, Tensor | None], Tensor]
"""A function of (activation, attention mask or None) that returns (examples, features)."""

Reduce = str | Reduction | Mapping[str, str | Reduction]
"""The name of a reduction, a function, or a mapping from globs over layer names to either."""

REDUCTIONS: Mapping[str, str] = {
    "auto": "tokens with an attention mask: their mean without the padding; everything else: flattened",
    "flatten": "all channels and positions of an item side by side, padding too: (items, channels · positions)",
    "mean": "the mean over an item's positions or (real) tokens: (items, channels)",
    "positions": "every position of a map or real token is an example: (items · positions, channels)",
    "tokens": "every real token is an example: (real tokens, features)",
    "sample": f"{SAMPLED} real tokens of each item, drawn without replacement, are examples; 'sample:4' draws 4, "
    "'sample:4:7' by seed 7",
    "words": "every word of the text (what white space separates) is an example: the mean over the tokens that overlap "
    "it, whatever the tokenizer: (words, features)",
    "characters": "every character of the text but white space is an example: the mean over its tokens, mostly one: "
    "(characters, features)",
    "first": "the first real token of each item: (items, features)",
    "last": "the last real token of each item, wherever the padding is: (items, features)",
}


TOKEN_LEVEL = frozenset({"positions", "tokens", "sample"})
"""Reductions whose examples are tokens, so that they match between models only if the tokens do."""


def check_rule(reduce: Reduce, layers: tuple[str, ...]) -> Reduce:
    """Checks that a rule names known reductions and, if a mapping, that each glob matches one of ``layers``."""
    for pattern, how in reduce.items() if isinstance(reduce, Mapping) else [(None, reduce)]:
        base = None if pattern is None else str(pattern).partition("#")[0]
        if base is not None and not any(_matches(name, base) for name in layers):
            raise InputError(
                f"Capture: reduce must have layer names or globs as keys, got {pattern!r}, which matches no layer"
                f".{nearest_or_all(pattern, layers)}"
            )
        if not callable(how) and not (isinstance(how, str) and name_of(how) in REDUCTIONS):
            raise InputError(
                f"Capture: reduce must be one of {', '.join(REDUCTIONS)}, a function of (activation, mask), or a "
                f"mapping from layer globs to these, got {how!r}.{nearest_or_all(how, REDUCTIONS)}"
            )
    return reduce


def name_of(how: str) -> str:
    """The key in ``REDUCTIONS`` of a reduction with its numbers, as in ``"sample:4"``."""
    return "sample" if sample_of(how) else how


def rule_for(reduce: Reduce, layer: str) -> str | Reduction:
    """What a rule says about one layer: of a mapping the first glob that matches, or ``"auto"`` if none does."""
    if not isinstance(reduce, Mapping):
        return reduce
    return next((how for pattern, how in reduce.items() if _matches(layer, pattern)), "auto")


def reduce_activation(x: Tensor, how: str | Reduction, *, tokens: Tokens, features_last: bool, layer: str) -> Tensor:
    """The representation of one batch, (examples, features), in the activation's own dtype and on its device.

    The result may share memory with ``x``.

    Args:
        x: the activation, items first.
        how: a name out of ``REDUCTIONS`` or a function.
        tokens: which are real, and what they stand for; only token layers use it.
        features_last: whether the features of an activation with 3 or more axes are its last axis.
        layer: the name for messages.

    Raises:
        CaptureError: the reduction doesn't fit the activation, the mask doesn't fit the tokens, or a function
            returned something else than a matrix.
    """
    mask = tokens.real
    if callable(how):
        return _apply(how, x, None if mask is None else mask.to(x.device), layer)
    if x.ndim <= 2:
        return x[:, None] if x.ndim == 1 else x
    is_tokens = x.ndim == 3 and features_last
    real = _real_tokens(x, mask, layer) if is_tokens and how != "flatten" else None

    if how == "flatten" or (how == "auto" and real is None):
        return x.flatten(1)
    by_position = (x if features_last else x.movedim(1, -1)).flatten(1, -2)  # (items, positions, channels)
    if how in ("auto", "mean"):
        return by_position.mean(1) if real is None else _masked_mean(by_position, real)
    if how == "positions" or (how == "tokens" and is_tokens):
        return by_position.flatten(0, 1) if real is None else by_position[real]
    if how in UNITS and is_tokens:
        return tokens.means(how, x)
    if is_tokens and (sample := sample_of(how)):
        return x[tokens.sampled(*sample, x.shape[:2]).to(x.device)]
    if how in ("first", "last") and is_tokens:
        return x[torch.arange(len(x), device=x.device), _end_token(x, real, how)]
    raise CaptureError(
        f"Capture: reduce={how!r} must be used on tokens (items, tokens, features), got shape {tuple(x.shape)} "
        f"at layer '{layer}'. Choose per layer, as in reduce={{'{layer}': 'mean', '*': {how!r}}}."
    )


def _matches(layer: str, pattern: str) -> bool:
    """Whether a glob fits a layer; ``relu`` also fits the single calls ``relu#0`` and ``relu#1``."""
    return fnmatchcase(layer, pattern) or fnmatchcase(layer.partition("#")[0], pattern)


def _apply(how: Reduction, x: Tensor, mask: Tensor | None, layer: str) -> Tensor:
    matrix = how(x, mask)
    if not isinstance(matrix, Tensor) or matrix.ndim != 2 or not matrix.is_floating_point():
        got = f"{matrix.dtype} {tuple(matrix.shape)}" if isinstance(matrix, Tensor) else type(matrix).__name__
        raise CaptureError(
            f"Capture: reduce must return a floating-point tensor (examples, features), got {got} at layer '{layer}' "
            f"from an activation of shape {tuple(x.shape)}."
        )
    return matrix


def _real_tokens(x: Tensor, mask: Tensor | None, layer: str) -> Tensor | None:
    if mask is None:
        return None
    if mask.shape != x.shape[:2]:
        part, dot, _ = layer.partition(".")
        these = f"{part}.*" if dot else part
        raise CaptureError(
            f"Capture: attention_mask must have the shape (items, tokens) of layer '{layer}', got {tuple(mask.shape)} "
            f"for an activation of shape {tuple(x.shape)}. For layers on other tokens choose a reduction without the "
            f"mask, as in reduce={{'{these}': 'flatten'}} or {{'{these}': lambda x, mask: x.mean(1)}}."
        )
    return mask.to(x.device)


def _masked_mean(x: Tensor, real: Tensor) -> Tensor:
    # Padding is replaced, not multiplied by 0: attention over padding alone leaves NaN there. Sums of half-precision
    # values are made in float32.
    total = x.masked_fill(~real[..., None], 0).sum(1, dtype=torch.promote_types(x.dtype, torch.float32))
    return (total / real.sum(1, keepdim=True)).to(x.dtype)


def _end_token(x: Tensor, real: Tensor | None, end: str) -> Tensor:
    """The index of each item's first or last real token."""
    tokens = x.shape[1]
    if real is None:
        real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    if end == "first":
        return real.int().argmax(1)
    return tokens - 1 - real.flip(1).int().argmax(1)
