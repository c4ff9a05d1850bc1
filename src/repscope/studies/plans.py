"""What a study says that it will do: the networks it trains and the layers it compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from repscope.studies import cifar
from repscope.studies.datasets import DIGITS_SIZE, DIGITS_TRAINING

if TYPE_CHECKING:
    from repscope.studies.zoo import NetworkSpec

IMAGES: Mapping[str, Mapping[str, Any]] = {
    **{
        name: {"channels": 1, "classes": 10, "side": DIGITS_SIZE, "train_examples": DIGITS_TRAINING, "unit": "images"}
        for name in ("digits", "digits-transposed")
    },
    **{
        name: {
            "channels": 3,
            "classes": source.classes,
            "side": cifar.SIDE,
            "train_examples": source.train_images,
            "unit": "images",
        }
        for name, source in cifar.SOURCES.items()
    },
}
"""What is known of the images before they are read."""

_TEXTS: Mapping[str, Mapping[str, Any]] = {
    "numbers": {"train_examples": 20_000, "unit": "pairs of sentences"},
    "multi30k": {"train_examples": 29_000, "unit": "pairs of sentences"},
}


def facts_of(data: str) -> Mapping[str, Any]:
    """What is known of a data set."""
    return IMAGES[data] if data in IMAGES else _TEXTS[data]


@dataclass(frozen=True)
class Training:
    """Networks of one kind that a study trains.

    Attributes:
        spec: Architecture.
        data: Name of the data set.
        count: How many.
        epochs: Passes over the training examples; 0 for untrained ones.
        examples: The first so many of them; None: all.
        batch_norm: Decides the recipe.
    """

    spec: NetworkSpec
    data: str
    count: int
    epochs: int
    examples: int | None = None
    batch_norm: bool = True

    @property
    def passes(self) -> int:
        """How often an example goes through a network."""
        return self.count * self.epochs * (self.examples or facts_of(self.data)["train_examples"])

    @property
    def words(self) -> str:
        """All of it in words."""
        facts = facts_of(self.data)
        if not self.epochs:
            return f"{self.count} × {self.spec.name}, untrained"
        examples = f"{self.examples or facts['train_examples']:,} {facts['unit']} of {self.data}"
        return f"{self.count} × {self.spec.name}, {self.epochs} epoch{'s' * (self.epochs > 1)} of {examples}"


@dataclass(frozen=True)
class Comparing:
    """Networks of which all layers are compared with all, on the same images.

    Attributes:
        networks: Kinds and how many of each.
        data: Name of the data set whose images they take.
        images: How many.
        indexes: Measures that take a Gram matrix of each layer.
        family: Also by every index of the CCA family, each network with each other.
    """

    networks: Sequence[tuple[NetworkSpec, int]]
    data: str
    images: int
    indexes: int = 1
    family: bool = False


class Plan(NamedTuple):
    """What a study does at given settings.

    Attributes:
        trainings: What it trains.
        comparings: What it compares, as far as that can be counted beforehand.
    """

    trainings: Sequence[Training] = ()
    comparings: Sequence[Comparing] = ()


PlanOf = Callable[[Mapping[str, Any]], Plan]
