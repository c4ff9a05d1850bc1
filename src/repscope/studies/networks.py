"""The convolutional networks of Kornblith et al. (2019), as tables of units.

A unit is convolution – batch normalisation – ReLU, and its output is a layer in the sense of the paper. The
units are named ``conv1``, ``conv2``, …; they are followed by ``avg_pool`` and ``logits``. The residual networks
have blocks in the place of units. No layer changes its input in place, so every output can be recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

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

    def build(self, in_channels: int, *, batch_norm: bool = True) -> nn.Sequential:
        """Return the unit as a module; where there is batch normalisation, the bias is left to it."""
        network = nn.Sequential()
        # For stride 2 on an even size TensorFlow pads at the right and bottom only; here it is both sides.
        # The maps have the same size, and the paper does not say which it used.
        pad = self.kernel // 2 if self.padding == "same" else 0
        conv = nn.Conv2d(in_channels, self.channels, self.kernel, self.stride, pad, bias=not batch_norm)
        network.add_module("conv", conv)
        if batch_norm:
            network.add_module("bn", nn.BatchNorm2d(self.channels))
        network.add_module("relu", nn.ReLU())
        return network

    def smallest_input(self, output: int) -> int:
        """Return the smallest input size, in pixels, that leaves a map of at least ``output`` pixels."""
        span = (output - 1) * self.stride + 1
        return span if self.padding == "same" else span + self.kernel - 1


def take_statistics(network: nn.Module, images: NDArray[np.float32]) -> None:
    """Let batch normalisation run with the means and variances that these images (n, channels, height, width) have."""
    normalised = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    training, momenta = network.training, [module.momentum for module in normalised]
    network.train()
    for module in normalised:
        module.reset_running_stats()
        module.momentum = None  # the mean over all batches, of which there is one
    try:
        with torch.no_grad():
            network(torch.from_numpy(images).to(next(network.parameters()).device))
    finally:
        for module, momentum in zip(normalised, momenta, strict=True):
            module.momentum = momentum
        network.train(training)


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
        batch_norm: Whether the units normalise.
    """

    def __init__(
        self,
        units: Sequence[ConvUnit],
        *,
        in_channels: int,
        classes: int,
        name: str,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        _check_sizes(name, in_channels=in_channels, classes=classes)
        self._name = name
        self._in_channels = in_channels
        self._smallest_image = 1
        for unit in reversed(units):
            self._smallest_image = unit.smallest_input(self._smallest_image)
        width = in_channels
        for index, unit in enumerate(units, start=1):
            self.add_module(f"conv{index}", unit.build(width, batch_norm=batch_norm))
            width = unit.channels
        self.add_module("avg_pool", GlobalAveragePool())
        self.add_module("logits", nn.Linear(width, classes))
        _keep_scale(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of ``images``.

        Args:
            images: Shape (n, in_channels, height, width).

        Returns:
            Logits of shape (n, classes).

        Raises:
            InputError: ``images`` has other axes or channels, or is too small for the unpadded convolution.
        """
        _check_images(self._name, images, self._in_channels, self._smallest_image)
        maps = images
        for layer in self.children():
            maps = layer(maps)
        return maps


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around which the input goes by: relu(inside-out(x) + x).

    Where the block halves the map or widens it, the input is subsampled and padded with channels of zeros (option A
    of He et al. 2016), so that the shortcut has no weights.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        stride: Step of the first convolution, in pixels.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self._stride = stride
        self._padding = channels - in_channels
        self.inside = ConvUnit(channels, stride=stride).build(in_channels)
        self.residual = ConvUnit(channels).build(channels)[:2]
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's output for ``maps`` of shape (n, in_channels, h, w)."""
        shortcut = maps[:, :, :: self._stride, :: self._stride]
        shortcut = functional.pad(shortcut, (0, 0, 0, 0, self._padding // 2, self._padding - self._padding // 2))
        output: Tensor = self.relu(self.residual(self.inside(maps)) + shortcut)
        return output


class ResNet(nn.Module):
    """A residual network for small images: ``stem``, ``block1``, ``block2``, …, ``avg_pool``, ``logits``.

    Args:
        blocks: Blocks in each of the three stages.
        widths: Channels of the three stages.
        in_channels: Channels of the images: 3 for colour, 1 for grey.
        classes: Number of logits.
        name: What error messages call the network.
    """

    def __init__(self, blocks: int, widths: Sequence[int], *, in_channels: int, classes: int, name: str) -> None:
        super().__init__()
        _check_sizes(name, in_channels=in_channels, classes=classes)
        self._name = name
        self._in_channels = in_channels
        self.add_module("stem", ConvUnit(widths[0]).build(in_channels))
        width = widths[0]
        strides = [
            (stage_width, 2 if stage and not index else 1)
            for stage, stage_width in enumerate(widths)
            for index in range(blocks)
        ]
        for number, (channels, stride) in enumerate(strides, start=1):
            self.add_module(f"block{number}", ResidualBlock(width, channels, stride))
            width = channels
        self.add_module("avg_pool", GlobalAveragePool())
        self.add_module("logits", nn.Linear(width, classes))
        _keep_scale(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of ``images``.

        Args:
            images: Shape (n, in_channels, height, width).

        Returns:
            Logits of shape (n, classes).

        Raises:
            InputError: ``images`` has other axes or channels.
        """
        _check_images(self._name, images, self._in_channels, 1)
        maps = images
        for layer in self.children():
            maps = layer(maps)
        return maps


def tiny10(
    width: int = 16, in_channels: int = 3, classes: int = 10, *, batch_norm: bool = True, seed: int | None = None
) -> ConvNet:
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
        batch_norm: False leaves the batch normalisation out; the convolutions then have biases.
        seed: Seed of the initial weights; the global random state is then left as it was. None draws from the
            global random state, as any PyTorch module does.

    Returns:
        A network on the CPU, in training mode, for square or oblong images of at least 9×9 pixels.

    References:
        Kornblith, Norouzi, Lee, Hinton (2019). Similarity of Neural Network Representations Revisited. ICML.
    """
    _check_sizes("tiny10", width=width)
    units = _all_cnn(width, 2 * width, 4 * width)
    with random_state(seed):
        return ConvNet(
            units,
            in_channels=in_channels,
            classes=classes,
            name="tiny10",
            batch_norm=batch_norm,
        )


def width_net(
    width: int, in_channels: int = 3, classes: int = 10, *, batch_norm: bool = True, seed: int | None = None
) -> ConvNet:
    """Build Width-n of Kornblith et al. (2019), Table E.3: Tiny-10 with ``width`` channels in every convolution.

    Args:
        width: Channels of every layer; 4, 8, …, 4096 in the paper.
        in_channels: Channels of the images; 3 in the paper.
        classes: Number of logits; 10 in the paper.
        batch_norm: False leaves the batch normalisation out; the convolutions then have biases.
        seed: As for :func:`tiny10`.

    Returns:
        A network on the CPU, in training mode, for images of at least 9×9 pixels; layers as in :func:`tiny10`.

    Raises:
        InputError: ``width``, ``in_channels`` or ``classes`` is below 1.
    """
    _check_sizes("width_net", width=width)
    units = _all_cnn(width, width, width)
    with random_state(seed):
        return ConvNet(units, in_channels=in_channels, classes=classes, name="width_net", batch_norm=batch_norm)


def plain(
    depth: int = 10,
    *,
    in_channels: int = 3,
    classes: int = 10,
    width: int = 96,
    batch_norm: bool = True,
    seed: int | None = None,
) -> ConvNet:
    """Build Plain-(8n + 2) of Kornblith et al. (2019), Table E.2; n is the depth multiplier.

    =======================================  ===========  ======
    operation                                channels     count
    =======================================  ===========  ======
    3×3 convolution – BN – ReLU              width        3n − 1
    3×3 convolution, stride 2 – BN – ReLU    width        1
    3×3 convolution – BN – ReLU              2 · width    3n − 1
    3×3 convolution, stride 2 – BN – ReLU    2 · width    1
    3×3 convolution – BN – ReLU              2 · width    n − 1
    3×3 convolution, no padding – BN – ReLU  2 · width    1
    1×1 convolution – BN – ReLU              2 · width    n
    global average pooling                   2 · width    1
    linear                                   classes      1
    =======================================  ===========  ======

    Args:
        depth: 8n + 2: 10, 18, 34 or 66 in the paper.
        in_channels: Channels of the images; 3 in the paper.
        classes: Number of logits; 10 or 100 in the paper.
        width: Channels of the first layers; 96 in the paper.
        batch_norm: False leaves the batch normalisation out; the convolutions then have biases.
        seed: As for :func:`tiny10`.

    Returns:
        A network on the CPU, in training mode, for images of at least 9×9 pixels, with the children ``conv1`` to
        ``conv{8n}``, ``avg_pool`` and ``logits``.

    Raises:
        InputError: ``depth`` is not 8n + 2, or another number is below 1.
    """
    n, rest = divmod(depth - 2, 8)
    if n < 1 or rest:
        raise InputError(f"plain: depth must be 8n + 2 (10, 18, 26, 34, …, 66), got {depth}.")
    _check_sizes("plain", width=width)
    units = [
        *[ConvUnit(width)] * (3 * n - 1),
        ConvUnit(width, stride=2),
        *[ConvUnit(2 * width)] * (3 * n - 1),
        ConvUnit(2 * width, stride=2),
        *[ConvUnit(2 * width)] * (n - 1),
        ConvUnit(2 * width, padding="valid"),
        *[ConvUnit(2 * width, kernel=1)] * n,
    ]
    with random_state(seed):
        return ConvNet(units, in_channels=in_channels, classes=classes, name="plain", batch_norm=batch_norm)


def resnet(
    depth: int = 14, *, in_channels: int = 3, classes: int = 10, width: int = 16, seed: int | None = None
) -> ResNet:
    """Build the residual network of He et al. (2016) for CIFAR, of 6m + 2 layers.

    A 3×3 convolution (``stem``); three stages of m blocks of two 3×3 convolutions each, of ``width``, 2 · ``width``
    and 4 · ``width`` channels, each stage but the first at half the size of the one before; average pooling; a linear
    layer. Version 1: ReLU after the addition; shortcuts without weights. Kornblith et al. compare the 6m layers of the
    blocks and the average pooling (:func:`representation_layers`), and name neither version nor shortcut.

    Args:
        depth: 6m + 2: 14, 32 or 62 in Kornblith et al.
        in_channels: Channels of the images.
        classes: Number of logits.
        width: Channels of the first stage; 16 in He et al.
        seed: As for :func:`tiny10`.

    Returns:
        A network on the CPU, in training mode, with the children ``stem``, ``block1`` to ``block{3m}``, ``avg_pool``
        and ``logits``. ``block1`` gives the map after the addition, ``block1.inside`` that between the convolutions.

    Raises:
        InputError: ``depth`` is not 6m + 2, or another number is below 1.

    References:
        He, Zhang, Ren, Sun (2016). Deep Residual Learning for Image Recognition. CVPR. Section 4.2.
    """
    blocks, rest = divmod(depth - 2, 6)
    if blocks < 1 or rest:
        raise InputError(f"resnet: depth must be 6m + 2 (8, 14, 20, 26, 32, …, 62), got {depth}.")
    _check_sizes("resnet", width=width)
    with random_state(seed):
        widths = (width, 2 * width, 4 * width)
        return ResNet(blocks, widths, in_channels=in_channels, classes=classes, name="resnet")


def representation_layers(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the layers that the paper compares, first to last.

    Of a :class:`ConvNet` these are all children but the logits: 8n + 1 of Plain-(8n + 2). Of a :class:`ResNet` they
    are two layers of each block and the average pooling: 6m + 1 of ResNet-(6m + 2); the paper's odd layers are those
    inside a block (``block1.inside``, …), the even ones those after an addition (``block1``, …).

    Args:
        model: A network of this module.

    Returns:
        Names of submodules, as :func:`repscope.compare` takes them in ``layers``.

    Raises:
        InputError: ``model`` is another kind of module.
    """
    if not isinstance(model, ConvNet | ResNet):
        raise InputError(
            f"representation_layers: model must be a network of repscope.studies.networks, got {type(model).__name__}. "
            "Name the layers of other models yourself."
        )
    names = [name for name, _ in model.named_children() if name not in ("stem", "logits")]
    return tuple(part for name in names for part in ((f"{name}.inside", name) if name.startswith("block") else (name,)))


def _all_cnn(first: int, second: int, third: int) -> tuple[ConvUnit, ...]:
    """The units of Tiny-10 and Width-n, with the channels at each size of the maps."""
    return (
        ConvUnit(first),
        ConvUnit(first),
        ConvUnit(second, stride=2),
        ConvUnit(second),
        ConvUnit(second),
        ConvUnit(third, stride=2),
        ConvUnit(third, padding="valid"),
        ConvUnit(third, kernel=1),
    )


def _keep_scale(model: nn.Module) -> None:
    """Draw the convolutions' weights from He's normal distribution, of variance 2 / inputs, and let biases be zero."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _check_sizes(function: str, **sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise InputError(f"{function}: {name} must be at least 1, got {value}.")


def _check_images(function: str, images: Tensor, channels: int, smallest: int) -> None:
    got = tuple(images.shape)
    if images.ndim != 4 or images.shape[1] != channels:
        raise InputError(
            f"{function}: images must have shape (n, {channels}, height, width), got {got}. "
            "Build the network with in_channels equal to the channels of the images."
        )
    if min(images.shape[2:]) < smallest:
        raise InputError(
            f"{function}: images must be at least {smallest}×{smallest} pixels, got {got[2]}×{got[3]}. "
            "The unpadded convolution would leave nothing; enlarge them, as load_digits(size=16) does."
        )
