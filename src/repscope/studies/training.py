"""One plain training loop: stochastic gradient descent on a data set that fits in memory.

Everything random is a function of the seed and the epoch, so a run that was interrupted and resumed gives
the same network, bit for bit, as one that was not (on the same machine with the same number of threads).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from repscope.errors import InputError
from repscope.studies._checkpoint import Checkpoint, digest
from repscope.studies._random import random_state

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARM_UP = 0.25
"""Share of the steps in which the learning rate rises."""


class Augmentation(Protocol):
    """Changes a batch of images at random, drawing from the given generator only."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return changed copies of ``images``, shape (n, c, h, w)."""
        ...


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training gave.

    Attributes:
        number: 1 for the first.
        of: Number of epochs of the whole training.
        loss: Mean cross-entropy over the epoch's examples, in nats, while the weights moved.
        accuracy: Share of the epoch's examples that were classified rightly, 0 to 1, while the weights moved.
        seconds: Wall-clock time.
    """

    number: int
    of: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class TrainingRecord:
    """The course of a training, first epoch first; epochs of an interrupted run included."""

    epochs: tuple[Epoch, ...]

    @property
    def final_loss(self) -> float:
        """Mean cross-entropy over the last epoch, in nats."""
        return self.epochs[-1].loss

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Training accuracy of each epoch, 0 to 1."""
        return tuple(epoch.accuracy for epoch in self.epochs)

    @property
    def seconds(self) -> float:
        """Wall-clock time of all epochs together."""
        return sum(epoch.seconds for epoch in self.epochs)


def train(
    model: nn.Module,
    images: NDArray[np.float32] | Tensor,
    labels: NDArray[np.integer] | Tensor,
    *,
    epochs: int = 12,
    batch_size: int = 64,
    learning_rate: float = 0.1,
    seed: int = 0,
    augment: Augmentation | None = None,
    progress: Callable[[Epoch], None] | None = None,
    checkpoint: Path | str | None = None,
    resume: bool = True,
) -> TrainingRecord:
    """Train a classifier in place by SGD with Nesterov momentum and a one-cycle learning rate.

    The learning rate rises linearly over the first quarter of the steps and falls to zero along a cosine;
    momentum is 0.9, and weight decay 5·10⁻⁴ on all parameters. Each epoch visits every example once, in
    an order drawn from the seed, in batches of nearly equal size. PyTorch's global random state is the
    same before and after.

    Args:
        model: The network, on the device where it shall be trained; its weights at the call are the start.
        images: Shape (n, c, h, w), float32; moved to the model's device as a whole.
        labels: Shape (n,), integers from 0.
        epochs: Passes over the data, at least 1.
        batch_size: Largest number of examples in a batch, at least 1.
        learning_rate: Peak of the learning rate.
        seed: Decides order, augmentation and dropout.
        augment: Applied to every training batch, e.g. :class:`RandomShift`.
        progress: Called after every epoch.
        checkpoint: File (.safetensors) written after every epoch: weights, optimizer state and record. It is
            written under a temporary name and renamed, so an interruption leaves the previous one whole.
        resume: Continue from ``checkpoint`` where it exists; False starts again and overwrites it.

    Returns:
        The record of all epochs. ``model`` holds the trained weights and is in training mode.

    Raises:
        InputError: Shapes, sizes or options are wrong; the loss is not finite; or ``checkpoint`` belongs
            to another recipe, other data or other initial weights.
        FileFormatError: ``checkpoint`` is not a file that this function wrote.

    Example:
        >>> from repscope.studies.digits import load_digits
        >>> from repscope.studies.networks import tiny10
        >>> model = tiny10(width=4, in_channels=1, seed=0)
        >>> record = train(model, *load_digits(), epochs=2)
        >>> len(record.accuracies)
        2
    """
    device = next(model.parameters()).device
    images, labels = _as_tensors("train", images, labels, device)
    _check_positive(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
    done: list[Epoch] = []
    saver = None
    if checkpoint is not None:
        recipe = {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "seed": seed,
            "augment": repr(augment),
            "data": digest([images, labels]),
            "initial weights": digest(model.state_dict().values()),
        }
        saver = Checkpoint(Path(checkpoint), recipe, model, optimizer)
        if resume and saver.path.exists():
            done = [Epoch(**epoch) for epoch in saver.load()]
    batches = math.ceil(len(images) / batch_size)
    model.train()
    for number in range(len(done) + 1, epochs + 1):
        start = time.perf_counter()
        rates = [
            learning_rate * one_cycle(((number - 1) * batches + index + 0.5) / (epochs * batches))
            for index in range(batches)
        ]
        epoch_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        with random_state(epoch_seed, device):  # for layers that draw at random, such as dropout
            loss, right = _one_pass(model, optimizer, images, labels, rates, epoch_seed, augment)
        if not math.isfinite(loss):
            raise InputError(
                f"train: learning_rate must keep the loss finite, got {learning_rate} and a loss of {loss} "
                f"in epoch {number}. Lower it."
            )
        done.append(Epoch(number, epochs, loss, right, time.perf_counter() - start))
        if saver is not None:
            saver.save([dataclasses.asdict(epoch) for epoch in done])
        if progress is not None:
            progress(done[-1])
    return TrainingRecord(tuple(done))


def _one_pass(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    rates: Sequence[float],
    seed: int,
    augment: Augmentation | None,
) -> tuple[float, float]:
    """Take one step for each learning rate, over all examples once; return mean loss and accuracy."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator).to(images.device)
    loss_sum = torch.zeros((), device=images.device)
    right = torch.zeros((), device=images.device)
    for rate, chosen in zip(rates, order.tensor_split(len(rates)), strict=True):
        batch, target = images[chosen], labels[chosen]
        if augment is not None:
            batch = augment(batch, generator)
        logits = model(batch.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits, target)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss_sum += loss.detach() * len(chosen)
        right += (logits.detach().argmax(dim=1) == target).sum()
    return loss_sum.item() / len(images), right.item() / len(images)


@torch.inference_mode()
def accuracy(
    model: nn.Module,
    images: NDArray[np.float32] | Tensor,
    labels: NDArray[np.integer] | Tensor,
    *,
    batch_size: int = 512,
) -> float:
    """Return the share of images that the model classifies rightly, in evaluation mode.

    Args:
        model: The network; the training flag of every submodule comes back as it was.
        images: Shape (n, c, h, w), float32.
        labels: Shape (n,), integers.
        batch_size: Examples in one forward pass.

    Returns:
        The accuracy, 0 to 1.

    Raises:
        InputError: The shapes do not fit.
    """
    device = next(model.parameters()).device
    images, labels = _as_tensors("accuracy", images, labels, device)
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        right: int = sum(
            (model(batch).argmax(dim=1) == target).sum().item()
            for batch, target in zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True)
        )
    finally:
        for module, flag in flags:
            module.training = flag
    return right / len(images)


@dataclass(frozen=True)
class RandomShift:
    """Shift every image by up to ``pixels`` in each direction; what enters repeats the edge.

    Attributes:
        pixels: Largest shift, in pixels.
    """

    pixels: int = 1

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return shifted copies of ``images``, shape (n, c, h, w)."""
        n, _, height, width = images.shape
        padded = functional.pad(images, [self.pixels] * 4, mode="replicate")
        offsets = torch.randint(0, 2 * self.pixels + 1, (2, n, 1), generator=generator).to(images.device)
        rows = (offsets[0] + torch.arange(height, device=images.device))[:, :, None]  # (n, h, 1)
        columns = (offsets[1] + torch.arange(width, device=images.device))[:, None, :]  # (n, 1, w)
        examples = torch.arange(n, device=images.device)[:, None, None]
        return padded.movedim(1, 3)[examples, rows, columns].movedim(3, 1)


def one_cycle(progress: float) -> float:
    """Return the share of the peak learning rate after a share ``progress`` (0 to 1) of the training."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def _as_tensors(function: str, images: Any, labels: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    images, labels = torch.as_tensor(images), torch.as_tensor(labels)
    if images.ndim != 4 or labels.shape != images.shape[:1] or len(images) == 0:
        raise InputError(
            f"{function}: images must have shape (n, c, h, w) and labels (n,) with the same n ≥ 1, "
            f"got {tuple(images.shape)} and {tuple(labels.shape)}. Give one label to each image."
        )
    return images.to(device, torch.float32), labels.to(device, torch.int64)


def _check_positive(**options: float) -> None:
    for name, value in options.items():
        if not value > 0:
            raise InputError(f"train: {name} must be positive, got {value}.")
