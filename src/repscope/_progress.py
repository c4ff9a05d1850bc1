"""Progress on stderr for people, silence for pipes."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from typing import TypeVar

T = TypeVar("T")


def track(
    items: Iterable[T], description: str, *, total: int | None = None, show: bool | None = None
) -> Generator[T, None, None]:
    """Yield the items under a progress bar with the time left.

    Args:
        items: What to go through.
        description: A few words before the bar.
        total: Number of items, where it is known.
        show: ``None``: only where stderr is a terminal and rich is installed.
    """
    if show is None:
        show = sys.stderr is not None and sys.stderr.isatty()
    if not show:
        yield from items
        return
    try:
        from rich.console import Console
        from rich.errors import LiveError
        from rich.progress import Progress
    except ImportError:
        yield from items
        return
    with ExitStack() as stack:
        console = Console(stderr=True)
        progress = Progress(console=console, transient=console.is_terminal)
        try:
            stack.enter_context(progress)
        except LiveError:  # the caller shows a display of their own
            yield from items
            return
        yield from progress.track(items, total=total, description=description)
