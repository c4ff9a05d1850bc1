"""The file behind ``Comparison.save``: an npz archive, written whole or not at all, read without pickle.

The archive holds ``header.json`` (format name, version, writer, facts) and one ``.npy`` member an array, so
``numpy.load`` and ``unzip`` open it too. Its bytes depend on nothing but its content.
"""

from __future__ import annotations

import io
import json
import math
import os
import secrets
import zipfile
import zlib
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from repscope.errors import FileFormatError, InputError

HEADER = "header.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip member can bear; keeps the clock out of the bytes
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError, ValueError, RuntimeError)


def plain(where: str, value: Any) -> Any:
    """A deep copy of ``value`` in the types JSON knows (tuples and arrays become lists).

    Non-finite floats are allowed: :func:`dumps` has a way to write them.

    Raises:
        InputError: when a part is of another type; ``where`` says which, as in ``conventions['kernel']``.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufU":
        return plain(where, value.tolist())
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str.__str__(key): plain(f"{where}[{key!r}]", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(f"{where}[{i}]", item) for i, item in enumerate(value)]
    raise InputError(
        f"Comparison: {where} must hold text, numbers, booleans, None, lists and mappings with text keys "
        f"only, got {type(value).__name__}. Give its text form, str(...), instead."
    )


def portable(value: Any) -> Any:
    """``value`` for readers that know JSON only: NaN becomes None, infinities ``"inf"`` and ``"-inf"``."""
    return _convert(value, lambda number: None if math.isnan(number) else str(number), str)


def dumps(value: Any) -> str:
    """Strict JSON that :func:`loads` turns back into the very same value, NaN and infinities included."""
    tagged = _convert(
        value,
        lambda number: {"$float": str(number)},
        lambda key: f"${key}" if key.startswith("$") else key,  # so that no key of the user's reads as the tag
    )
    return json.dumps(tagged, allow_nan=False, sort_keys=True)


def loads(text: str | bytes) -> Any:
    """The value that :func:`dumps` wrote; ValueError on anything else."""

    def untag(item: dict[str, Any]) -> Any:
        if item.keys() == {"$float"}:
            return float(item["$float"])
        return {key.removeprefix("$"): value for key, value in item.items()}

    def refuse(literal: str) -> float:
        raise ValueError(f"{literal} is not JSON")

    return json.loads(text, object_hook=untag, parse_constant=refuse)


def _convert(value: Any, nonfinite: Callable[[float], Any], key: Callable[[str], str]) -> Any:
    if isinstance(value, Mapping):
        return {key(name): _convert(item, nonfinite, key) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_convert(item, nonfinite, key) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return nonfinite(value)
    return value


def write(
    function: str,
    path: str | os.PathLike[str],
    *,
    name: str,
    version: int,
    facts: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
) -> Path:
    """Write the facts and arrays to the file ``path``, as :func:`write_whole` does.

    Raises:
        InputError: when ``path`` is a folder or lies in a folder that does not exist.
    """
    header = {
        "format": name,
        "format_version": version,
        "writer": writer(),
        "facts": facts,
        "arrays": list(arrays),
    }

    def fill(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(_member(HEADER), dumps(header))
            for key, array in arrays.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, array, allow_pickle=False)
                archive.writestr(_member(f"{key}.npy"), buffer.getvalue())

    return write_whole(function, path, fill)


def write_whole(function: str, path: str | os.PathLike[str], fill: Callable[[BinaryIO], object]) -> Path:
    """Write one file under exactly the name ``path``; an older one stays until the new one is whole.

    Args:
        function: the caller's call, for messages.
        path: the file.
        fill: writes the content to the open file.

    Raises:
        InputError: when ``path`` is a folder or lies in a folder that does not exist.
    """
    target = check_place(function, path)
    place = Path(os.path.realpath(target))  # a link keeps pointing at the file
    temporary = place.with_name(f".repscope-{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, place)
    except BaseException:  # Ctrl-C as well leaves nothing behind
        temporary.unlink(missing_ok=True)
        raise
    return target


def check_place(function: str, path: str | os.PathLike[str]) -> Path:
    """The path, after a look whether a file can be there.

    Raises:
        InputError: when ``path`` is a folder or lies in a folder that does not exist.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{function}: path must be a file name, got the folder '{target}'. Add a file name.")
    if not target.parent.is_dir():
        raise InputError(
            f"{function}: path must lie in an existing folder, got '{target}'. Create '{target.parent}' first."
        )
    return target


def read(
    function: str, path: str | os.PathLike[str], *, name: str, version: int, written_by: str, remedy: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The facts and the arrays of a file of the format ``name``, up to the given version.

    Args:
        function: the caller's call, for messages.
        path: the file.
        name: the format.
        version: the newest one that is known.
        written_by: what writes such files, for the message about another kind of file.
        remedy: the end of that message.

    Raises:
        InputError: when there is no such file.
        FileFormatError: when the file is of another kind, damaged, or written by a newer repscope.
    """
    try:
        data = Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(
            f"{function}: path must be an existing file, got '{path}' ({error.strerror}). Check the path."
        ) from error
    foreign = f"{function}: '{path}' must be a file written by {written_by}, got another kind of file. {remedy}"
    if data[:2] != b"PK":
        raise FileFormatError(foreign)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if HEADER not in archive.namelist():
                raise FileFormatError(foreign)
            header = loads(archive.read(HEADER))
            if header["format"] != name:
                raise FileFormatError(foreign)
            if header["format_version"] > version:
                raise FileFormatError(
                    f"{function}: '{path}' must have a format version of at most {version}, got "
                    f"{header['format_version']}, written by {header['writer']}. "
                    "Update with: pip install -U repscope"
                )
            return header["facts"], {key: _array(archive.read(f"{key}.npy")) for key in header["arrays"]}
    except FileFormatError:
        raise
    except _DAMAGE as error:
        raise damaged(function, path, error) from error


def damaged(function: str, path: str | os.PathLike[str], error: Exception) -> FileFormatError:
    """The exception for a file of ours whose content is wrong."""
    return FileFormatError(
        f"{function}: '{path}' must be a whole file, got a truncated or damaged one ({error}). "
        "Copy it again or save the result again."
    )


def _array(data: bytes) -> np.ndarray:
    array: np.ndarray = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return array


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, date_time=_EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    return member


def writer() -> str:
    """This version, as files name it."""
    try:
        return f"repscope {metadata.version('repscope')}"
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return "repscope, version unknown"
