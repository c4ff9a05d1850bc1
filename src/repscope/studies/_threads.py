"""The CPU threads of torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one CPU thread inside the block.

    The order of float32 sums, and with it the weights, depends on the number of threads; and two networks on a
    thread each train faster than one on two.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
