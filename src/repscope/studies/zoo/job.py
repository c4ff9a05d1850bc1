"""One network, from its description to its file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from repscope.studies._threads import one_thread
from repscope.studies.datasets import ImageSet
from repscope.studies.text import ParallelText
from repscope.studies.training import Epoch, TrainingRecord
from repscope.studies.zoo.network_file import save
from repscope.studies.zoo.spec import AnyRecipe, NetworkSpec
from repscope.studies.zoo.tasks import Task, task

_UNTRAINED_EXAMPLES = 200
"""Test examples on which an untrained network is tried: it guesses, and a deep one takes its time to."""

_GLANCE, _MEASURED = 0.2, 5.0
"""Seconds in which speed is measured: a glance, and where the training takes long, as long as a forecast needs."""

WORTH_MEASURING = 60.0
"""Seconds of training from which on it does."""

OnSpeed = Callable[[float], None]
OnEpoch = Callable[[Epoch], None]


@dataclass(frozen=True, eq=False)
class Job:
    """What all networks of one call of ``trained`` have in common.

    Attributes:
        spec: What is trained.
        data: On what.
        recipe: How.
        folder: Where the files go.
        limit: The first so many training examples only; None: all.
        device: Where it is computed.
    """

    spec: NetworkSpec
    data: ImageSet | ParallelText
    recipe: AnyRecipe
    folder: Path
    limit: int | None
    device: torch.device

    @property
    def examples(self) -> int:
        """Number of training examples."""
        return self.limit or self.data.train_examples

    def file(self, seed: int) -> Path:
        """The file of one network; its name holds what differs most often, the rest is in the file."""
        part = "" if self.limit is None else f"-first{self.limit}"
        return (
            self.folder / f"{self.spec.name}-{self.data.name}{part}-epochs{self.recipe.epochs}-seed{seed}.safetensors"
        )

    def checkpoint(self, seed: int) -> Path:
        """The file of an unfinished training."""
        return self.file(seed).with_suffix(".checkpoint.safetensors")

    @property
    def facts(self) -> dict[str, Any]:
        """What a network's file says about its data."""
        return self.data.facts(self.limit)

    @cached_property
    def _task(self) -> Task:
        return task(self.data, self.recipe, self.limit, self.device)

    def _speed(self, model: Any) -> float:
        rate = self._task.speed(model, _GLANCE)
        if self.recipe.epochs * self.examples < WORTH_MEASURING * rate:
            return rate
        return self._task.speed(model, _MEASURED)

    def run(self, seed: int, on_speed: OnSpeed | None, on_epoch: OnEpoch) -> float:
        """Train one network, or continue with it, write its file and return its accuracy on the test examples.

        Args:
            seed: Of its weights and its training.
            on_speed: Called with the measured examples a second before the first epoch; None: nothing is measured.
            on_epoch: Called after every epoch.
        """
        model = self.spec.build(self.data, seed).to(self.device)
        record = TrainingRecord(())
        with one_thread():
            if self.recipe.epochs:
                if on_speed is not None:
                    on_speed(self._speed(model))
                record = self._task.train(model, seed, self.checkpoint(seed), on_epoch)
            test_accuracy = self._task.test(model, None if self.recipe.epochs else _UNTRAINED_EXAMPLES)
        save(
            self.file(seed),
            model,
            spec=self.spec,
            recipe=self.recipe,
            seed=seed,
            record=record,
            test_accuracy=test_accuracy,
            data=self.facts,
            circumstances={
                "device": self.device.type,
                "precision": self.recipe.precision_on(self.device),
                "torch": torch.__version__,
                "repscope": metadata.version("repscope"),
            },
        )
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.checkpoint(seed))
        return test_accuracy
