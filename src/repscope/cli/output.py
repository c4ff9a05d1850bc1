"""What commands print and write, and how they fail."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from repscope.comparison import Comparison
from repscope.errors import RepscopeError


def deliver(
    comparisons: Sequence[Comparison],
    output: Path | None,
    html: Path | None,
    *,
    as_json: bool,
    quiet: bool,
    details: bool,
) -> None:
    """Write the results where they were asked for, and print them in the form that was."""
    from repscope.cli import files

    written = [] if output is None else files.write_results(output, comparisons)
    if html is not None:
        from repscope import report

        written.append(report.write(html, comparisons))
    if as_json:
        print(files.as_json(comparisons))
    elif not quiet:
        print_all(comparisons, details)
    if written and not quiet:
        print(f"wrote {', '.join(map(str, written))}", file=sys.stderr)


def print_all(comparisons: Sequence[Comparison], details: bool) -> None:
    """Print comparisons one below the other."""
    from repscope.cli.terminal import print_comparison

    for number, comparison in enumerate(comparisons):
        if number:
            print()
        print_comparison(comparison, details=details)


@contextmanager
def explained(verbose: bool) -> Iterator[None]:
    """Print the traceback before an error becomes one line, where it was asked for."""
    try:
        yield
    except (RepscopeError, OSError):
        if verbose:
            traceback.print_exc()
        raise
