"""What the measures say when something is wrong: one form for refused words, one place that warnings point at."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, TypeGuard, TypeVar

from repscope._words import did_you_mean
from repscope.errors import InputError, RepscopeWarning

_State = TypeVar("_State")


def check_choice(function: str, argument: str, value: object, known: Collection[str], *, other: str = "") -> None:
    """Refuse a word that is not among those known, and propose the nearest.

    Args:
        function: The caller's public name.
        argument: Its argument.
        value: What was given.
        known: The words that exist.
        other: What else is accepted, such as ``"or a callable"``.
    """
    if isinstance(value, str) and value in known:
        return
    words = ", ".join(repr(word) for word in known) + (f" {other}" if other else "")
    raise InputError(f"{function}: {argument} must be one of {words}, got {value!r}.{did_you_mean(value, known)}")


def check_names(function: str, argument: str, given: Mapping[Any, Any]) -> None:
    """Refuse keys that are the same when they are written, as 1 and "1" are."""
    names: dict[str, Any] = {}
    for key in given:
        other = names.setdefault(str(key), key)
        if other is not key:
            raise InputError(
                f"{function}: {argument} must have keys with names of their own, got {other!r} and {key!r}, which are "
                f"both called '{key}'. Rename one."
            )


@contextmanager
def preparing(function: str, argument: str) -> Iterator[None]:
    """Say of an argument that is refused inside, where it has no name, which it is."""
    try:
        yield
    except InputError as error:
        text = str(error).removeprefix(f"{function}: ")
        raise InputError(f"{function}: {text if 'x and y' in text else f'{argument}: {text}'}") from None


def prepare_both(function: str, prepare: Callable[[Any], _State], x: Any, y: Any) -> tuple[_State, _State]:
    """Both representations, prepared; where one is refused, the error says which."""
    with preparing(function, "x"):
        state = prepare(x)
    with preparing(function, "y"):
        return state, prepare(y)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, Python's or numpy's; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_seed(function: str, seed: object) -> None:
    """Refuse what no random numbers can be drawn by."""
    if not is_whole(seed) or seed < 0:
        raise InputError(f"{function}: seed must be a whole number from 0 on, got {seed!r}. Leave it out for 0.")


def is_real(value: object) -> TypeGuard[float]:
    """Whether a value is a number that has an order, Python's or numpy's; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def warn(message: str, category: type[RepscopeWarning]) -> None:
    """Warn, pointing at the line outside this package that made the call."""
    frame, depth = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "repscope":
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)
