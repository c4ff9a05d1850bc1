"""Small data sets in the forms in which CIFAR comes."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import tarfile
from pathlib import Path

import numpy as np

from repscope.studies.cifar import PIXELS, SOURCES, Source


def small(name: str, train: int = 20, test: int = 6) -> Source:
    """The published source with fewer records, and checksums that no archive has."""
    return dataclasses.replace(SOURCES[name], train_images=train, test_images=test)


def content(source: Source, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pixels (n, 3072) and labels (n, label_bytes) of each file."""
    rng = np.random.default_rng(seed)
    return {
        name: (
            rng.integers(0, 256, (source.records(name), PIXELS), dtype=np.uint8),
            rng.integers(0, source.classes if source.label_bytes == 1 else 20, (source.records(name), 2), np.uint8),
        )
        for name in (*source.train, source.test)
    }


def class_names(source: Source) -> list[str]:
    return [f"class {index}" for index in range(source.classes)]


def write_binary(source: Source, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, (pixels, labels) in content(source).items():
        records = np.concatenate([labels[:, -source.label_bytes :], pixels], axis=1)
        records.tofile(folder / f"{name}.bin")
    (folder / source.names).write_text("\n".join(class_names(source)) + "\n\n", "utf-8")
    return folder


def write_python(source: Source, folder: Path, protocol: int = 2) -> Path:
    folder.mkdir(parents=True)
    for name, (pixels, labels) in content(source).items():
        held = {b"data": pixels, source.label_key.encode(): labels[:, -1].tolist(), b"batch_label": b"a batch"}
        (folder / name).write_bytes(pickle.dumps(held, protocol))
    names = {source.names_key.encode(): [name.encode() for name in class_names(source)]}
    (folder / source.meta).write_bytes(pickle.dumps(names, protocol))
    return folder


def write_grids(source: Source, folder: Path, *, suffix: str = ".webp", columns: int = 5) -> Path:
    from PIL import Image

    folder.mkdir(parents=True)
    for name, (pixels, labels) in content(source).items():
        split = "test" if name == source.test else "train"
        number = 0 if name == source.test else source.train.index(name)
        columns = columns if len(pixels) % columns == 0 else 1
        tiles = pixels.reshape(-1, columns, 3, 32, 32).transpose(0, 3, 1, 4, 2)  # (rows, 32, columns, 32, 3)
        picture = Image.fromarray(tiles.reshape(-1, columns * 32, 3))
        picture.save(folder / f"{split}_{number:02}{suffix}", lossless=True)
        ending = "u8" if source.label_bytes == 1 else "u8x2"
        with (folder / f"labels_{split}.{ending}").open("ab") as file:
            file.write(labels[:, -source.label_bytes :].tobytes())
    (folder / source.names).write_text("\n".join(class_names(source)), "utf-8")
    return folder


def pack(folder: Path, archive: Path) -> str:
    """Pack a folder as the authors do and return the archive's MD5 sum."""
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, folder.name)
    return hashlib.md5(archive.read_bytes()).hexdigest()
