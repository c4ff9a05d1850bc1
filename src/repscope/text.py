"""A file of sentences as data for language models."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from repscope.errors import CaptureWarning, InputError

PREFIX = "text:"


class TextFile:
    """The sentences of a file, one a line, in their order.

    Lines of white space alone are left out, with a warning. A byte order mark at the beginning and white space at the
    end of a line are no part of a sentence.

    Args:
        path: A file in UTF-8.

    Attributes:
        sentences: The sentences.
        lines: The line of the file that each stands in, from 1.

    Raises:
        InputError: There is no such file, it is not UTF-8 (line and byte are named), or has no sentence.

    Warns:
        CaptureWarning: Some lines are empty.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        place = Path(path)
        if not place.is_file():
            raise InputError(f"TextFile: path must name an existing file, got '{path}'.")
        content = place.read_bytes().removeprefix(b"\xef\xbb\xbf")
        # Not splitlines(), which also splits at form feeds and the like: another number of lines than in an editor.
        text = _decoded(content, path).removesuffix("\n")
        numbered = list(enumerate(text.split("\n"), start=1))
        found = [(number, line.rstrip()) for number, line in numbered if line.strip()]
        self.lines = tuple(number for number, _ in found)
        self.sentences = tuple(line for _, line in found)
        if not found:
            raise InputError(f"TextFile: path must hold at least one sentence, got none in '{path}'.")
        empty = [number for number, line in numbered if not line.strip()]
        if empty:
            shown = ", ".join(map(str, empty[:5])) + (", …" if len(empty) > 5 else "")
            warnings.warn(
                f"TextFile: every line must hold a sentence, and {len(empty)} of {len(numbered)} in '{path}' are empty "
                f"and left out: {shown}.",
                CaptureWarning,
                stacklevel=2,
            )

    def __len__(self) -> int:
        return len(self.sentences)

    def __getitem__(self, index: int) -> str:
        return self.sentences[index]


def _decoded(content: bytes, path: str | os.PathLike[str]) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise InputError(
            f"TextFile: path must hold UTF-8, got byte 0x{content[error.start]:02x} in line {line} at byte {column} of "
            f"'{path}' ({error.reason}). Convert it, for example with iconv -f latin1 -t utf-8."
        ) from None
