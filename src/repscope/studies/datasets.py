"""The images that the studies train and compare on: CIFAR-10, CIFAR-100 and the digits of the package.

Pixels stay as they are stored (uint8 for CIFAR), so that a data set of 60,000 images takes 180 MB;
:meth:`ImageSet.standardised` gives what a network takes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from repscope.errors import InputError
from repscope.studies import cifar
from repscope.studies.digits import load_digits

Split = Literal["train", "test"]
Pixels = NDArray[np.uint8] | NDArray[np.float32]

_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
NAMES = ("digits", *cifar.SOURCES)
DIGITS_SIZE = 16
DIGITS_TRAINING = 1400
"""Of the 1,797 digits the first 1,400 are for training and the last 397 for testing."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images in two parts.

    Attributes:
        name: ``"digits"``, ``"cifar10"`` or ``"cifar100"``.
        train_images: Shape (n, c, h, w). uint8 from 0 to 255 for CIFAR, red, green, blue; float32 for the digits.
        train_labels: Shape (n,), int64, from 0.
        test_images: As ``train_images``.
        test_labels: As ``train_labels``.
        classes: Name of each class, in the order of the labels.
        notes: How the data differ from the whole published set, a sentence each; empty where they do not.
    """

    name: str
    train_images: Pixels
    train_labels: NDArray[np.int64]
    test_images: Pixels
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    unit = "images"

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            self._check(split, *self._part(split))
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise InputError(
                f"ImageSet: train_images and test_images must have the same (c, h, w), got "
                f"{self.train_images.shape[1:]} and {self.test_images.shape[1:]}."
            )

    def _check(self, split: str, images: Pixels, labels: NDArray[np.int64]) -> None:
        if images.ndim != 4 or labels.shape != images.shape[:1] or len(images) == 0:
            raise InputError(
                f"ImageSet: {split}_images must have shape (n, c, h, w) and {split}_labels (n,) with the same n ≥ 1, "
                f"got {images.shape} and {labels.shape}."
            )
        if images.dtype not in (np.uint8, np.float32):
            raise InputError(f"ImageSet: {split}_images must be uint8 or float32, got {images.dtype}.")
        if labels.min() < 0 or labels.max() >= len(self.classes):
            raise InputError(
                f"ImageSet: {split}_labels must be from 0 to {len(self.classes) - 1}, the number of classes less one, "
                f"got {labels.min()} to {labels.max()}."
            )

    def _part(self, split: Split | str) -> tuple[Pixels, NDArray[np.int64]]:
        if split == "train":
            return self.train_images, self.train_labels
        if split == "test":
            return self.test_images, self.test_labels
        raise InputError(f"ImageSet: split must be 'train' or 'test', got {split!r}.")

    @property
    def channels(self) -> int:
        """Number of channels: 3 for colour, 1 for grey."""
        return int(self.train_images.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change with any pixel, label or class name, and with nothing else."""
        sha = hashlib.sha256("\n".join(self.classes).encode())
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            sha.update(f"{array.dtype}{array.shape}".encode())
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()[:16]

    @cached_property
    def channel_statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each channel over all training images, in units of the stored pixels."""
        means, deviations = [], []
        for channel in range(self.channels):
            values = self.train_images[:, channel]
            if values.dtype == np.uint8:  # exact, and without a copy of all pixels in float64
                counts = sum(np.bincount(image.ravel(), minlength=256) for image in np.array_split(values, 64))
                levels = np.arange(256)
                mean = float((counts * levels).sum() / values.size)
                variance = float((counts * (levels - mean) ** 2).sum() / values.size)
            else:
                mean, variance = float(values.mean(dtype=np.float64)), float(values.var(dtype=np.float64))
            means.append(mean)
            deviations.append(variance**0.5)
        return np.array(means), np.array(deviations)

    @property
    def train_examples(self) -> int:
        """Number of training images."""
        return len(self.train_images)

    def facts(self, limit: int | None = None) -> dict[str, Any]:
        """What the file of a network says about its images.

        Args:
            limit: Trained on the first so many only.
        """
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "train_images": limit or len(self.train_images),
            "test_images": len(self.test_images),
            "channels": self.channels,
            "classes": len(self.classes),
            "notes": list(self.notes),
        }

    def pack(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Everything as values of JSON and arrays; :meth:`unpack` puts it together again."""
        header = {"name": self.name, "classes": self.classes, "notes": self.notes}
        return header, {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def unpack(cls, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> ImageSet:
        """The images that :meth:`pack` took apart."""
        return cls(header["name"], **arrays, classes=tuple(header["classes"]), notes=tuple(header["notes"]))

    def standardised(self, split: Split, limit: int | None = None) -> NDArray[np.float32]:
        """Return images as a network takes them: each channel less its mean, over its standard deviation.

        Mean and standard deviation are those of all *training* images, for both parts and whatever ``limit`` is.

        Args:
            split: ``"train"`` or ``"test"``.
            limit: The first so many images only; None: all.

        Returns:
            New array of shape (n, c, h, w), float32.

        Raises:
            InputError: ``split`` is unknown, ``limit`` is not from 1 to the number of images, or a channel is constant.
        """
        images, _ = self._part(split)
        images = images[: self.check_limit("standardised", split, limit)]
        means, deviations = self.channel_statistics
        if not (deviations > 0).all():
            raise InputError(
                f"standardised: every channel must vary over the training images, got the constant channel "
                f"{int(np.argmin(deviations))} in {self.name!r}."
            )
        scale = (1 / deviations).astype(np.float32)[:, np.newaxis, np.newaxis]
        shift = (-means / deviations).astype(np.float32)[:, np.newaxis, np.newaxis]
        result: NDArray[np.float32] = np.multiply(images, scale, dtype=np.float32)
        result += shift
        return result

    def check_limit(self, function: str, split: Split, limit: int | None) -> int:
        """The number of images that ``limit`` leaves of a part.

        Raises:
            InputError: ``limit`` is not from 1 to the number of images.
        """
        available = len(self._part(split)[0])
        if limit is None:
            return available
        if not 1 <= limit <= available:
            raise InputError(
                f"{function}: limit must be from 1 to {available}, the number of {split} images of {self.name!r}, "
                f"got {limit}."
            )
        return limit


def load_images(name: str, data_dir: str | os.PathLike[str] | None = None, *, download: bool = False) -> ImageSet:
    """Read a data set.

    CIFAR is read from the official binary files, the official python files (whose pickles are read by a reader
    that can build nothing but numbers, text, lists and mappings), the ``.tar.gz`` archives of either, which need not
    be unpacked and are checked against the authors' MD5 sums, or grids of images (``train_00.webp``, …) beside
    ``labels_train.u8``.

    Args:
        name: ``"digits"``, which the package carries, ``"cifar10"`` or ``"cifar100"``.
        data_dir: The folder that holds the files of the data set, or its parent; not needed for the digits.
        download: Where ``data_dir`` does not hold the data set, fetch the authors' archive of the binary version
            (about 170 MB) into it.

    Returns:
        The images, with ``notes`` that say what differs from the published set.

    Raises:
        InputError: ``name`` is unknown, ``data_dir`` is missing or holds no such data set.
        FileFormatError: A file is missing, truncated, fails its checksum, or holds labels out of range.
        MissingExtraError: The files are image grids and Pillow is not installed.

    References:
        A. Krizhevsky (2009). Learning Multiple Layers of Features from Tiny Images.
        https://www.cs.toronto.edu/~kriz/cifar.html

    Example:
        >>> images = load_images("digits")
        >>> images.train_images.shape, images.test_images.shape
        ((1400, 1, 16, 16), (397, 1, 16, 16))
    """
    if name == "digits":
        return _digits()
    if name not in cifar.SOURCES:
        raise InputError(f"load_images: name must be one of {', '.join(NAMES)}, got {name!r}.")
    found = cifar.read(name, data_dir, download=download)
    return ImageSet(name, *found.train, *found.test, found.classes, found.notes)


def _digits() -> ImageSet:
    images, labels = load_digits(DIGITS_SIZE)
    cut = DIGITS_TRAINING
    classes = tuple(str(digit) for digit in range(10))
    return ImageSet("digits", images[:cut], labels[:cut], images[cut:], labels[cut:], classes)
