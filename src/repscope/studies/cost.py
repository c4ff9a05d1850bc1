"""What a study costs before it runs: the operations of its plan, and the time that they take here."""

from __future__ import annotations

import itertools
import math
import os
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from repscope.engine.products import flops_per_second
from repscope.studies.family import operations
from repscope.studies.page import duration
from repscope.studies.plans import IMAGES, Comparing, Plan, Training, facts_of

if TYPE_CHECKING:
    import torch

    from repscope.studies.zoo import NetworkSpec

MEASURED = 0.5
"""Seconds in which the speed of one kind of network is measured."""

TOO_LONG = 5.0
"""Seconds that a batch may take, by its operations, before nothing is measured and they are told instead."""


def counts(plan: Plan) -> str:
    """A plan in one line: nothing is measured."""
    networks = sum(training.count for training in plan.trainings if training.epochs)
    passes = sum(training.passes for training in plan.trainings)
    if not networks:
        return "no training"
    return f"{networks} network{'s' * (networks > 1)} to train, {passes:,} passes of an example"


def estimate(plan: Plan, device: str = "auto") -> list[str]:
    """A plan in lines, with the time to expect on this machine, of which the speed is measured.

    Args:
        plan: What a study does.
        device: Where networks are trained: ``"auto"``, ``"cpu"``, ``"cuda"``.

    Returns:
        A line for each kind of network, and one for the comparisons. What would take too long to be measured is told
        in operations.
    """
    lines = []
    for training in plan.trainings:
        rate = _rate(training.spec, training.data, training.batch_norm, device) if training.epochs else None
        if rate is None:
            lines.append(f"{training.words}{_counted(training)}")
            continue
        rounds = math.ceil(training.count / _at_once(device))  # one network is never divided
        seconds = rounds * training.passes / training.count / rate
        lines.append(f"{training.words}: about {duration(seconds)} at {rate:,.0f} a second and network")
    if plan.comparings:
        total = sum(map(operations_of, plan.comparings))
        lines.append(f"comparing: {total:.2g} operations, about {duration(total / flops_per_second())} on the CPU")
    return lines


def operations_of(comparing: Comparing) -> float:
    """Multiplications and additions of a comparison, where the Gram matrices of all pairs of images are taken."""
    widths = [list(_shape(spec, comparing.data).widths) for spec, count in comparing.networks for _ in range(count)]
    every = [p for of_one in widths for p in of_one]
    total = 2.0 * comparing.indexes * comparing.images**2 * (sum(every) + len(every) ** 2)
    if comparing.family:
        ranks = [[min(comparing.images, p) for p in of_one] for of_one in widths]
        total += operations(ranks, comparing.images, list(itertools.combinations(range(len(ranks)), 2)))
    return total


def _counted(training: Training) -> str:
    """The operations of a training whose speed is not measured: forward, and twice that backward."""
    if not training.epochs or training.data not in IMAGES:
        return ""
    return f": {3 * training.passes * _shape(training.spec, training.data).operations:.2g} operations"


class _Shape(NamedTuple):
    """Operations of one image's way through a network, and features of the layers that are compared."""

    operations: int
    widths: tuple[int, ...]


@cache
def _shape(spec: NetworkSpec, data: str) -> _Shape:
    """Without memory or arithmetic: on tensors that have a shape only."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from repscope.studies.networks import representation_layers

    facts = facts_of(data)
    with torch.device("meta"):
        model = spec.create(facts, 0).eval()
        image = torch.zeros(1, facts["channels"], facts["side"], facts["side"])
    widths: list[int] = []
    hooks = [
        model.get_submodule(name).register_forward_hook(lambda _, __, output: widths.append(output.numel()))
        for name in representation_layers(model)
    ]
    with FlopCounterMode(display=False) as counter:
        model(image)
    for hook in hooks:
        hook.remove()
    return _Shape(counter.get_total_flops(), tuple(widths))


@cache
def _rate(spec: NetworkSpec, data: str, batch_norm: bool, device: str) -> float | None:
    """Training examples a second on one thread, or None where they are on the disk, or one batch takes too long."""
    from repscope.studies._threads import one_thread
    from repscope.studies.training import images_per_second
    from repscope.studies.zoo import Recipe
    from repscope.studies.zoo.runner import device_of

    if data not in IMAGES:
        return _rate_of_translator(spec, device_of(device)) if data == "numbers" else None
    facts = facts_of(data)
    recipe = Recipe.for_images(data, batch_norm=batch_norm)
    where = device_of(device)
    operations = 3 * recipe.batch_size * _shape(spec, data).operations
    if where.type == "cpu" and operations > TOO_LONG * flops_per_second():
        return None
    rng = np.random.default_rng(0)
    images = rng.standard_normal((4 * recipe.batch_size, facts["channels"], facts["side"], facts["side"]), np.float32)
    with one_thread():
        return images_per_second(
            spec.create(facts, 0).to(where),
            images,
            rng.integers(0, facts["classes"], len(images)),
            batch_size=recipe.batch_size,
            augment=recipe.augmentation,
            precision=recipe.precision_on(where),
            seconds=MEASURED,
        )


def _rate_of_translator(spec: NetworkSpec, device: torch.device) -> float:
    """The same of pairs of number words, which come with the package."""
    from repscope.studies._threads import one_thread
    from repscope.studies.text import load_text
    from repscope.studies.translating import pairs_per_second
    from repscope.studies.zoo import TranslationRecipe

    text, recipe = load_text("numbers"), TranslationRecipe()
    model: Any = spec.build(text, 0).to(device)
    with one_thread():
        return pairs_per_second(
            model,
            text.tokens(text.train[: 32 * recipe.batch_size]),
            batch_size=recipe.batch_size,
            precision=recipe.precision_on(device),
            seconds=MEASURED,
        )


def _at_once(device: str) -> int:
    """Networks that train at the same time by default."""
    from repscope.studies.zoo.runner import device_of

    if device_of(device).type != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
