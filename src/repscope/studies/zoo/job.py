"""One network, from its description to its file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from repscope.studies.datasets import ImageSet
from repscope.studies.training import Epoch, TrainingRecord, accuracy, images_per_second, train
from repscope.studies.zoo.network_file import save
from repscope.studies.zoo.spec import NetworkSpec, Recipe

OnSpeed = Callable[[float], None]
OnEpoch = Callable[[Epoch], None]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one CPU thread inside the block.

    The order of float32 sums, and with it the weights, depends on the number of threads; and two networks on a
    thread each train faster than one on two.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True, eq=False)
class Job:
    """What all networks of one call of ``trained`` have in common.

    Attributes:
        spec: What is trained.
        images: On what.
        recipe: How.
        folder: Where the files go.
        limit: The first so many training images only; None: all.
        device: Where it is computed.
    """

    spec: NetworkSpec
    images: ImageSet
    recipe: Recipe
    folder: Path
    limit: int | None
    device: torch.device

    @property
    def examples(self) -> int:
        """Number of training images."""
        return self.limit or len(self.images.train_images)

    def file(self, seed: int) -> Path:
        """The file of one network; its name holds what differs most often, the rest is in the file."""
        part = "" if self.limit is None else f"-first{self.limit}"
        return (
            self.folder / f"{self.spec.name}-{self.images.name}{part}-epochs{self.recipe.epochs}-seed{seed}.safetensors"
        )

    def checkpoint(self, seed: int) -> Path:
        """The file of an unfinished training."""
        return self.file(seed).with_suffix(".checkpoint.safetensors")

    @property
    def data(self) -> dict[str, Any]:
        """What a network's file says about its images."""
        return {
            "name": self.images.name,
            "fingerprint": self.images.fingerprint,
            "train_images": self.examples,
            "test_images": len(self.images.test_images),
            "channels": self.images.channels,
            "classes": len(self.images.classes),
            "notes": list(self.images.notes),
        }

    @cached_property
    def _training(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return self.images.standardised("train", self.limit), self.images.train_labels[: self.limit]

    @cached_property
    def _testing(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return self.images.standardised("test"), self.images.test_labels

    def run(self, seed: int, on_speed: OnSpeed, on_epoch: OnEpoch) -> float:
        """Train one network, or continue with it, write its file and return its accuracy on the test images.

        Args:
            seed: Of its weights and its training.
            on_speed: Called with the measured images a second before the first epoch.
            on_epoch: Called after every epoch.
        """
        precision = self.recipe.precision_on(self.device)
        options = {
            "batch_size": self.recipe.batch_size,
            "augment": self.recipe.augmentation,
            "precision": precision,
        }
        model = self.spec.build(self.images, seed).to(self.device)
        record = TrainingRecord(())
        with one_thread():
            if self.recipe.epochs:
                on_speed(images_per_second(model, *self._training, **options))  # type: ignore[arg-type]
                record = train(
                    model,
                    *self._training,
                    epochs=self.recipe.epochs,
                    learning_rate=self.recipe.learning_rate,
                    weight_decay=self.recipe.weight_decay,
                    decay_all=False,
                    seed=seed,
                    progress=on_epoch,
                    checkpoint=self.checkpoint(seed),
                    **options,  # type: ignore[arg-type]
                )
            test_accuracy = accuracy(model, *self._testing)
        save(
            self.file(seed),
            model,
            spec=self.spec,
            recipe=self.recipe,
            seed=seed,
            record=record,
            test_accuracy=test_accuracy,
            data=self.data,
            circumstances={
                "device": self.device.type,
                "precision": precision,
                "torch": torch.__version__,
                "repscope": metadata.version("repscope"),
            },
        )
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.checkpoint(seed))
        return test_accuracy
