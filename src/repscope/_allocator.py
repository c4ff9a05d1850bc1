"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

WORTH_GIVING_BACK = 1 << 25
"""Bytes of arrays, freed one by one, from which the milliseconds pay that it takes to give them back."""


def give_back() -> None:
    """Return the pages that hold nothing to the system, where the C library can (glibc; elsewhere nothing happens).

    Once a process has freed an array of some size, glibc keeps arrays up to that size (32 MiB at most) on its heap, and
    returns of it only what lies at the end. Where batches come and go, the holes between what is kept add up to more
    than a batch takes.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], Any] | None:
    try:
        found: Callable[[int], Any] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; Windows
        return None
    return found
