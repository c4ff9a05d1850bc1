"""What a benchmark found as a Markdown table, printed row by row and, where a file is named, kept in it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Arguments that these benchmarks share: where the table goes. Nothing else is written."""
    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--out", type=Path, help="a file for the table; without it, it is printed only")
    return found


class Table:
    """Lines of text and rows of tables.

    Args:
        out: The file that also gets them, replaced if it is there; None: none.
    """

    def __init__(self, out: Path | None) -> None:
        self.out = out
        if out is not None:
            out.write_text("", encoding="utf-8")

    def text(self, line: str = "") -> None:
        """A line as it is."""
        print(line, flush=True)
        if self.out is not None:
            with self.out.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")

    def head(self, *names: str) -> None:
        """The heads of the columns, after an empty line."""
        self.text()
        self.row(*names)
        self.row(*["---"] * len(names))

    def row(self, *cells: object) -> None:
        """One row."""
        self.text(f"| {' | '.join(map(str, cells))} |")


def whole_numbers(text: str) -> Sequence[int]:
    """``32,64`` as numbers."""
    return [int(part) for part in text.split(",")]
