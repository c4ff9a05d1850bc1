"""The convolutional networks of Kornblith et al. (2019), as tables of units.

A unit is convolution – batch normalisation – ReLU, and its output is a layer in the sense of the paper. The
units are named ``conv1``, ``conv2``, …; they are followed by ``avg_pool`` and ``logits``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from repscope.errors import InputError
from repscope.studies._random import random_state

REPRESENTATION_LAYERS = (*(f"conv{index}" for index in range(1, 9)), "avg_pool")
"""The nine layers of a ten-layer network that the paper compares: every layer but the logits."""


@dataclass(frozen=True)
class ConvUnit:
    """One row of an architecture table: a convolution that batch normalisation and ReLU follow.

    Attributes:
        channels: Number of output channels.
        kernel: Width and height of the kernel, in pixels; odd.
        stride: Step of the kernel, in pixels.
        padding: ``"same"`` surrounds the map with zeros so that it shrinks by the stride only;
            ``"valid"`` adds nothing.
    """

    channels: int
    kernel: int = 3
    stride: int = 1
    padding: Literal["same", "valid"] = "same"

    def build(self, in_channels: int) -> nn.Sequential:
        """Return the unit as a module; the bias is left to the batch normalisation."""
        network = nn.Sequential()
        # For stride 2 on an even size TensorFlow pads at the right and bottom only; here it is both sides.
        # The maps have the same size, and the paper does not say which it used.
        pad = self.kernel // 2 if self.padding == "same" else 0
        network.add_module("conv", nn.Conv2d(in_channels, self.channels, self.kernel, self.stride, pad, bias=False))
        network.add_module("bn", nn.BatchNorm2d(self.channels))
        network.add_module("relu", nn.ReLU())
        return network

    def smallest_input(self, output: int) -> int:
        """Return the smallest input size, in pixels, that leaves a map of at least ``output`` pixels."""
        span = (output - 1) * self.stride + 1
        return span if self.padding == "same" else span + self.kernel - 1


class GlobalAveragePool(nn.Module):
    """The mean of each channel over all positions: (n, c, h, w) → (n, c)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Average ``maps`` over their last two axes."""
        return maps.mean(dim=(2, 3))


class ConvNet(nn.Module):
    """Convolutional units in a row, then global average pooling and one linear layer.

    Args:
        units: The units, first to last; they become the children ``conv1``, ``conv2``, ….
        in_channels: Channels of the images: 3 for colour, 1 for grey.
        classes: Number of logits.
        name: What error messages call the network.
    """

    def __init__(self, units: Sequence[ConvUnit], *, in_channels: int, classes: int, name: str) -> None:
        super().__init__()
        self._name = name
        self._in_channels = in_channels
        self._smallest_image = 1
        for unit in reversed(units):
            self._smallest_image = unit.smallest_input(self._smallest_image)
        width = in_channels
        for index, unit in enumerate(units, start=1):
            self.add_module(f"conv{index}", unit.build(width))
            width = unit.channels
        self.add_module("avg_pool", GlobalAveragePool())
        self.add_module("logits", nn.Linear(width, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of ``images``.

        Args:
            images: Shape (n, in_channels, height, width).

        Returns:
            Logits of shape (n, classes).

        Raises:
            InputError: ``images`` has other axes or channels, or is too small for the unpadded convolution.
        """
        self._check(images)
        maps = images
        for layer in self.children():
            maps = layer(maps)
        return maps

    def _check(self, images: Tensor) -> None:
        got = tuple(images.shape)
        if images.ndim != 4 or images.shape[1] != self._in_channels:
            raise InputError(
                f"{self._name}: images must have shape (n, {self._in_channels}, height, width), got {got}. "
                "Build the network with in_channels equal to the channels of the images."
            )
        if min(images.shape[2:]) < self._smallest_image:
            side = self._smallest_image
            raise InputError(
                f"{self._name}: images must be at least {side}×{side} pixels, got {got[2]}×{got[3]}. "
                "The unpadded convolution would leave nothing; enlarge them, as load_digits(size=16) does."
            )


def tiny10(width: int = 16, in_channels: int = 3, classes: int = 10, *, seed: int | None = None) -> ConvNet:
    """Build Tiny-10 of Kornblith et al. (2019), Table E.1.

    ====================  ======================================  =========
    layer                 operation                               channels
    ====================  ======================================  =========
    conv1, conv2          3×3 convolution – BN – ReLU             width
    conv3                 3×3 convolution, stride 2 – BN – ReLU   2 · width
    conv4, conv5          3×3 convolution – BN – ReLU             2 · width
    conv6                 3×3 convolution, stride 2 – BN – ReLU   4 · width
    conv7                 3×3 convolution, no padding – BN – ReLU 4 · width
    conv8                 1×1 convolution – BN – ReLU             4 · width
    avg_pool              global average pooling                  4 · width
    logits                linear                                  classes
    ====================  ======================================  =========

    The representations that the paper compares are the outputs of the children named in
    ``REPRESENTATION_LAYERS``.

    Args:
        width: Channels of the first layers; 16 in the paper.
        in_channels: Channels of the images; 3 in the paper.
        classes: Number of logits; 10 in the paper.
        seed: Seed of the initial weights; the global random state is then left as it was. None draws from the
            global random state, as any PyTorch module does.

    Returns:
        A network on the CPU, in training mode, for square or oblong images of at least 9×9 pixels.

    References:
        Kornblith, Norouzi, Lee, Hinton (2019). Similarity of Neural Network Representations Revisited. ICML.
    """
    units = (
        ConvUnit(width),
        ConvUnit(width),
        ConvUnit(2 * width, stride=2),
        ConvUnit(2 * width),
        ConvUnit(2 * width),
        ConvUnit(4 * width, stride=2),
        ConvUnit(4 * width, padding="valid"),
        ConvUnit(4 * width, kernel=1),
    )
    with random_state(seed):
        return ConvNet(units, in_channels=in_channels, classes=classes, name="tiny10")
