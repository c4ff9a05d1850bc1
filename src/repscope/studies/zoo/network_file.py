"""A trained network in one safetensors file: its weights, and as text all that is needed to build and to judge it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from repscope.errors import FileFormatError, InputError
from repscope.studies._checkpoint import write
from repscope.studies.training import Epoch, TrainingRecord
from repscope.studies.zoo.spec import AnyRecipe, NetworkSpec

FORMAT = "repscope network 1"


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A network with its weights and its origin.

    Attributes:
        model: The network in evaluation mode.
        spec: What it is.
        recipe: How it was trained.
        seed: Decided its initial weights and its training.
        record: The course of the training; without epochs for an untrained network.
        test_accuracy: Share of the test images that it classifies rightly, 0 to 1; of a translator, share of the test
            tokens that it predicts from those before them. Of an untrained network, among the first 200.
        data: Name and fingerprint of the data, number of training and test examples, notes.
        circumstances: Device and precision of the training, versions.
        file: Where it is stored.
    """

    model: nn.Module
    spec: NetworkSpec
    recipe: AnyRecipe
    seed: int
    record: TrainingRecord
    test_accuracy: float
    data: Mapping[str, Any]
    circumstances: Mapping[str, Any]
    file: Path


def save(
    path: Path,
    model: nn.Module,
    *,
    spec: NetworkSpec,
    recipe: AnyRecipe,
    seed: int,
    record: TrainingRecord,
    test_accuracy: float,
    data: Mapping[str, Any],
    circumstances: Mapping[str, Any],
) -> None:
    """Write the file of a network, whole or not at all; the arguments are those of :class:`TrainedNetwork`.

    Raises:
        InputError: The file cannot be written.
    """
    facts = {
        "spec": spec.as_json(),
        "recipe": recipe.as_json(),
        "seed": seed,
        "epochs": [dataclasses.asdict(epoch) for epoch in record.epochs],
        "test_accuracy": test_accuracy,
        "data": dict(data),
        "circumstances": dict(circumstances),
    }
    write(path, model.state_dict(), {"format": FORMAT, "facts": json.dumps(facts)}, function="trained")


def facts_of(path: Path) -> dict[str, Any]:
    """What a file says about its network, without reading the weights.

    Raises:
        InputError: There is no such file.
        FileFormatError: It is damaged or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"load: path must be the file of a trained network, got '{path}', which does not exist.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise FileFormatError(
            f"load: '{path}' must be a whole safetensors file, got {error}. Delete it to train the network again."
        ) from error
    if metadata.get("format") != FORMAT:
        raise FileFormatError(f"load: '{path}' must be a {FORMAT!r}, got format {metadata.get('format')!r}.")
    facts: dict[str, Any] = json.loads(metadata["facts"])
    return facts


def load(path: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> TrainedNetwork:
    """Read a network back from its file; no pickle, so nothing in it is executed.

    Args:
        path: A file that :func:`repscope.studies.zoo.trained` made.
        device: Where the weights go.

    Returns:
        The network in evaluation mode, with all that the file says about it.

    Raises:
        InputError: There is no such file.
        FileFormatError: It is damaged, of another kind, or its weights do not fit the network that it names.
    """
    from safetensors.torch import load_file

    path = Path(path)
    facts = facts_of(path)
    spec = NetworkSpec.from_json(facts["spec"])
    data = facts["data"]
    model = spec.create(data, seed=0)
    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise FileFormatError(
            f"load: '{path}' must hold the weights of {spec.name}, got others ({reason}). It was changed by hand or "
            "made by another version."
        ) from error
    return TrainedNetwork(
        model=model.to(device).eval(),
        spec=spec,
        recipe=spec.recipe.from_json(facts["recipe"]),
        seed=facts["seed"],
        record=TrainingRecord(tuple(Epoch(**epoch) for epoch in facts["epochs"])),
        test_accuracy=facts["test_accuracy"],
        data=data,
        circumstances=facts["circumstances"],
        file=path,
    )
