"""Representations stored in files: .npy, .npz and .safetensors. No pickle is ever executed."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from repscope.errors import FileFormatError, InputError, MissingExtraError

SUFFIXES = (".npy", ".npz", ".safetensors")


def load_representations(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read stored representations: layer name to array (examples, features), in the file's order.

    Args:
        path: ``.npz`` or ``.safetensors`` (one array a layer, under its name), or ``.npy`` (one layer, named after the
            file).

    Returns:
        Arrays by layer name.

    Raises:
        InputError: The file does not exist or has another suffix.
        FileFormatError: The file is damaged, empty, or holds pickled objects.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"load: {path} must end in {', '.join(SUFFIXES)}, got {suffix or 'no suffix'!r}.")
    if not path.is_file():
        raise InputError(f"load: {path} does not exist or is not a file.")
    if suffix == ".safetensors":
        return _load_safetensors(path)
    try:
        arrays = _load_numpy(path)
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        what = "holds pickled objects, which are never executed" if "pickle" in str(error) else "could not be read"
        raise FileFormatError(
            f"load: {path} {what} ({error}). Save plain numeric arrays with numpy.savez or safetensors."
        ) from None
    if not arrays:
        raise FileFormatError(f"load: {path} holds no arrays. Save one array for each layer.")
    return arrays


def _load_numpy(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:  # which np.load would leave open where the content is damaged
        stored = np.load(file, allow_pickle=False)
        if isinstance(stored, np.ndarray):  # whatever the suffix says
            return {path.stem: stored}
        arrays = {name: stored[name] for name in stored.files}
    other = [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]
    if other:
        raise ValueError(f"its member {other[0]!r} is no array")
    return arrays


def _load_safetensors(path: Path) -> dict[str, Any]:
    try:
        # Through torch, because numpy has no bfloat16.
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtraError("Reading .safetensors files", error.name or "safetensors", "torch") from None
    try:
        arrays = dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise FileFormatError(f"load: {path} could not be read as safetensors ({error}).") from None
    if not arrays:
        raise FileFormatError(f"load: {path} holds no tensors. Save one tensor for each layer.")
    return arrays
