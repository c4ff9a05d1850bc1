"""The state of an interrupted training in one safetensors file: no pickle, so loading one runs no code."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repscope.errors import FileFormatError, InputError

_FORMAT = "repscope training checkpoint 1"
_MODEL = "model."
_STATE = {"momentum_buffer": "momentum.", "exp_avg": "mean.", "exp_avg_sq": "square.", "step": "step."}
"""What SGD and Adam keep for each parameter, by their names for it, and the prefix of its tensors in the file."""


class Checkpoint:
    """Saves and restores a model, what its optimizer keeps, and a record of the epochs so far.

    Args:
        path: The file; it need not exist yet.
        recipe: Everything that decides the course of the training, as JSON values. A file that was
            written with another recipe is refused.
        model: The network that is trained.
        optimizer: Its optimizer: SGD with momentum, or fused Adam.
    """

    def __init__(self, path: Path, recipe: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.path = path
        self._recipe = recipe
        self._model = model
        self._optimizer = optimizer

    def save(self, record: list[dict[str, Any]]) -> None:
        """Write the present state and ``record`` (JSON values), replacing the file in one step."""
        tensors = {_MODEL + name: value for name, value in self._model.state_dict().items()}
        for name, parameter in self._model.named_parameters():
            tensors |= {_STATE[kept] + name: value for kept, value in self._optimizer.state[parameter].items()}
        metadata = {"format": _FORMAT, "recipe": json.dumps(self._recipe), "record": json.dumps(record)}
        write(self.path, tensors, metadata, function="train")

    def load(self) -> list[dict[str, Any]]:
        """Put the saved state into model and optimizer and return the record.

        Raises:
            FileFormatError: The file is truncated or of another kind.
            InputError: The file was written with another recipe.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise FileFormatError(
                f"train: checkpoint must be a whole safetensors file, got {self.path} ({error}). "
                "Delete it or pass resume=False."
            ) from error
        if metadata.get("format") != _FORMAT:
            raise FileFormatError(
                f"train: checkpoint must be a {_FORMAT!r}, got {self.path} of format "
                f"{metadata.get('format')!r}. Delete it or pass resume=False."
            )
        saved = json.loads(metadata["recipe"])
        differing = [key for key, value in self._recipe.items() if saved.get(key) != value]
        if differing:
            raise InputError(
                f"train: checkpoint must come from the same training, got {self.path} with another "
                f"{', '.join(differing)}. Delete it or pass resume=False."
            )
        prefix = len(_MODEL)
        self._model.load_state_dict({k[prefix:]: v for k, v in tensors.items() if k.startswith(_MODEL)})
        for name, parameter in self._model.named_parameters():
            for kept, start in _STATE.items():
                if (value := tensors.get(start + name)) is not None:
                    self._optimizer.state[parameter][kept] = _as_made_for(parameter, value)
        record: list[dict[str, Any]] = json.loads(metadata["record"])
        return record


def _as_made_for(parameter: Tensor, value: Tensor) -> Tensor:
    """A tensor of the optimizer's as it would have made it: on the parameter's device, in its memory format."""
    if value.shape != parameter.shape:  # Adam's count of steps; where Adam is fused, its kernel reads it on the device
        return value.to(parameter.device)
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def epochs_saved(path: Path) -> int:
    """Number of epochs that a checkpoint holds; 0 where there is none that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return len(json.loads((file.metadata() or {})["record"]))
    except (OSError, SafetensorError, KeyError, ValueError):
        return 0


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, function: str) -> None:
    """Write a safetensors file whole or not at all; an older one of that name stays until the new one is whole.

    Raises:
        InputError: The file cannot be written, because the disk is full for instance.
    """
    from safetensors.torch import save

    content = save({name: value.contiguous() for name, value in tensors.items()}, dict(metadata))
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        state = "the one before is whole" if path.exists() else "nothing was written"
        raise InputError(
            f"{function}: '{path}' must be writable, with {len(content):,} bytes free on the disk, got "
            f"{error.strerror or error}; {state}. Make it so and run the same again: it continues from there."
        ) from error


def digest(tensors: Iterable[Tensor]) -> str:
    """Return a SHA-256 digest of the types, shapes and bytes of ``tensors``, in order."""
    sha = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous().numpy()
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(array.data)
    return sha.hexdigest()
