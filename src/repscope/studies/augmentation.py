"""Random changes of training images that keep what is seen in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Augmentation(Protocol):
    """Changes a batch of images at random, drawing from the given generator only."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed copies of ``images``, shape (n, c, h, w)."""
        ...


@dataclass(frozen=True)
class RandomShift:
    """Shift every image by up to ``pixels`` in each direction; what enters repeats the edge.

    Attributes:
        pixels: Largest shift, in pixels.
    """

    pixels: int = 1

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return shifted copies of ``images``, shape (n, c, h, w)."""
        padded = functional.pad(images, [self.pixels] * 4, mode="replicate")
        return _crops(padded, images, self.pixels, generator)


@dataclass(frozen=True)
class FlipAndCrop:
    """Mirror every second image and cut each from a larger one that zeros surround: the usual one for CIFAR.

    The images are standardised, so a zero is the mean colour.

    Attributes:
        pixels: Width of the border of zeros, and so the largest shift, in pixels; 0 leaves the place alone.
        flip: Whether left and right are exchanged, in half of the images on average.
    """

    pixels: int = 2
    flip: bool = True

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed copies of ``images``, shape (n, c, h, w)."""
        padded = functional.pad(images, [self.pixels] * 4)
        return _crops(padded, images, self.pixels, generator, flip=self.flip)


def _crops(padded: Tensor, images: Tensor, pixels: int, generator: torch.Generator, *, flip: bool = False) -> Tensor:
    """Cut a window of the size of ``images`` from each of ``padded``, at random, mirrored at random if ``flip``."""
    n, _, height, width = images.shape
    device = images.device
    offsets = torch.randint(0, 2 * pixels + 1, (2, n, 1), generator=generator)
    rows = offsets[0] + torch.arange(height)  # (n, h)
    columns = offsets[1] + torch.arange(width)  # (n, w)
    if flip:
        mirrored = torch.rand((n, 1), generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    examples = torch.arange(n, device=device)[:, None, None]
    # Channels last, so that each gather copies a whole pixel.
    pixels_last = padded.movedim(1, 3).contiguous()
    return pixels_last[examples, rows.to(device)[:, :, None], columns.to(device)[:, None, :]].movedim(3, 1)
