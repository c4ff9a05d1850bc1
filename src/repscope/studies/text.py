"""Pairs of sentences in two languages that the studies train on: Multi30k, and numbers in words."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from repscope.errors import FileFormatError, InputError
from repscope.studies import number_words, vocabulary
from repscope.studies.vocabulary import BEGIN, END, SubWords, Vocabulary, Words

NAMES = ("numbers", "multi30k")
NUMBERS_TRAINING, NUMBERS_TEST = 20_000, 200
NUMBERS_SEED = 2019
MULTI30K_TESTS = ("test_2016_flickr", "test_2017_flickr", "test_2017_mscoco", "test_2018_flickr")
SITE = "https://github.com/multi30k/dataset"

Pair = tuple[str, str]
TokenPair = tuple[list[int], list[int]]


@dataclass(frozen=True, eq=False)
class ParallelText:
    """Sentences and their translations, for training and in one or more test sets.

    Attributes:
        name: ``"numbers"`` or ``"multi30k"``.
        train: Pairs (English, German).
        tests: Name of each test set to its pairs; the first one is that on which networks are judged.
        vocabulary: Of both languages.
        notes: How the data differ from the whole published set, a sentence each.
    """

    name: str
    train: tuple[Pair, ...]
    tests: Mapping[str, tuple[Pair, ...]]
    vocabulary: Vocabulary
    notes: tuple[str, ...] = ()

    unit = "pairs of sentences"

    def __post_init__(self) -> None:
        for name, pairs in {"train": self.train, **self.tests}.items():
            if not pairs:
                raise InputError(f"ParallelText: {name} must hold at least one pair of sentences, got none.")
        if not self.tests:
            raise InputError("ParallelText: tests must hold at least one test set, got none.")

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with any sentence, its place, or the vocabulary."""
        sha = hashlib.sha256(self.vocabulary.to_text().encode())
        for name, pairs in {"train": self.train, **self.tests}.items():
            sha.update(f"\0{name}".encode())
            for source, target in pairs:
                sha.update(f"\0{source}\0{target}".encode())
        return sha.hexdigest()[:16]

    @property
    def train_examples(self) -> int:
        """Number of training pairs."""
        return len(self.train)

    def check_limit(self, function: str, split: str, limit: int | None) -> int:
        """The number of training pairs that ``limit`` leaves.

        Raises:
            InputError: ``limit`` is not from 1 to the number of training pairs.
        """
        available = len(self.train)
        if limit is None:
            return available
        if not 1 <= limit <= available:
            raise InputError(
                f"{function}: limit must be from 1 to {available}, the number of {split} pairs of {self.name!r}, "
                f"got {limit}."
            )
        return limit

    def facts(self, limit: int | None = None) -> dict[str, Any]:
        """What the file of a network says about its data."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "train_pairs": limit or len(self.train),
            "test_pairs": len(self.judged),
            "vocabulary": self.vocabulary.size,
            "tokens": self.vocabulary.kind,
            "notes": list(self.notes),
        }

    @property
    def judged(self) -> tuple[Pair, ...]:
        """The first test set."""
        return next(iter(self.tests.values()))

    def tokens(self, pairs: Sequence[Pair]) -> list[TokenPair]:
        """Token numbers of pairs: the source up to ``END``, the target from ``BEGIN`` to ``END``."""
        sources = self.vocabulary.encode([source for source, _ in pairs])
        targets = self.vocabulary.encode([target for _, target in pairs])
        return [([*source, END], [BEGIN, *target, END]) for source, target in zip(sources, targets, strict=True)]

    def pack(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Everything as values of JSON, and no arrays; :meth:`unpack` reads it."""
        header = {
            "name": self.name,
            "train": self.train,
            "tests": dict(self.tests),
            "vocabulary": self.vocabulary.to_text(),
            "notes": self.notes,
        }
        return header, {}

    @classmethod
    def unpack(cls, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> ParallelText:
        """The text that :meth:`pack` took apart."""
        return cls(
            header["name"],
            _as_pairs(header["train"]),
            {name: _as_pairs(pairs) for name, pairs in header["tests"].items()},
            vocabulary.from_text(header["vocabulary"]),
            tuple(header["notes"]),
        )


def load_text(
    name: str, data_dir: str | os.PathLike[str] | None = None, *, vocabulary_size: int = 4000
) -> ParallelText:
    """Read pairs of sentences, English to German.

    Args:
        name: ``"numbers"``, which are made here, every word a token; or ``"multi30k"``, descriptions of images in
            sub-word units learned from the training text.
        data_dir: Folder with the files ``train.en``, ``train.de``, ``test_2016_flickr.en`` and so on, each plain or
            with ``.gz``; or a folder above it, with ``multi30k`` or ``text/multi30k`` below. Not needed for numbers.
        vocabulary_size: Sub-word units of both languages together.

    Returns:
        The text; the test sets of Multi30k that are missing, other than the first, are named in its notes.

    Raises:
        InputError: ``name`` is unknown, or ``data_dir`` is missing or holds no such data.
        FileFormatError: A file is damaged, not UTF-8, or has another number of lines than its translation.
        MissingExtraError: tokenizers is not installed, for Multi30k.

    References:
        D. Elliott, S. Frank, K. Sima'an, L. Specia (2016). Multi30K: Multilingual English-German Image Descriptions.
        https://aclanthology.org/W16-3210

    Example:
        >>> text = load_text("numbers")
        >>> text.vocabulary.decode([text.tokens([("forty-two", "zwei und vierzig")])[0][1]])
        ['zwei und vierzig']
    """
    if name == "numbers":
        return _numbers()
    if name != "multi30k":
        raise InputError(f"load_text: name must be one of {', '.join(NAMES)}, got {name!r}.")
    return _multi30k(_folder(data_dir), vocabulary_size)


def _numbers() -> ParallelText:
    numbers = number_words.drawn(NUMBERS_TRAINING + NUMBERS_TEST, NUMBERS_SEED)
    pairs = tuple((number_words.english(number), number_words.german(number)) for number in numbers)
    words = Words.learned([sentence for pair in pairs for sentence in pair])
    return ParallelText("numbers", pairs[NUMBERS_TEST:], {"test": pairs[:NUMBERS_TEST]}, words)


def _multi30k(folder: Path, size: int) -> ParallelText:
    train = _read_pairs(folder, "train")
    tests, notes = {}, []
    for name in MULTI30K_TESTS:
        if name != MULTI30K_TESTS[0] and not (_file(folder, name, "en") and _file(folder, name, "de")):
            notes.append(f"The folder has no {name}.")
            continue
        tests[name] = _read_pairs(folder, name)
    sentences = [source for source, _ in train] + [target for _, target in train]
    return ParallelText("multi30k", train, tests, SubWords.learned(sentences, size), tuple(notes))


def _folder(data_dir: str | os.PathLike[str] | None) -> Path:
    if data_dir is None:
        raise InputError(f"load_text: Multi30k must be read from files; pass their folder as data_dir. See {SITE}.")
    root = Path(data_dir)
    for folder in (root, root / "multi30k", root / "text" / "multi30k"):
        if _file(folder, "train", "en"):
            return folder
    raise InputError(
        f"load_text: data_dir must hold train.en or train.en.gz, itself or in multi30k or text/multi30k, got '{root}'. "
        f"The files are at {SITE}."
    )


def _file(folder: Path, name: str, language: str) -> Path | None:
    candidates = (folder / f"{name}.{language}", folder / f"{name}.{language}.gz")
    return next((path for path in candidates if path.is_file()), None)


def _read_pairs(folder: Path, name: str) -> tuple[Pair, ...]:
    sides = []
    for language in ("en", "de"):
        path = _file(folder, name, language)
        if path is None:
            raise FileFormatError(f"load_text: '{folder}' must hold {name}.{language} or {name}.{language}.gz.")
        sides.append(_lines(path))
    source, target = sides
    if len(source) != len(target):
        raise FileFormatError(
            f"load_text: {name}.en and {name}.de in '{folder}' must have the same number of lines, got {len(source)} "
            f"and {len(target)}."
        )
    return tuple(zip(source, target, strict=True))


def _lines(path: Path) -> list[str]:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise FileFormatError(f"load_text: '{path}' must be a whole gzip file ({error}).") from error
    lines = []
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            lines.append(line.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise FileFormatError(
                f"load_text: '{path}' must be UTF-8, got byte 0x{line[error.start]:02x} in line {number}, place "
                f"{error.start + 1}."
            ) from error
    return lines


def _as_pairs(pairs: Sequence[Sequence[str]]) -> tuple[Pair, ...]:
    return tuple((source, target) for source, target in pairs)
