"""Handwritten digits carried with the package: real images for demonstrations and tests, without a download.

The data are the 1,797 test images of *Optical Recognition of Handwritten Digits* (Alpaydin & Kaynak 1998,
UCI Machine Learning Repository, CC BY 4.0); ``data/ATTRIBUTION.md`` says where they come from and what was
changed.
"""

from __future__ import annotations

from importlib import resources

import numpy as np
from numpy.typing import NDArray

from repscope.errors import InputError

SOURCE_SIZE = 8


def load_digits(size: int = 16) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the digits as standardised square images, and their labels.

    The 8×8 originals are enlarged by bilinear interpolation with half-pixel centres: output pixel ``i``
    stands at input position ``(i + 0.5) · 8 / size − 0.5``, and positions beyond the outermost centres take
    the value of the edge, as ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`` does.
    The enlarged images are then standardised by one mean and one standard deviation over all pixels of all
    images.

    Args:
        size: Width and height of the images, in pixels; at least 8, the size of the originals.

    Returns:
        Images of shape (1797, 1, size, size), float32, with mean 0 and standard deviation 1 over the whole
        array; labels 0 to 9 of shape (1797,), int64. The order is that of the source: the classes are mixed.

    Raises:
        InputError: ``size`` is below 8.

    References:
        E. Alpaydin, C. Kaynak (1998). Optical Recognition of Handwritten Digits. UCI Machine Learning
        Repository. https://doi.org/10.24432/C50P49

    Example:
        >>> images, labels = load_digits()
        >>> images.shape
        (1797, 1, 16, 16)
        >>> labels[:10].tolist()
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    if size < SOURCE_SIZE:
        raise InputError(
            f"load_digits: size must be at least {SOURCE_SIZE}, got {size}. "
            f"The originals are {SOURCE_SIZE}×{SOURCE_SIZE} pixels and are only ever enlarged."
        )
    archive = resources.files("repscope.studies").joinpath("data/digits.npz")
    with archive.open("rb") as file, np.load(file) as data:
        originals = data["images"].astype(np.float64)  # (n, 8, 8)
        labels = data["labels"].astype(np.int64)
    weights = _bilinear_weights(SOURCE_SIZE, size)
    images = weights @ originals @ weights.T  # (n, size, size)
    images = (images - images.mean()) / images.std()
    return images[:, np.newaxis].astype(np.float32), labels


def _bilinear_weights(old: int, new: int) -> NDArray[np.float64]:
    """Return the (new, old) matrix that interpolates ``old`` pixels at ``new`` half-pixel centres."""
    positions = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    left = np.minimum(positions.astype(np.int64), old - 2)
    fraction = positions - left
    weights = np.zeros((new, old))
    rows = np.arange(new)
    weights[rows, left] = 1 - fraction
    weights[rows, left + 1] = fraction
    return weights
