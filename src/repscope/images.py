"""A folder of images as data for a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repscope.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
SD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
"""Of the red, green and blue of ImageNet, by which nearly all published image models standardise their input."""


class ImageFolder:
    """All images below a folder, in the order of their paths, read one by one when they are needed.

    An item is the largest central square of an image, resized with antialiasing: float32 of shape (3, size, size),
    RGB scaled to 0..1 and standardised by ImageNet's mean and standard deviation. Of an animation it is the first
    frame; transparency is dropped. Hidden files and folders are left out.

    Args:
        folder: Where to look, at any depth.
        size: Width and height in pixels.

    Raises:
        InputError: The folder holds no images or ``size`` is not positive; on access: a file cannot be read.
        MissingExtraError: Pillow is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], *, size: int = 224) -> None:
        try:
            import PIL  # noqa: F401  (only to say how to install it)
        except ImportError:
            raise MissingExtraError("Reading images", "pillow", "images") from None
        if size < 1:
            raise InputError(f"ImageFolder: size must be positive, got {size}.")
        root = Path(folder)
        self.size = size
        self.files = tuple(
            sorted(
                path
                for path in root.rglob("*")
                if path.suffix.lower() in SUFFIXES
                and not any(part.startswith(".") for part in path.relative_to(root).parts)
                and path.is_file()
            )
        )
        if not self.files:
            raise InputError(f"ImageFolder: folder must hold images ({', '.join(SUFFIXES)}), got none in '{folder}'.")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        from PIL import Image, ImageOps, UnidentifiedImageError

        path = self.files[index]
        try:
            with Image.open(path) as opened:
                image = _rgb(ImageOps.exif_transpose(opened))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            reason = "it is no image" if isinstance(error, UnidentifiedImageError) else str(error)
            raise InputError(
                f"ImageFolder: every file must be a readable image, got '{path}' ({reason}). Repair or remove it."
            ) from error
        square = ImageOps.fit(image, (self.size, self.size), Image.Resampling.BILINEAR)
        pixels = np.asarray(square, dtype=np.float32) / 255  # (size, size, 3)
        standardised: NDArray[np.float32] = np.divide(pixels - MEAN, SD, dtype=np.float32)
        return np.ascontiguousarray(standardised.transpose(2, 0, 1))


def _rgb(image: Image) -> Image:
    if image.mode.startswith("I"):  # 16 bits of grey, which convert() would cut off at 255
        from PIL import Image as Images

        sixteen: NDArray[Any] = np.asarray(image)
        image = Images.fromarray((np.clip(sixteen, 0, 65535) // 257).astype(np.uint8))
    if image.mode == "P":  # a palette may hold transparency, which only RGBA takes without a warning
        image = image.convert("RGBA")
    return image.convert("RGB")
