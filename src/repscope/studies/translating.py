"""Train a translator, judge it, and let it translate."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from repscope.errors import InputError
from repscope.studies._checkpoint import Checkpoint, digest
from repscope.studies._random import random_state
from repscope.studies.training import (
    Epoch,
    Precision,
    TrainingRecord,
    check_positive,
    check_precision,
    run_epochs,
)
from repscope.studies.translator import Translator
from repscope.studies.vocabulary import BEGIN, END, PAD

TokenPair = tuple[Sequence[int], Sequence[int]]
"""A sentence up to ``END``, and its translation from ``BEGIN`` to ``END``."""

BETAS = (0.9, 0.98)
"""Of Adam, as in Vaswani et al. (2017), section 5.3."""

LARGEST_GRADIENT = 1.0
"""Norm to which the gradient of a step is cut."""

_POOL = 50
"""Batches whose sentences are sorted by length together, so that batches have little padding and differ by epoch."""


def train_translator(
    model: Translator,
    pairs: Sequence[TokenPair],
    *,
    epochs: int,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    label_smoothing: float = 0.1,
    seed: int = 0,
    precision: Precision = "float32",
    progress: Callable[[Epoch], None] | None = None,
    checkpoint: Path | str | None = None,
) -> TrainingRecord:
    """Train a translator in place by Adam with a one-cycle learning rate.

    The loss is the mean cross-entropy of the target's tokens. Each epoch visits every pair once, in batches of like
    length that are drawn from the seed. As in :func:`repscope.studies.training.train`, an interrupted training that is
    resumed gives the same weights, bit for bit, on the same machine with the same number of threads.

    Args:
        model: Its weights at the call are the start.
        pairs: Tokens of the training pairs.
        epochs: Passes over the pairs, at least 1.
        batch_size: Pairs in a batch, at most.
        learning_rate: Its peak, after the first quarter of the steps.
        label_smoothing: Share of the probability that the loss spreads over all tokens, 0 to below 1.
        seed: Decides batches and dropout.
        precision: ``"bfloat16"``: products in 16 bits, weights and sums in 32 (autocast).
        progress: Called after every epoch.
        checkpoint: File (.safetensors) written after every epoch, from which the training goes on where it exists.

    Returns:
        The record of all epochs; loss and accuracy are of tokens. ``model`` is in training mode.

    Raises:
        InputError: An option is out of range, there are no pairs, the loss is not finite, or ``checkpoint`` belongs to
            another training.
        FileFormatError: ``checkpoint`` is not a file that this function wrote.
    """
    check_positive(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    check_precision(precision)
    if not 0 <= label_smoothing < 1:
        raise InputError(f"train: label_smoothing must be from 0 to below 1, got {label_smoothing}.")
    if not pairs:
        raise InputError("train: pairs must hold at least one pair of sentences, got none.")
    device = next(model.parameters()).device
    optimizer = _adam(model)
    saver = None
    if checkpoint is not None:
        recipe = {
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "label_smoothing": label_smoothing,
            "seed": seed,
            "precision": precision,
            "data": digest(torch.tensor(side) for pair in pairs for side in pair),
            "initial weights": digest(model.state_dict().values()),
        }
        saver = Checkpoint(Path(checkpoint), recipe, model, optimizer)

    def one_pass(rates: Sequence[float], epoch_seed: int) -> tuple[float, float]:
        batches = _batches(pairs, batch_size, epoch_seed)
        return _one_pass(model, optimizer, batches, rates, label_smoothing, precision)

    model.train()
    return run_epochs(
        one_pass,
        epochs=epochs,
        steps=math.ceil(len(pairs) / batch_size),
        learning_rate=learning_rate,
        seed=seed,
        device=device,
        saver=saver,
        progress=progress,
    )


def pairs_per_second(
    model: Translator,
    pairs: Sequence[TokenPair],
    *,
    batch_size: int = 32,
    precision: Precision = "float32",
    seconds: float = 2.0,
) -> float:
    """Measure how fast :func:`train_translator` would go, by some of its batches on a copy of the model.

    Args:
        model: Left as it is.
        pairs: As for :func:`train_translator`.
        batch_size: As for :func:`train_translator`.
        precision: As for :func:`train_translator`.
        seconds: How long to measure at least, after one batch that does not count.

    Returns:
        Training pairs a second.
    """
    trial = copy.deepcopy(model).train()
    optimizer = _adam(trial)
    batches = _batches(pairs, batch_size, 0)
    with random_state(0, next(model.parameters()).device):
        _one_pass(trial, optimizer, batches[:1], [0.0], 0.0, precision)
        seen, steps, start = 0, 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            batch = batches[steps % len(batches)]
            _one_pass(trial, optimizer, [batch], [0.0], 0.0, precision)
            seen, steps = seen + len(batch), steps + 1
    return seen / elapsed


@torch.inference_mode()
def token_accuracy(model: Translator, pairs: Sequence[TokenPair], *, batch_size: int = 100) -> float:
    """Return the share of target tokens that the model holds for the likeliest, given those before them, 0 to 1.

    Args:
        model: In evaluation mode; left so.
        pairs: Tokens.
        batch_size: Pairs in one forward pass.
    """
    device = next(model.parameters()).device
    right = count = 0
    for start in range(0, len(pairs), batch_size):
        source, target = _padded(pairs[start : start + batch_size], device)
        real = target[:, 1:] != PAD
        likeliest = model(source, target[:, :-1]).argmax(dim=2)
        right += int(((likeliest == target[:, 1:]) & real).sum())
        count += int(real.sum())
    return right / count


@torch.inference_mode()
def translate(
    model: Translator, sources: Sequence[Sequence[int]], *, extra: int = 20, batch_size: int = 100
) -> list[list[int]]:
    """Translate by taking the likeliest next token again and again (greedy decoding).

    Args:
        model: In evaluation mode.
        sources: Tokens of each sentence, up to ``END``.
        extra: A translation ends after twice the tokens of the longest sentence of its batch plus so many.
        batch_size: Sentences in one forward pass.

    Returns:
        The tokens of each translation, without begin and end.
    """
    device = next(model.parameters()).device
    order = sorted(range(len(sources)), key=lambda index: len(sources[index]))
    found: list[list[int]] = [[] for _ in sources]
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        source = _stack([sources[index] for index in chosen], device)
        memory = model.encode(source)
        target = torch.full((len(chosen), 1), BEGIN, device=device)
        ended = torch.zeros(len(chosen), dtype=torch.bool, device=device)
        for _ in range(2 * source.shape[1] + extra):
            following = model.logits(model.decode(target, memory, source)[:, -1]).argmax(dim=1)
            following[ended] = END
            target = torch.cat([target, following[:, None]], dim=1)
            ended |= following == END
            if ended.all():
                break
        for index, tokens in zip(chosen, target[:, 1:].tolist(), strict=True):
            found[index] = tokens[: tokens.index(END)] if END in tokens else tokens
    return found


def _adam(model: Translator) -> torch.optim.Adam:
    return torch.optim.Adam(model.parameters(), lr=0.0, betas=BETAS, eps=1e-9, fused=True)


def _batches(pairs: Sequence[TokenPair], batch_size: int, seed: int) -> list[list[TokenPair]]:
    """All pairs once, in batches of like length and in an order from the seed."""
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(pairs), generator=generator).tolist()
    batches: list[list[TokenPair]] = []
    for start in range(0, len(pairs), _POOL * batch_size):
        pool = [pairs[index] for index in shuffled[start : start + _POOL * batch_size]]
        pool.sort(key=lambda pair: (len(pair[1]), len(pair[0])))
        batches += [pool[first : first + batch_size] for first in range(0, len(pool), batch_size)]
    order = torch.randperm(len(batches), generator=generator).tolist()
    return [batches[index] for index in order]


def _one_pass(
    model: Translator,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Sequence[TokenPair]],
    rates: Sequence[float],
    label_smoothing: float,
    precision: Precision,
) -> tuple[float, float]:
    """Take one step for each batch; return mean loss and accuracy of the target's tokens."""
    device = next(model.parameters()).device
    loss_sum = torch.zeros((), device=device)
    right = torch.zeros((), device=device)
    count = 0
    for batch, rate in zip(batches, rates, strict=True):
        source, target = _padded(batch, device)
        wanted = target[:, 1:]
        real = wanted != PAD
        wanted = wanted[real]
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            stream = model.decode(target[:, :-1], model.encode(source), source)
            logits = model.logits(stream[real]).float()
        loss = functional.cross_entropy(logits, wanted, label_smoothing=label_smoothing)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        loss_sum += loss.detach() * len(wanted)
        right += (logits.detach().argmax(dim=1) == wanted).sum()
        count += len(wanted)
    return loss_sum.item() / count, right.item() / count


def _padded(pairs: Sequence[TokenPair], device: torch.device) -> tuple[Tensor, Tensor]:
    return _stack([source for source, _ in pairs], device), _stack([target for _, target in pairs], device)


def _stack(sentences: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Sentences as one tensor, filled up with ``PAD`` at the end."""
    rows = [torch.tensor(sentence) for sentence in sentences]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD).to(device)


def token_batches(sources: Sequence[Sequence[int]], *, batch_size: int = 100) -> Iterator[dict[str, Tensor]]:
    """Batches of sentences for a comparison of layers, with a mask that counts neither padding nor ``END``.

    Args:
        sources: Tokens of each sentence, up to ``END``; all with at least one token before it.
        batch_size: Sentences in a batch.

    Yields:
        ``tokens`` and ``attention_mask``, both of shape (sentences, tokens).
    """
    for start in range(0, len(sources), batch_size):
        tokens = _stack(sources[start : start + batch_size], torch.device("cpu"))
        yield {"tokens": tokens, "attention_mask": (tokens != PAD) & (tokens != END)}
