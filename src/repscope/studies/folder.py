"""The folder of one study at one scale: what is finished stays, and nothing of another configuration gets in."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repscope.errors import FileFormatError, InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SETTINGS, NUMBERS, TIMES, PAGE = "settings.json", "numbers.json", "times.json", "page.md"
_NUMBERS = re.compile(r"\[\s+(?:(?:-?[\d.]+(?:e[+-]?\d+)?|null),?\s+)+\]")
_LEARNED = ("data ", "network ")
"""How the facts begin that a study learns on its way, so that they are no part of the configuration it starts from."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Folder:
    """Results of one configuration, written piece by piece so that an interruption loses none that is finished.

    Args:
        path: The folder; made if it does not exist.
        configuration: Everything that decides the numbers, as values of JSON. A folder of another one is refused.

    Raises:
        InputError: ``path`` holds results of another configuration, or is no folder.
        FileFormatError: Its record of the configuration is damaged.
    """

    def __init__(self, path: Path, configuration: Mapping[str, Any]) -> None:
        self.path = path
        record = path / SETTINGS
        wanted = plain(configuration)
        if record.exists():
            if any(file.is_file() and file != record for file in path.rglob("*")):
                _refuse_others(path, read_json(record), wanted)
            else:  # nothing was finished, so nothing is lost with another configuration
                record.unlink()
        elif path.exists() and (not path.is_dir() or any(path.glob("*.npz")) or (path / NUMBERS).exists()):
            raise InputError(
                f"reproduce: {path} must be a folder of this study or not exist, got one without {SETTINGS}. "
                "Choose another -o."
            )
        for part in ("comparisons", "parts"):
            (path / part).mkdir(parents=True, exist_ok=True)
        if not record.exists():
            write_json(record, wanted)

    def settle(self, key: str, value: Any) -> None:
        """Hold on to one more fact of the configuration, or refuse a folder where it was another.

        Args:
            key: What it is, such as ``"data cifar10"``.
            value: Of JSON.
        """
        record = self.path / SETTINGS
        known = read_json(record)
        if key not in known:
            write_json(record, {**known, key: plain(value)})
        elif known[key] != plain(value):
            _refuse_others(self.path, {key: known[key]}, {key: plain(value)})

    def kept(self, name: str, compute: Callable[[], Any]) -> Any:
        """The values of JSON that ``compute`` returned when it was first called under this name, here or before."""
        path = self._part(name)
        if not path.exists():
            write_json(path, plain(compute()))
        return read_json(path)

    def part(self, name: str) -> dict[str, Any]:
        """The values of JSON that were added under this name, by key; empty before the first."""
        path = self._part(name)
        return dict(read_json(path)) if path.exists() else {}

    def add(self, name: str, key: str, value: Any) -> None:
        """Keep one more value of JSON under this name and key."""
        write_json(self._part(name), {**self.part(name), key: value})

    def absent(self, name: str, keys: Sequence[str]) -> list[str]:
        """Those of the keys that no value was added for."""
        part = self.part(name)
        return [key for key in keys if key not in part]

    def _part(self, name: str) -> Path:
        return self.path / "parts" / f"{name}.json"

    def took(self, stage: str, seconds: float) -> None:
        """Add to the time of a stage, which counts over interruptions."""
        times = self.times
        times[stage] = times.get(stage, 0.0) + seconds
        write_json(self.path / TIMES, times)

    @property
    def times(self) -> dict[str, float]:
        """Seconds of each stage so far, over all calls."""
        path = self.path / TIMES
        return dict(read_json(path)) if path.exists() else {}

    def comparison(self, name: str) -> Path:
        """Where the comparison of this name is kept."""
        return self.path / "comparisons" / f"{name}.npz"

    def draw(self, name: str, figure: Figure) -> list[Path]:
        """Write a figure as PNG and SVG."""
        import matplotlib as mpl

        files = []
        for suffix in ("png", "svg"):
            path = self.path / f"{name}.{suffix}"
            metadata = {"Software": "repscope"} if suffix == "png" else {"Date": None, "Creator": "repscope"}
            with mpl.rc_context({"svg.hashsalt": name}), replaced(path) as partial:
                figure.savefig(partial, format=suffix, dpi=150, metadata=metadata, bbox_inches="tight")
            figure.set_layout_engine("none")  # laid out once is enough, and it takes most of the time
            files.append(path)
        return files

    def write(self, name: str, text: str) -> Path:
        """Write a text file."""
        with replaced(self.path / name) as partial:
            partial.write_text(text, encoding="utf-8")
        return self.path / name


def write_json(path: Path, value: Any) -> None:
    """Write values of JSON, the file whole or not at all."""
    with replaced(path) as partial:
        text = json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False)
        # Rows of numbers on one line each: a matrix of 65 layers is not 4,225 lines.
        text = _NUMBERS.sub(lambda row: " ".join(row[0].split()), text)
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read what :func:`write_json` wrote.

    Raises:
        FileFormatError: The file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileFormatError(f"reproduce: {path} could not be read ({error}). Delete it; it is made again.") from None


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed to it at the end of the block, or removed if that fails."""
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def disk_space_named(folder: Path) -> Iterator[None]:
    """Say of a full disk which folder it is of, and that nothing finished is lost."""
    try:
        yield
    except Exception as error:
        # safetensors reports its own kind of error, which carries the number in its text only.
        number = error.errno if isinstance(error, OSError) else None
        if number in _NO_SPACE or any(f"os error {code})" in str(error) for code in _NO_SPACE):
            said = f"no space left on the disk of {folder}; what is finished is kept, the same command goes on from it"
            raise OSError(errno.ENOSPC, said, str(folder)) from error
        raise


def plain(value: Any) -> Any:
    """A copy of ``value`` as values of strict JSON: arrays become lists, NaN and infinities null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _refuse_others(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing = [
        f"{key} ({found.get(key, 'none')} there, {wanted.get(key, 'none')} here)"
        for key in dict.fromkeys([*wanted, *found])
        if found.get(key) != wanted.get(key) and (key in wanted or not key.startswith(_LEARNED))
    ]
    if differing:
        raise InputError(
            f"reproduce: {path} must hold results of the same configuration, got another {', '.join(differing)}. "
            "Choose another -o, or remove the folder."
        )
