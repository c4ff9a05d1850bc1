"""One plain training loop: stochastic gradient descent on a data set that fits in memory.

Everything random is a function of the seed and the epoch, so a run that was interrupted and resumed gives
the same network, bit for bit, as one that was not (on the same machine with the same number of threads).
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from repscope.errors import InputError
from repscope.studies._checkpoint import Checkpoint, digest
from repscope.studies._random import random_state
from repscope.studies.augmentation import Augmentation

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARM_UP = 0.25
"""Share of the steps in which the learning rate rises."""

_BATCHES_MEASURED = 32
"""Batches that speed is measured on, one after another: more than a cache holds, as in training."""

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training gave.

    Attributes:
        number: 1 for the first.
        of: Number of epochs of the whole training.
        loss: Mean cross-entropy over the epoch's examples (images, or tokens of a translation), in nats, while the
            weights moved.
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
    weight_decay: float = WEIGHT_DECAY,
    decay_all: bool = True,
    precision: Precision = "float32",
    progress: Callable[[Epoch], None] | None = None,
    checkpoint: Path | str | None = None,
    resume: bool = True,
) -> TrainingRecord:
    """Train a classifier in place by SGD with Nesterov momentum and a one-cycle learning rate.

    The learning rate rises linearly over the first quarter of the steps and falls to zero along a cosine;
    momentum is 0.9. Each epoch visits every example once, in an order drawn from the seed, in batches of
    nearly equal size. PyTorch's global random state is the same before and after.

    Args:
        model: The network, on the device where it shall be trained; its weights at the call are the start.
        images: Shape (n, c, h, w), float32; moved to the model's device as a whole.
        labels: Shape (n,), integers from 0.
        epochs: Passes over the data, at least 1.
        batch_size: Largest number of examples in a batch, at least 1.
        learning_rate: Peak of the learning rate.
        seed: Decides order, augmentation and dropout.
        augment: Applied to every training batch, e.g. :class:`~repscope.studies.augmentation.FlipAndCrop`.
        weight_decay: Multiple of each parameter that is added to its gradient; at least 0.
        decay_all: Decay every parameter; False: those with two axes or more only, which leaves out biases and
            the scales and shifts of batch normalisation.
        precision: ``"bfloat16"``: convolutions and products in 16 bits, weights and sums in 32 (autocast).
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
    check_positive(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    if not weight_decay >= 0:
        raise InputError(f"train: weight_decay must be 0 or more, got {weight_decay}.")
    check_precision(precision)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _sgd(model, weight_decay, decay_all)
    saver = None
    if checkpoint is not None:
        recipe = {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "seed": seed,
            "augment": repr(augment),
            "weight_decay": weight_decay,
            "decay_all": decay_all,
            "precision": precision,
            "data": digest([images, labels]),
            "initial weights": digest(model.state_dict().values()),
        }
        saver = Checkpoint(Path(checkpoint), recipe, model, optimizer)

    def one_pass(rates: Sequence[float], epoch_seed: int) -> tuple[float, float]:
        return _one_pass(model, optimizer, images, labels, rates, epoch_seed, augment, precision)

    model.train()
    return run_epochs(
        one_pass,
        epochs=epochs,
        steps=math.ceil(len(images) / batch_size),
        learning_rate=learning_rate,
        seed=seed,
        device=device,
        saver=saver,
        resume=resume,
        progress=progress,
    )


def run_epochs(
    one_pass: Callable[[Sequence[float], int], tuple[float, float]],
    *,
    epochs: int,
    steps: int,
    learning_rate: float,
    seed: int,
    device: torch.device,
    saver: Checkpoint | None = None,
    resume: bool = True,
    progress: Callable[[Epoch], None] | None = None,
) -> TrainingRecord:
    """Go through the epochs of a training of any kind, from the last one that is saved.

    Args:
        one_pass: Takes one step for each of the learning rates, over all examples once, with randomness from the seed,
            and returns mean loss and accuracy.
        epochs: How many in all.
        steps: Steps of an epoch.
        learning_rate: Peak of :func:`one_cycle`.
        seed: Each epoch has a seed of its own, which follows from this one and the epoch's number.
        device: Where the model is.
        saver: Keeps the state after every epoch.
        resume: Begin from the state that the saver's file holds, where it exists.
        progress: Called after every epoch.

    Raises:
        InputError: The loss is not finite, or the saver's file belongs to another training.
        FileFormatError: The saver's file is damaged.
    """
    done: list[Epoch] = []
    if saver is not None and resume and saver.path.exists():
        done = [Epoch(**epoch) for epoch in saver.load()]
    for number in range(len(done) + 1, epochs + 1):
        start = time.perf_counter()
        rates = [
            learning_rate * one_cycle(((number - 1) * steps + index + 0.5) / (epochs * steps)) for index in range(steps)
        ]
        epoch_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        with random_state(epoch_seed, device), repeatable(device):  # random for layers such as dropout
            loss, right = one_pass(rates, epoch_seed)
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


def images_per_second(
    model: nn.Module,
    images: NDArray[np.float32] | Tensor,
    labels: NDArray[np.integer] | Tensor,
    *,
    batch_size: int = 64,
    augment: Augmentation | None = None,
    precision: Precision = "float32",
    seconds: float = 1.0,
) -> float:
    """Measure how fast :func:`train` would go, by some of its batches on a copy of the model.

    Args:
        model: Left as it is.
        images: As for :func:`train`.
        labels: As for :func:`train`.
        batch_size: As for :func:`train`.
        augment: As for :func:`train`.
        precision: As for :func:`train`.
        seconds: How long to measure at least, after one batch that does not count.

    Returns:
        Training images a second.
    """
    device = next(model.parameters()).device
    few = min(len(images), _BATCHES_MEASURED * batch_size)
    images, labels = _as_tensors("images_per_second", images[:few], labels[:few], device)
    batches = list(zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True))
    trial = copy.deepcopy(model).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimizer = _sgd(trial, WEIGHT_DECAY, True)
    with random_state(0, device), repeatable(device):
        _one_pass(trial, optimizer, *batches[0], [0.0], 0, augment, precision)
        seen, steps, start = 0, 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            batch = batches[steps % len(batches)]
            _one_pass(trial, optimizer, *batch, [0.0], 0, augment, precision)
            seen, steps = seen + len(batch[0]), steps + 1
    return seen / elapsed


def _sgd(model: nn.Module, weight_decay: float, decay_all: bool) -> torch.optim.SGD:
    decayed = [parameter for parameter in model.parameters() if decay_all or parameter.ndim > 1]
    spared = [parameter for parameter in model.parameters() if not decay_all and parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    return torch.optim.SGD([group for group in groups if group["params"]], lr=0.0, momentum=MOMENTUM, nesterov=True)


def repeatable(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """On a GPU, only convolutions that give the same bits every time."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)


def _one_pass(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    rates: Sequence[float],
    seed: int,
    augment: Augmentation | None,
    precision: Precision,
) -> tuple[float, float]:
    """Take one step for each learning rate, over all examples once; return mean loss and accuracy."""
    device = images.device
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator).to(device)
    loss_sum = torch.zeros((), device=device)
    right = torch.zeros((), device=device)
    for rate, chosen in zip(rates, order.tensor_split(len(rates)), strict=True):
        batch, target = images[chosen], labels[chosen]
        if augment is not None:
            batch = augment(batch, generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(batch.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits.float(), target)
        for group in optimizer.param_groups:
            group["lr"] = rate
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


def check_positive(**options: float) -> None:
    """Refuse options of a training that are not positive.

    Raises:
        InputError: One is not.
    """
    for name, value in options.items():
        if not value > 0:
            raise InputError(f"train: {name} must be positive, got {value}.")


def check_precision(precision: str) -> None:
    """Refuse what is no precision of a training.

    Raises:
        InputError: It is none.
    """
    if precision not in get_args(Precision):
        raise InputError(f"train: precision must be one of {', '.join(get_args(Precision))}, got {precision!r}.")
