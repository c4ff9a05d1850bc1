"""The tokens of a batch: which are real, which are sampled, and which words and characters of the text they stand for.

Everything here is about positions in the padded batch, so it is settled once and serves every layer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from repscope.errors import CaptureError

SAMPLED = 8
"""Tokens per item that ``"sample"`` takes where no number is said."""

_SAMPLE = re.compile(r"sample(?::(?P<tokens>[1-9]\d*)(?::(?P<seed>\d+))?)?")

UNITS: Mapping[str, re.Pattern[str]] = {"words": re.compile(r"\S+"), "characters": re.compile(r"\S")}
"""Pieces of text that don't depend on a tokenizer: runs of anything but white space, and what these consist of."""


@dataclass(frozen=True)
class Text:
    """The text that tokens were made of.

    Attributes:
        items: the sentences.
        spans: of each sentence's tokens, padding excluded, the first character and the one behind the last; (0, 0)
            for tokens that stand for no text, such as [CLS]. None where the tokenizer doesn't tell.
    """

    items: Sequence[str]
    spans: Sequence[Sequence[tuple[int, int]]] | None


@dataclass(frozen=True)
class Units:
    """Words or characters of a batch, and the tokens that overlap each.

    Attributes:
        names: (item, number in the item) of every unit in the text, also of those without a token.
        unit: of every overlap the unit.
        item: and the item.
        token: and the token's position.
    """

    names: npt.NDArray[np.int64]
    unit: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    token: npt.NDArray[np.int64]

    @property
    def covered(self) -> npt.NDArray[np.bool_]:
        """Which units have a token."""
        found = np.zeros(len(self.names), dtype=np.bool_)
        found[self.unit] = True
        return found

    def means(self, x: Tensor, keep: npt.NDArray[np.bool_]) -> Tensor:
        """The mean over the tokens of each unit to keep, (units, features); half precision is summed in float32."""
        number = np.cumsum(keep) - 1
        kept = keep[self.unit]
        rows = torch.from_numpy(number[self.unit[kept]]).to(x.device)
        item, token = (torch.from_numpy(index[kept]).to(x.device) for index in (self.item, self.token))
        wide = torch.promote_types(x.dtype, torch.float32)
        total = torch.zeros(int(keep.sum()), x.shape[-1], dtype=wide, device=x.device)
        total.index_add_(0, rows, x[item, token].to(wide))
        count = torch.bincount(rows, minlength=len(total)).to(wide)
        return (total / count[:, None]).to(x.dtype)


@dataclass(frozen=True)
class Tokens:
    """The tokens of a batch.

    Attributes:
        real: (items, tokens), True for tokens and False for padding; None where every position is real.
        content: what tells the items apart, items first: the tokens' ids, or the images; None if unknown.
        text: the text, for tokens that a tokenizer made here.
        keep: of the words and characters those that every model under comparison has a token for; None: all with one.
    """

    real: Tensor | None = None
    content: Tensor | None = None
    text: Text | None = None
    keep: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def apart(self, x: Tensor) -> Tensor:
        """An activation, items first; one with the tokens of all items in one axis as (items, tokens, features)."""
        told = self.content if self.real is None else self.real
        if x.ndim != 2 or told is None or told.ndim != 2 or told.is_floating_point() or told.shape[1] == 1:
            return x
        return x.reshape(*told.shape, x.shape[1]) if len(x) == told.numel() else x

    def sampled(self, tokens: int, seed: int, shape: Sequence[int]) -> Tensor:
        """Which real tokens are sampled: up to ``tokens`` of each item, without replacement, as booleans of ``shape``.

        The draw depends on the seed and the content of the item alone: it is the same for all layers and passes, and
        whatever else is in the batch.
        """
        key = ("sample", tokens, seed, tuple(shape))
        if key not in self._cache:
            real = torch.ones(*shape, dtype=torch.bool) if self.real is None else self.real.cpu()
            chosen = torch.zeros_like(real)
            for item in range(len(real)):
                places = torch.nonzero(real[item]).flatten().numpy()
                content = None if self.content is None or len(self.content) != len(real) else self.content[item]
                rng = np.random.default_rng(_seed_of(seed, content, real[item], len(places)))
                chosen[item, rng.permutation(places)[:tokens]] = True
            self._cache[key] = chosen
        found: Tensor = self._cache[key]
        return found

    def units(self, kind: str) -> Units:
        """The words or characters of the batch.

        Raises:
            CaptureError: the tokens weren't made from text here, or the tokenizer doesn't tell where they come from.
        """
        if self.text is None:
            raise CaptureError(
                f"Capture: reduce={kind!r} must be used on text that is tokenized here, got a batch of other data. "
                "Pass sentences as data and the model with its tokenizer, as in TextModel(model, tokenizer)."
            )
        if self.text.spans is None:
            raise CaptureError(
                f"Capture: reduce={kind!r} must be used with a tokenizer that tells which characters its tokens stand "
                "for (a fast one), got one that doesn't. Compare per sentence, with reduce='mean'."
            )
        if kind not in self._cache:
            self._cache[kind] = _units(UNITS[kind], self.text.items, self.text.spans, self._first_real())
        found: Units = self._cache[kind]
        return found

    def means(self, kind: str, x: Tensor) -> Tensor:
        """The mean over the tokens of each word or character."""
        units = self.units(kind)
        keep = self.keep.get(kind)
        return units.means(x, units.covered if keep is None else keep)

    def keeping(self, kind: str, keep: npt.NDArray[np.bool_]) -> Tokens:
        """The same tokens with some words or characters left out."""
        return replace(self, keep={**self.keep, kind: keep})

    def _first_real(self) -> npt.NDArray[np.int64]:
        assert self.text is not None
        if self.real is None:
            return np.zeros(len(self.text.items), dtype=np.int64)
        first: npt.NDArray[np.int64] = self.real.int().argmax(1).cpu().numpy().astype(np.int64)
        return first


@dataclass(frozen=True)
class BatchTokens:
    """The tokens that the layers of a model run on: of an encoder-decoder there are two kinds.

    Attributes:
        source: what the model reads.
        target: what a decoder reads besides; equal to ``source`` where there is none.
        has_target: whether there is.
    """

    source: Tokens = field(default_factory=Tokens)
    target: Tokens = field(default_factory=Tokens)
    has_target: bool = False


def sample_of(how: str) -> tuple[int, int] | None:
    """Tokens per item and seed of ``"sample"``, ``"sample:4"`` or ``"sample:4:7"``; None for another reduction."""
    found = _SAMPLE.fullmatch(how)
    return None if found is None else (int(found["tokens"] or SAMPLED), int(found["seed"] or 0))


def _seed_of(seed: int, content: Tensor | None, real: Tensor, count: int) -> list[int]:
    if content is None:
        return [seed, count]
    # Of token ids the real ones alone: padding is a matter of the batch.
    content = content.detach().cpu()
    if content.ndim == 1 and content.shape == real.shape:
        content = content[real].to(torch.int64)
    digest = hashlib.blake2b(content.contiguous().view(torch.uint8).numpy().tobytes(), digest_size=8).digest()
    return [seed, int.from_bytes(digest, "little")]


def _units(
    pattern: re.Pattern[str],
    items: Sequence[str],
    spans: Sequence[Sequence[tuple[int, int]]],
    first: npt.NDArray[np.int64],
) -> Units:
    names: list[tuple[int, int]] = []
    overlaps: list[tuple[int, int, int]] = []
    for item, (text, tokens) in enumerate(zip(items, spans, strict=True)):
        unit_of = np.full(len(text), -1, dtype=np.int64)  # of every character
        for number, match in enumerate(pattern.finditer(text)):
            unit_of[match.start() : match.end()] = len(names)
            names.append((item, number))
        for position, (start, stop) in enumerate(tokens):
            for unit in dict.fromkeys(unit_of[start:stop].tolist()):
                if unit >= 0:
                    overlaps.append((unit, item, int(first[item]) + position))
    unit, where, token = np.array(overlaps, dtype=np.int64).reshape(-1, 3).T
    return Units(np.array(names, dtype=np.int64).reshape(-1, 2), unit, where, token)
