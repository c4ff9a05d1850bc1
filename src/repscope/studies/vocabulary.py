"""From sentences to token numbers and back: whole words, or sub-word units learned from the text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from repscope.errors import InputError, MissingExtraError

PAD, BEGIN, END = 0, 1, 2
"""Token numbers that every vocabulary reserves: padding, begin of a sentence, end of a sentence."""

SPECIAL = ("<pad>", "<s>", "</s>")


class Vocabulary(Protocol):
    """Numbers for the tokens of two languages."""

    @property
    def size(self) -> int:
        """Number of tokens, the reserved ones included."""

    @property
    def kind(self) -> str:
        """``"words"`` or ``"sub-words"``."""

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """The tokens of each sentence, without begin and end."""

    def decode(self, sentences: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sentence; what :meth:`encode` gave comes back."""

    def to_text(self) -> str:
        """Everything, as :func:`from_text` reads it."""


@dataclass(frozen=True)
class Words:
    """Every word is a token; hyphens separate words, and words that were not learned are refused.

    Attributes:
        words: In the order of their numbers, from 3 on.
    """

    words: tuple[str, ...]

    kind = "words"

    @classmethod
    def learned(cls, sentences: Sequence[str]) -> Words:
        """The words of ``sentences``, in alphabetical order."""
        return cls(tuple(sorted({word for sentence in sentences for word in _split(sentence)})))

    @property
    def size(self) -> int:
        """Number of tokens."""
        return len(SPECIAL) + len(self.words)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=len(SPECIAL))}

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """The tokens of each sentence.

        Raises:
            InputError: A word is unknown.
        """
        try:
            return [[self._numbers[word] for word in _split(sentence)] for sentence in sentences]
        except KeyError as error:
            raise InputError(
                f"encode: sentences must hold words of the vocabulary only, got {error.args[0]!r}, which is none of "
                f"its {len(self.words)}."
            ) from None

    def decode(self, sentences: Sequence[Sequence[int]]) -> list[str]:
        """The words of each sentence with blanks between them."""
        first = len(SPECIAL)
        return [" ".join(self.words[number - first] for number in tokens if number >= first) for tokens in sentences]

    def to_text(self) -> str:
        """The words, as JSON."""
        return json.dumps({"words": self.words}, ensure_ascii=False)


class SubWords:
    """Byte-pair encoding on bytes (Sennrich et al. 2016; Radford et al. 2019), by the package tokenizers.

    Every text has tokens, and comes back as it was.

    Args:
        tokenizer: Of the package.
    """

    kind = "sub-words"

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def learned(cls, sentences: Sequence[str], size: int) -> SubWords:
        """The units that arise when the most frequent pair of units is joined, again and again.

        Args:
            sentences: Text of both languages.
            size: Number of tokens, at least 259: the bytes and the reserved tokens.

        Raises:
            InputError: ``size`` is too small.
            MissingExtraError: tokenizers is not installed.
        """
        tokenizers = _package()
        alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
        smallest = len(alphabet) + len(SPECIAL)
        if size < smallest:
            raise InputError(f"SubWords: size must be at least {smallest}, got {size}.")
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(SPECIAL),
            initial_alphabet=sorted(alphabet),
            show_progress=False,
        )
        tokenizer.train_from_iterator(sentences, trainer)
        return cls(tokenizer)

    @property
    def size(self) -> int:
        """Number of tokens."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """The tokens of each sentence."""
        return [list(found.ids) for found in self._tokenizer.encode_batch(list(sentences))]

    def decode(self, sentences: Sequence[Sequence[int]]) -> list[str]:
        """The text of each sentence, without the blank that encoding puts before the first word."""
        return [text.removeprefix(" ") for text in self._tokenizer.decode_batch([list(one) for one in sentences])]

    def to_text(self) -> str:
        """The package's own JSON."""
        return str(self._tokenizer.to_str())


def from_text(text: str) -> Vocabulary:
    """The vocabulary whose :meth:`Vocabulary.to_text` this is."""
    content = json.loads(text)
    if "words" in content:
        return Words(tuple(content["words"]))
    return SubWords(_package().Tokenizer.from_str(text))


def digest(vocabulary: Vocabulary) -> str:
    """SHA-256 of everything that decides the numbers of tokens."""
    return hashlib.sha256(vocabulary.to_text().encode()).hexdigest()


def _split(sentence: str) -> list[str]:
    return re.findall(r"\w+", sentence)


def _package() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise MissingExtraError("Splitting text into sub-words", "tokenizers", "text") from None
    return tokenizers
