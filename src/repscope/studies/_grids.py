"""Images stored as tiles of large pictures, with their labels in files of bytes.

A folder holds ``train_00.webp``, ``train_01.webp``, … and ``test_00.webp``, …, or the same as
``…_train_1.avif``, … and ``…_test.avif``; every picture is a grid of square tiles, one an image, row by row.
``labels_train.u8`` and ``labels_test.u8`` hold a byte a label, ``labels_train.u8x2`` … two, of which the second counts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from repscope.errors import FileFormatError, MissingExtraError

_FORMATS = (".webp", ".png", ".avif")
_LOSSY = (".avif",)
_APPROXIMATE = "approx_indices.txt"
"""Lists images of which no exact copy was at hand: a split and the index in it to a line."""


def present(folder: Path, label_bytes: int) -> bool:
    """Whether a folder holds grids with so many bytes to a label."""
    return _label_file(folder, "train", label_bytes).is_file()


def read(
    folder: Path, split: Literal["train", "test"] | str, label_bytes: int, side: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read one part: images of shape (n, 3, side, side) and labels, of which there may be more than images.

    Raises:
        FileFormatError: A picture or the label file is missing, damaged or of the wrong size.
        MissingExtraError: Pillow is not installed, or too old for the format.
    """
    labels = _label_file(folder, split, label_bytes)
    pictures = _pictures(folder, split)
    images = np.concatenate([_tiles(picture, side) for picture in pictures])
    found = labels.stat().st_size if labels.is_file() else 0
    if found < len(images) * label_bytes or found % label_bytes:
        raise FileFormatError(
            f"load_images: '{labels}' must have {label_bytes} byte(s) for each of {len(images):,} images "
            f"({len(images) * label_bytes:,} or more in all), got {found:,}. Copy it again."
        )
    return images, np.fromfile(labels, dtype=np.uint8).reshape(-1, label_bytes)[:, -1]


def notes(folder: Path) -> list[str]:
    """What differs from exact copies of the images."""
    found = []
    if any(picture.suffix in _LOSSY for picture in _pictures(folder, "train")):
        found.append("near-lossless")
    listed = folder / _APPROXIMATE
    if listed.is_file():
        lines = [line for line in listed.read_text("utf-8").splitlines() if line.strip() and line[0] not in "#"]
        found.append(f"{len(lines)} images from a JPEG copy")
    return found


def _label_file(folder: Path, split: str, label_bytes: int) -> Path:
    return folder / f"labels_{split}.u8{'x2' if label_bytes == 2 else ''}"


def _pictures(folder: Path, split: str) -> list[Path]:
    """The pictures of one part in the order of their numbers."""
    pattern = re.compile(rf"(?:.*_)?{split}(?:_(\d+))?")
    numbered = {}
    for path in folder.iterdir():
        match = pattern.fullmatch(path.stem) if path.suffix in _FORMATS else None
        if match:
            numbered[int(match[1] or 0)] = path
    if not numbered:
        raise FileFormatError(
            f"load_images: '{folder}' must hold pictures named {split}_00{_FORMATS[0]} and so on beside the labels, "
            "got none. Copy them again."
        )
    gaps = set(range(min(numbered), max(numbered) + 1)) - numbered.keys()
    if gaps or min(numbered) > 1:
        known = numbered[min(numbered)]
        raise FileFormatError(
            f"load_images: '{folder}' must hold the pictures of the {split} part without a gap, got none with the "
            f"number {min(gaps or {0})} beside {known.name}. Copy it again."
        )
    return [numbered[number] for number in sorted(numbered)]


def _tiles(path: Path, side: int) -> NDArray[np.uint8]:
    try:
        from PIL import Image, UnidentifiedImageError, features
    except ImportError:
        raise MissingExtraError("Reading grids of images", "pillow", "images") from None
    if path.suffix == ".avif" and not features.check("avif"):
        raise MissingExtraError(f"Reading '{path.name}'", "pillow>=11.3", "images")
    try:
        with Image.open(path) as opened:
            pixels = np.asarray(opened.convert("RGB"))  # (rows * side, columns * side, 3)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "it is no image" if isinstance(error, UnidentifiedImageError) else str(error)
        raise FileFormatError(
            f"load_images: '{path}' must be a whole picture, got {path.stat().st_size:,} bytes that could not be read "
            f"({reason}). Copy it again."
        ) from error
    height, width, _ = pixels.shape
    if height % side or width % side:
        raise FileFormatError(
            f"load_images: '{path}' must be a grid of {side}×{side} pixels, got {width}×{height} pixels."
        )
    grid = pixels.reshape(height // side, side, width // side, side, 3)
    return grid.transpose(0, 2, 4, 1, 3).reshape(-1, 3, side, side)
