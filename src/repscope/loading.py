"""Models and data from text: what the arguments of the command line stand for."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from string import ascii_lowercase
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from repscope._words import did_you_mean, first_line
from repscope.errors import InputError
from repscope.files import SUFFIXES, load_representations
from repscope.store import is_store
from repscope.text import PREFIX as TEXT
from repscope.text import TextFile

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")

FORMS = "package.module:name or file.py:name"

HUGGING_FACE = "hf:"


def is_stored(text: str) -> bool:
    """Whether a text names a file of stored arrays, by its suffix, or a directory of stored activations."""
    if text.startswith(HUGGING_FACE):
        return False
    return Path(text).suffix.lower() in SUFFIXES or is_store(text)


def load_model(spec: str, *, argument: str = "A", seed: int | None = None, truncate: bool = False) -> nn.Module:
    """The torch module that a text stands for.

    Args:
        spec: ``package.module:name`` or ``file.py:name``, where the name is that of a module or of a function (or
            class) that is called without arguments and returns one; or ``hf:NAME_OR_DIR``, a model of Hugging Face by
            its name on the hub or its folder.
        argument: What the text is called on the command line, for messages.
        seed: Of the initial weights; None leaves the generators as they are.
        truncate: Cut sentences that are longer than a language model takes.

    Raises:
        InputError: There is no such thing, it is no module, or the user's code raises (the exception is the cause).
        FileFormatError: The weights of a model of Hugging Face would run code.
        MissingExtraError: PyTorch, or transformers for ``hf:``, is not installed.
    """
    if spec.startswith(HUGGING_FACE):
        require_torch("Comparing models")
        from repscope.capture.hugging_face import load_pretrained

        if seed is not None:
            seed_everything(seed)  # of weights that a checkpoint lacks
        return load_pretrained(spec.removeprefix(HUGGING_FACE), truncate=truncate, argument=argument)
    if spec.rpartition(":")[0] == "":
        hint = f" Did you mean {spec}:name?" if spec.endswith(".py") else ""
        raise InputError(
            f"compare: {argument} must be {FORMS}, hf:NAME_OR_DIR, or a file of stored arrays ({', '.join(SUFFIXES)}), "
            f"got {spec!r}.{hint}"
        )
    module_type = require_torch("Comparing models").nn.Module
    found = _load_seeded(spec, argument, seed)
    model = found if isinstance(found, module_type) else _call(found, spec, argument)
    if not isinstance(model, module_type):
        raise InputError(f"compare: {argument} must give a torch.nn.Module, got {type(model).__name__} from {spec}.")
    loaded: nn.Module = model
    return loaded


def to_device(model: nn.Module, device: str | None) -> nn.Module:
    """The model on a device such as ``"cuda"``; None leaves it where it is.

    Raises:
        InputError: There is no such device.
    """
    if device is None:
        return model
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"compare: --device must be a device that torch has here, got {device!r} ({first_line(error)})."
        ) from error


def load_data(spec: str, *, image_size: int | None = None, seed: int | None = None) -> Any:
    """The data that a text stands for, in a form that :func:`repscope.compare` takes.

    Args:
        spec: ``digits`` (1,797 handwritten digits that come with repscope, one channel); a folder of images;
            ``text:FILE``, a sentence a line; a file of stored arrays (one array: the inputs; several: keyword arguments
            by name); or ``package.module:name`` or ``file.py:name``, where the name is that of the data or of a
            function without arguments that returns them.
        image_size: Width and height of the images in pixels; None: 16 for the digits, 224 for a folder.
        seed: Of data that the user's function draws, the same for every model; None leaves the generators as they are.

    Raises:
        InputError: There is no such thing, or the user's code raises.
        FileFormatError: A file of stored arrays is damaged.
        MissingExtraError: Pillow is not installed and the data are a folder of images.
    """
    if spec == "digits":
        from repscope.studies.digits import load_digits

        return load_digits(16 if image_size is None else image_size)[0]
    if Path(spec).is_dir():
        from repscope.images import ImageFolder

        return ImageFolder(spec, size=224 if image_size is None else image_size)
    if image_size is not None:
        raise InputError(f"compare: --image-size must be left out unless --data is digits or a folder, got {spec!r}.")
    if spec.startswith(TEXT):
        return TextFile(spec.removeprefix(TEXT))
    if is_stored(spec):
        arrays = load_representations(spec)
        return next(iter(arrays.values())) if len(arrays) == 1 else arrays
    if spec.rpartition(":")[0] == "":
        kind = "which does not exist" if not Path(spec).exists() else "a file of another kind"
        raise InputError(
            f"compare: --data must be digits, a folder of images, text:FILE, {FORMS}, or a file of arrays "
            f"({', '.join(SUFFIXES)}), got {spec!r}, {kind}."
        )
    found = _load_seeded(spec, "--data", seed)
    return _call(found, spec, "--data") if callable(found) else found


def load_object(spec: str, argument: str) -> Any:
    """What ``package.module:name`` or ``file.py:name`` names; its module's code runs.

    Raises:
        InputError: The module cannot be imported (the user's exception is the cause) or has no such name.
    """
    place, _, name = spec.rpartition(":")
    module = _from_file(Path(place), argument) if place.endswith(".py") else _from_package(place, argument)
    if not hasattr(module, name):
        names = [key for key in vars(module) if not key.startswith("_")]
        raise InputError(
            f"compare: {argument} must name something in {place}, got {name!r}.{did_you_mean(name, names)}"
        )
    return getattr(module, name)


def model_names(specs: Iterable[str], weights: Iterable[str | None]) -> list[str]:
    """What models are called in the result: by their names, else by their weights, else by letters."""
    names = [_own_name(spec) for spec in specs]
    if len(set(names)) == len(names):
        return names
    files = [Path(file).stem if file else "" for file in weights]
    named = [f"{name} {file}".strip() for name, file in zip(names, files, strict=True)]
    if len(set(named)) == len(named):
        return named
    return [f"{name} {letter}" for name, letter in zip(names, ascii_lowercase, strict=False)]


def _own_name(spec: str) -> str:
    if not spec.startswith(HUGGING_FACE):
        return spec.rpartition(":")[2]
    place = spec.removeprefix(HUGGING_FACE)
    return Path(place).resolve().name if Path(place).is_dir() else place.rpartition("/")[2]


def seed_everything(seed: int) -> None:
    """Seed what a factory may draw initial weights from: torch, numpy's old generator and ``random``."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    require_torch("Comparing models").manual_seed(seed)


def require_torch(purpose: str) -> ModuleType:
    """Import torch, or say how to install it.

    Raises:
        MissingExtraError: It is not installed.
    """
    from repscope.errors import MissingExtraError

    try:
        return importlib.import_module("torch")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(purpose, "torch", "torch") from None


def _load_seeded(spec: str, argument: str, seed: int | None) -> Any:
    if seed is not None:
        seed_everything(seed)
    found = load_object(spec, argument)
    if seed is not None:
        seed_everything(seed)  # once more: whether the file ran just now, and what it drew, is to make no difference
    return found


def _from_package(name: str, argument: str) -> ModuleType:
    _search_first(os.getcwd())  # a console script's own folder stands there, not the folder it is called in
    return _users(lambda: importlib.import_module(name), name, argument)


_FILES: dict[Path, ModuleType] = {}
"""The user's files that have run, by their resolved paths."""


def _from_file(path: Path, argument: str) -> ModuleType:
    """The module in a file, run once however often it is named, so that its classes stay the same."""
    place = path.resolve()
    if not place.is_file():
        raise InputError(f"compare: {argument} must name an existing file, got '{path}'.")
    if place in _FILES:
        return _FILES[place]
    spec = importlib.util.spec_from_file_location(f"repscope_user_{len(_FILES)}_{place.stem}", place)
    if spec is None or spec.loader is None:
        raise InputError(f"compare: {argument} must name a Python file, got '{path}'.")
    module = importlib.util.module_from_spec(spec)
    _search_first(str(place.parent))  # as `python file.py` does: the file may import its neighbours
    sys.modules[module.__name__] = module  # dataclasses and pickle look it up there
    try:
        _users(lambda: spec.loader.exec_module(module), str(path), argument)  # type: ignore[union-attr]
    except InputError:
        del sys.modules[module.__name__]
        raise
    _FILES[place] = module
    return module


def _search_first(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _call(factory: Any, spec: str, argument: str) -> Any:
    if not callable(factory):
        raise InputError(
            f"compare: {argument} must name a torch.nn.Module or a function that returns one, got "
            f"{type(factory).__name__} at {spec}."
        )
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise InputError(
            f"compare: {argument} must name something that can be called without arguments, got {spec} ({error}). "
            "Write a function around it that fills them in."
        ) from None
    except ValueError:
        pass  # compiled code without a Python signature
    return _users(factory, spec, argument)


def _users(function: Callable[[], T], where: str, argument: str) -> T:
    """Run the user's code; whatever it raises becomes one line that says where."""
    try:
        return function()
    except (Exception, SystemExit) as error:  # a script without a __main__ guard may exit
        raise InputError(
            f"compare: {argument} must load without errors, got {type(error).__name__} from {where}: "
            f"{first_line(error)}. Add --verbose for the traceback."
        ) from error
