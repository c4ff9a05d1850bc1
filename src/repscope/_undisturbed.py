"""Ctrl-C put off to the end of what must not be cut in two."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put Ctrl-C off to the end of the block.

    For files that belong together, and for zarr, whose own thread goes on with what the main thread no longer waits
    for and complains of it when Python ends. Blocks are to be short. An exception of the block comes first.
    """
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield  # only the main thread hears it, and nobody where it is ignored
        return
    heard: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda _, frame: heard.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if heard:
        usual(signal.SIGINT, heard[0])
