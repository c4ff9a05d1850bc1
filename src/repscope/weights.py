"""Trained weights from a file into a model. No pickle is ever executed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repscope._words import first_line
from repscope.errors import FileFormatError, InputError, MissingExtraError

if TYPE_CHECKING:
    from torch import Tensor, nn

_NESTED = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts keep the weights, beside the optimiser's state and the epoch."""

_WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

_PICKLED = (".pt", ".pth")


def load_weights(model: nn.Module, path: str | os.PathLike[str], *, argument: str = "--weights") -> None:
    """Fill a model with the weights in a file, all of them and no others.

    Args:
        model: Changed in place.
        path: ``.safetensors``, or ``.pt`` or ``.pth`` as torch.save writes them, read with ``weights_only=True``: the
            state dict, or a mapping that holds it under ``state_dict``, ``model_state_dict`` or ``model``. The prefixes
            of DataParallel and torch.compile are taken off.
        argument: What the path is called on the command line, for messages.

    Raises:
        InputError: There is no such file, its suffix is another, or the weights do not fit the model.
        FileFormatError: The file is damaged, holds no state dict, or holds objects that would run code.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", *_PICKLED):
        raise InputError(
            f"compare: {argument} must end in .safetensors, {' or '.join(_PICKLED)}, got '{path}'. "
            "Save the state dict with safetensors.torch.save_file."
        )
    if not path.is_file():
        raise InputError(f"compare: {argument} must name an existing file, got '{path}'.")
    state = _read_safetensors(path, argument) if suffix == ".safetensors" else _read_pickled(path, argument)
    _fill(model, _without_wrappers(state, model), path, argument)


def _read_safetensors(path: Path, argument: str) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise MissingExtraError("Reading .safetensors files", "safetensors", "torch") from None
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise FileFormatError(
            f"compare: {argument} must be a whole .safetensors file, got '{path}' ({first_line(error)})."
        ) from None


def _read_pickled(path: Path, argument: str) -> dict[str, Tensor]:
    import pickle

    import torch

    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FileFormatError(
            f"compare: {argument} must hold tensors only, got '{path}', which is damaged or holds Python objects; "
            "they could run code and are not loaded. Save model.state_dict() alone, best as .safetensors."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise FileFormatError(
            f"compare: {argument} must be a file that torch.save wrote, got '{path}', which could not be read."
        ) from error
    return _state_dict(content, path, argument)


def _state_dict(content: Any, path: Path, argument: str) -> dict[str, Tensor]:
    import torch

    state = content
    while isinstance(state, Mapping) and not any(isinstance(value, torch.Tensor) for value in state.values()):
        nested = next((key for key in _NESTED if isinstance(state.get(key), Mapping)), None)
        if nested is None:
            break
        state = state[nested]
    if isinstance(state, Mapping) and any(isinstance(value, torch.Tensor) for value in state.values()):
        return {str(key): value for key, value in state.items()}
    got = f"the keys {_some(map(repr, state))}" if isinstance(state, Mapping) else type(state).__name__
    raise FileFormatError(
        f"compare: {argument} must hold a state dict, alone or under {', '.join(map(repr, _NESTED))}, got {got} in "
        f"'{path}'."
    )


def _without_wrappers(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    own = model.state_dict().keys()
    names = {key: key for key in state}
    for _ in _WRAPPERS:  # one may stand inside the other
        for prefix in _WRAPPERS:
            wrapped = all(name.startswith(prefix) for name in names.values())
            if wrapped and not any(name.startswith(prefix) for name in own):
                names = {key: name.removeprefix(prefix) for key, name in names.items()}
    return {names[key]: value for key, value in state.items()}


def _fill(model: nn.Module, state: Mapping[str, Tensor], path: Path, argument: str) -> None:
    own = model.state_dict()
    shapes = {
        key: f"{key} {tuple(value.shape)} for {tuple(own[key].shape)}"
        for key, value in state.items()
        if hasattr(own.get(key), "shape") and hasattr(value, "shape") and value.shape != own[key].shape
    }
    problems = []
    if not shapes:
        missing, unexpected = model.load_state_dict(dict(state), strict=False)
        problems += [f"{len(missing)} missing: {_some(missing)}"] if missing else []
        problems += [f"{len(unexpected)} unexpected: {_some(unexpected)}"] if unexpected else []
    else:
        problems.append(f"{len(shapes)} of another shape: {_some(shapes.values())}")
        missing = [key for key in own if key not in state]
        problems += [f"{len(missing)} missing: {_some(missing)}"] if missing else []
    if problems:
        raise InputError(
            f"compare: {argument} must fit the model {type(model).__name__}, got '{path}' with weights "
            f"{'; '.join(problems)}. Build the model as it was when they were saved."
        )


def _some(names: Iterable[str], shown: int = 3) -> str:
    """The first few of several names."""
    listed = list(names)
    return ", ".join(listed[:shown]) + (", …" if len(listed) > shown else "")
