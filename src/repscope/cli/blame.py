"""Whose exception it is: the user's model or data, which takes one line, or ours, which needs its traceback."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from repscope._words import first_line
from repscope.errors import InputError, RepscopeError

_OURS = str(Path(__file__).parents[1]) + os.sep
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_MODULE_CALL = ("_call_impl", "torch/nn/modules/module.py")


def users_code(error: BaseException) -> str | None:
    """Where in the user's code an exception comes from; None where it is ours, or nobody can say.

    The innermost frame decides that belongs to someone: to this package, to a forward pass (torch's module call), or
    to a file that is neither this package nor an installed library.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = frame.filename.replace("\\", "/")
        if frame.filename.startswith(_OURS):
            return None
        if frame.name == _MODULE_CALL[0] and file.endswith(_MODULE_CALL[1]):
            return "the forward pass"
        if not file.startswith("<") and not frame.filename.startswith(_LIBRARIES):
            return f"{frame.filename}, line {frame.lineno}"
    return None


@contextmanager
def users_exceptions() -> Iterator[None]:
    """Turn an exception from the user's model or data into one line; ours come through as they are."""
    try:
        yield
    except RepscopeError:
        raise
    except Exception as error:
        where = users_code(error)
        if where is None:
            raise
        hint = " Do the data fit the model?" if where == "the forward pass" else ""
        raise InputError(
            f"compare: {where} must run without errors, got {type(error).__name__}: {first_line(error)}."
            f"{hint} Add --verbose for the traceback."
        ) from error
