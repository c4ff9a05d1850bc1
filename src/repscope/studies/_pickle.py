"""Read the pickles in which CIFAR's python version is published, without running anything in them.

A pickle is a program: it may name any function of any module and call it. These files name a few, to rebuild
numpy arrays of bytes; here inert stand-ins take their place, and any other name is refused.
"""

from __future__ import annotations

import pickle
from math import prod
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray


class _Type:
    """Stands for ``numpy.dtype``: keeps the type's code and ignores the rest."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else code

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """Stands for ``numpy.ndarray``: keeps the state that would have been given to it."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def bytes_of(self) -> NDArray[np.uint8]:
        """The array, if it is one of unsigned bytes in the order of C."""
        _, shape, kind, fortran, content = self.state
        if not isinstance(kind, _Type) or kind.code != "u1" or fortran or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array that is not of unsigned bytes in C order")
        if not all(isinstance(length, int) and length >= 0 for length in shape) or prod(shape) != len(content):
            raise pickle.UnpicklingError(f"an array of shape {shape} in {len(content)} bytes")
        return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _empty_array(*_: object) -> _Array:
    """Stands for ``numpy.core.multiarray._reconstruct``."""
    return _Array()


def _encoded(text: object, encoding: object) -> bytes:
    """Stands for ``_codecs.encode``, with which Python 3 writes bytes in the protocol of Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes a {type(text).__name__} as {encoding!r}")
    return text.encode("latin1")


class _Reader(pickle.Unpickler):
    known: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): _empty_array,
        ("numpy._core.multiarray", "_reconstruct"): _empty_array,  # as numpy 2 writes it
        ("_codecs", "encode"): _encoded,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Type,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.known[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no CIFAR file does") from None


def read_dictionary(file: IO[bytes]) -> dict[str, Any]:
    """Read a pickled dictionary of numbers, text, lists and byte arrays; nothing in it is executed.

    Args:
        file: Open for reading bytes.

    Returns:
        The dictionary, its keys and its text as ``str``, its arrays as uint8.

    Raises:
        pickle.UnpicklingError: The file is damaged, no dictionary, or names anything but numpy's byte arrays.
    """
    try:
        content = _Reader(file, encoding="bytes").load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError(f"it holds a {type(content).__name__}, no dictionary")
        return {str(_plain(key)): _plain(value) for key, value in content.items()}
    except (EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError) as error:
        raise pickle.UnpicklingError(f"it is damaged: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.bytes_of()
    if isinstance(value, bytes):
        return value.decode("latin1")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
