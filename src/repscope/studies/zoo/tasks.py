"""What a network is trained for: how its speed is measured, how it is trained, and how it is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from repscope.errors import InputError
from repscope.studies.datasets import ImageSet
from repscope.studies.text import ParallelText
from repscope.studies.training import Epoch, TrainingRecord, accuracy, images_per_second, train
from repscope.studies.translating import TokenPair, pairs_per_second, token_accuracy, train_translator
from repscope.studies.zoo.spec import AnyRecipe, Recipe, TranslationRecipe

OnEpoch = Callable[[Epoch], None]


class Task(Protocol):
    """Data and the recipe by which networks learn from them."""

    def speed(self, model: Any, seconds: float) -> float:
        """Training examples a second, measured for at least so long on a copy of the model."""

    def train(self, model: Any, seed: int, checkpoint: Path, on_epoch: OnEpoch) -> TrainingRecord:
        """Train the model in place, from the checkpoint where there is one."""

    def test(self, model: Any, examples: int | None = None) -> float:
        """The share of the test examples, or of the first of them, that the model answers rightly, 0 to 1."""


def task(data: ImageSet | ParallelText, recipe: AnyRecipe, limit: int | None, device: torch.device) -> Task:
    """The task of learning from ``data``.

    Args:
        data: Images to be classified or sentences to be translated.
        recipe: Of the kind that fits them.
        limit: The first so many training examples only; None: all.
        device: Where it is computed.

    Raises:
        InputError: The recipe is for other data.
    """
    if isinstance(data, ImageSet) and isinstance(recipe, Recipe):
        return _Classification(data, recipe, limit, device)
    if isinstance(data, ParallelText) and isinstance(recipe, TranslationRecipe):
        return _Translation(data, recipe, limit, device)
    raise InputError(f"trained: recipe must fit the {data.unit} of {data.name!r}, got a {type(recipe).__name__}.")


@dataclass(frozen=True, eq=False)
class _Classification:
    images: ImageSet
    recipe: Recipe
    limit: int | None
    device: torch.device

    @cached_property
    def _training(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return self.images.standardised("train", self.limit), self.images.train_labels[: self.limit]

    @cached_property
    def _testing(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return self.images.standardised("test"), self.images.test_labels

    @property
    def _options(self) -> dict[str, Any]:
        return {
            "batch_size": self.recipe.batch_size,
            "augment": self.recipe.augmentation,
            "precision": self.recipe.precision_on(self.device),
        }

    def speed(self, model: nn.Module, seconds: float) -> float:
        return images_per_second(model, *self._training, seconds=seconds, **self._options)

    def train(self, model: nn.Module, seed: int, checkpoint: Path, on_epoch: OnEpoch) -> TrainingRecord:
        return train(
            model,
            *self._training,
            epochs=self.recipe.epochs,
            learning_rate=self.recipe.learning_rate,
            weight_decay=self.recipe.weight_decay,
            decay_all=False,
            seed=seed,
            progress=on_epoch,
            checkpoint=checkpoint,
            **self._options,
        )

    def test(self, model: nn.Module, examples: int | None = None) -> float:
        images, labels = self._testing
        return accuracy(model, images[:examples], labels[:examples])


@dataclass(frozen=True, eq=False)
class _Translation:
    text: ParallelText
    recipe: TranslationRecipe
    limit: int | None
    device: torch.device

    @cached_property
    def _training(self) -> list[TokenPair]:
        return [*self.text.tokens(self.text.train[: self.limit])]

    @property
    def _options(self) -> dict[str, Any]:
        return {"batch_size": self.recipe.batch_size, "precision": self.recipe.precision_on(self.device)}

    def speed(self, model: Any, seconds: float) -> float:
        return pairs_per_second(model, self._training, seconds=seconds, **self._options)

    def train(self, model: Any, seed: int, checkpoint: Path, on_epoch: OnEpoch) -> TrainingRecord:
        return train_translator(
            model,
            self._training,
            epochs=self.recipe.epochs,
            learning_rate=self.recipe.learning_rate,
            label_smoothing=self.recipe.label_smoothing,
            seed=seed,
            progress=on_epoch,
            checkpoint=checkpoint,
            **self._options,
        )

    def test(self, model: Any, examples: int | None = None) -> float:
        return token_accuracy(model.eval(), self.text.tokens(self.text.judged[:examples]))
