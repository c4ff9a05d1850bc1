"""CIFAR-10 and CIFAR-100 as they come: the authors' two file formats, their archives, and grids of images.

Every reader gives the same: uint8 images (n, 3, 32, 32), red, green, blue, in the published order, and labels.
"""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repscope.errors import FileFormatError, InputError
from repscope.studies import _grids
from repscope.studies._download import fetch, md5_of
from repscope.studies._pickle import read_dictionary

SIDE = 32
PIXELS = 3 * SIDE * SIDE
SITE = "https://www.cs.toronto.edu/~kriz/"

Part = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class Source:
    """How one data set was published.

    Attributes:
        title: Its name in prose.
        classes: Number of classes.
        label_bytes: Bytes of label before every image of the binary files; the last one counts.
        label_key: Key of the labels in the python files.
        names_key: Key of the class names in the python files' ``meta``.
        meta: Name of the python file that holds the class names.
        names: Text file of the class names beside the binary files, one a line.
        train: Names of the training files, without the suffix ``.bin`` of the binary version.
        test: Name of the test file.
        train_images: Number of training images, in all files together.
        test_images: Number of test images.
        folders: Folders that the archives unpack to, the binary version's first.
        archives: File names of the archives, the binary version's first, with their MD5 sums.
    """

    title: str
    classes: int
    label_bytes: int
    label_key: str
    names_key: str
    meta: str
    names: str
    train: tuple[str, ...]
    test: str
    train_images: int
    test_images: int
    folders: tuple[str, str]
    archives: tuple[tuple[str, str], tuple[str, str]]

    def records(self, name: str) -> int:
        """Number of images in one of the files."""
        return self.test_images if name == self.test else self.train_images // len(self.train)


SOURCES = {
    "cifar10": Source(
        title="CIFAR-10",
        classes=10,
        label_bytes=1,
        label_key="labels",
        names_key="label_names",
        meta="batches.meta",
        names="batches.meta.txt",
        train=tuple(f"data_batch_{number}" for number in range(1, 6)),
        test="test_batch",
        train_images=50_000,
        test_images=10_000,
        folders=("cifar-10-batches-bin", "cifar-10-batches-py"),
        archives=(
            ("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),
            ("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
        ),
    ),
    "cifar100": Source(
        title="CIFAR-100",
        classes=100,
        label_bytes=2,
        label_key="fine_labels",
        names_key="fine_label_names",
        meta="meta",
        names="fine_label_names.txt",
        train=("train",),
        test="test",
        train_images=50_000,
        test_images=10_000,
        folders=("cifar-100-binary", "cifar-100-python"),
        archives=(
            ("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),
            ("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),
        ),
    ),
}


@dataclass(frozen=True)
class Found:
    """What was read: both parts, the names of the classes, and what differs from the published set."""

    train: Part
    test: Part
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


Opener = Callable[[str], bytes]
"""From the name of a file of the data set to its content."""


def read(name: str, data_dir: str | os.PathLike[str] | None, *, download: bool = False) -> Found:
    """Find a data set below a folder, in whatever form, and read it.

    Args:
        name: A key of ``SOURCES``.
        data_dir: The folder that holds its files, or the parent of that folder.
        download: Fetch the binary archive into ``data_dir`` where nothing is found.

    Raises:
        InputError: There is no such folder, or it does not hold the data set.
        FileFormatError: A file is missing, truncated or wrong.
    """
    source = SOURCES[name]
    archive, md5 = source.archives[0]
    if data_dir is None:
        raise InputError(
            f"load_images: data_dir must name the folder of {source.title}, got None. Fetch {SITE}{archive}, or pass "
            "a folder and download=True."
        )
    root = Path(data_dir)
    found = _find(name, source, root)
    if found is None and download:
        fetch(SITE + archive, root / archive, md5)
        found = _find(name, source, root)
    if found is None:
        state = "no such folder" if not root.is_dir() else "a folder without it"
        looked = ", ".join(str(folder) for folder in _folders(name, source, root))
        raise InputError(
            f"load_images: data_dir must hold {source.title} (its binary or python files or their archive, or image "
            f"grids), got {state}: looked in {looked}. Fetch {SITE}{archive} into it, or pass download=True."
        )
    return found


def _folders(name: str, source: Source, root: Path) -> list[Path]:
    """Where the files may lie, exact copies before near ones."""
    return [root, *(root / folder for folder in (*source.folders, name, f"{name}-small"))]


def _find(name: str, source: Source, root: Path) -> Found | None:
    for folder in _folders(name, source, root):
        if not folder.is_dir():
            continue
        if any((folder / f"{file}.bin").is_file() for file in (*source.train, source.test)):
            return _read_binary(source, _open_in(folder), str(folder))
        if all((folder / file).is_file() for file in (source.test, source.meta)):
            return _read_python(source, _open_in(folder), str(folder))
        if _grids.present(folder, source.label_bytes):
            return _read_grids(source, folder)
        for (archive, md5), reader in zip(source.archives, (_read_binary, _read_python), strict=True):
            if (folder / archive).is_file():
                return _read_archive(source, folder / archive, md5, reader)
    return None


def _open_in(folder: Path) -> Opener:
    def content(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except FileNotFoundError:
            raise FileFormatError(
                f"load_images: '{folder / name}' must exist beside the other files, but is missing. Fetch it again."
            ) from None

    return content


def _read_archive(source: Source, path: Path, md5: str, reader: Callable[[Source, Opener, str], Found]) -> Found:
    got = md5_of(path)
    if got != md5:
        raise FileFormatError(
            f"load_images: '{path}' must have the MD5 sum {md5}, as published, got {got} in "
            f"{path.stat().st_size:,} bytes. It is damaged or not whole: delete it and fetch it again."
        )
    try:
        with tarfile.open(path, "r:gz") as archive:
            contents = {}
            for member in archive:  # in one pass: going back in a compressed file means reading it again
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    contents[Path(member.name).name] = file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise FileFormatError(f"load_images: '{path}' must be a whole .tar.gz archive, got {error}.") from error

    def content(name: str) -> bytes:
        if name not in contents:
            raise FileFormatError(f"load_images: '{path}' must hold {name}, got {', '.join(sorted(contents))}.")
        return contents[name]

    return reader(source, content, str(path))


def _read_binary(source: Source, content: Opener, place: str) -> Found:
    def part(names: Sequence[str]) -> Part:
        images, labels = [], []
        for name in names:
            data = content(f"{name}.bin")
            record = source.label_bytes + PIXELS
            expected = source.records(name) * record
            if len(data) != expected:
                raise FileFormatError(
                    f"load_images: {name}.bin in '{place}' must have {expected:,} bytes ({source.records(name):,} "
                    f"records of {record:,}), got {len(data):,}. It is not whole: fetch it again."
                )
            records = np.frombuffer(data, dtype=np.uint8).reshape(-1, record)
            images.append(records[:, source.label_bytes :])
            labels.append(_checked(records[:, source.label_bytes - 1], source, f"{name}.bin in '{place}'"))
        return _joined(images, labels)

    classes = _lines(content(source.names), source, f"{source.names} in '{place}'")
    return Found(part(source.train), part([source.test]), classes)


def _read_python(source: Source, content: Opener, place: str) -> Found:
    def dictionary(name: str, *keys: str) -> list[Any]:
        try:
            held = read_dictionary(io.BytesIO(content(name)))
        except pickle.UnpicklingError as error:
            raise FileFormatError(
                f"load_images: {name} in '{place}' must be a file of {source.title}'s python version, got one that "
                f"was not read, because {error}. Fetch it again from {SITE}cifar.html."
            ) from error
        missing = [key for key in keys if key not in held]
        if missing:
            raise FileFormatError(
                f"load_images: {name} in '{place}' must hold {missing[0]!r}, got {', '.join(map(repr, held))}."
            )
        return [held[key] for key in keys]

    def part(names: Sequence[str]) -> Part:
        images, labels = [], []
        for name in names:
            data, marks = dictionary(name, "data", source.label_key)
            shape = (source.records(name), PIXELS)
            if not isinstance(data, np.ndarray) or data.shape != shape or len(marks) != len(data):
                got = data.shape if isinstance(data, np.ndarray) else type(data).__name__
                raise FileFormatError(
                    f"load_images: {name} in '{place}' must hold images of shape {shape} and a label for each, got "
                    f"{got} and {len(marks)} labels. It is not whole: fetch it again."
                )
            images.append(data)
            labels.append(_checked(np.array(marks), source, f"{name} in '{place}'"))
        return _joined(images, labels)

    (names,) = dictionary(source.meta, source.names_key)
    return Found(part(source.train), part([source.test]), tuple(str(name) for name in names))


def _read_grids(source: Source, folder: Path) -> Found:
    notes: list[str] = []
    parts = []
    for split, whole in (("train", source.train_images), ("test", source.test_images)):
        images, marks = _grids.read(folder, split, source.label_bytes, SIDE)
        labels = _checked(marks[: len(images)], source, f"the labels of the {split} part in '{folder}'")
        parts.append((images, labels))
        if len(images) < whole:
            long = {"train": "training", "test": "test"}[split]
            notes.append(f"the first {len(images):,} of {whole:,} {long} images")
    notes += _grids.notes(folder)
    names = _open_in(folder)(source.names)
    classes = _lines(names, source, f"{source.names} in '{folder}'")
    return Found(parts[0], parts[1], classes, tuple(notes))


def _checked(labels: NDArray[Any], source: Source, place: str) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise FileFormatError(f"load_images: labels must be whole numbers, got {labels.dtype} in {place}.")
    wrong = np.flatnonzero((labels < 0) | (labels >= source.classes))
    if len(wrong):
        raise FileFormatError(
            f"load_images: labels of {source.title} must be from 0 to {source.classes - 1}, got "
            f"{labels[wrong[0]]} at image {wrong[0]} of {place} ({len(wrong):,} such in all). It is damaged or another "
            "kind of file: fetch it again."
        )
    return labels.astype(np.int64)


def _joined(images: list[NDArray[np.uint8]], labels: list[NDArray[np.int64]]) -> Part:
    return np.concatenate(images).reshape(-1, 3, SIDE, SIDE), np.concatenate(labels)


def _lines(content: bytes, source: Source, place: str) -> tuple[str, ...]:
    names = tuple(line.strip() for line in content.decode("utf-8", "replace").splitlines() if line.strip())
    if len(names) != source.classes:
        raise FileFormatError(f"load_images: {place} must name {source.classes} classes, got {len(names)}.")
    return names
