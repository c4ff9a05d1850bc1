"""The folder of results: every file whole or absent, and nobody else's file replaced."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from repscope._undisturbed import undisturbed
from repscope.comparison import Comparison, load
from repscope.errors import FileFormatError, InputError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEATMAP, NUMBERS = "heatmap.png", "comparison.json"
UNFINISHED = "comparison.partial"
"""The sums of a comparison that was interrupted, which compare --resume goes on from."""

_GENERATOR = b'<meta name="generator" content="repscope">'  # the same in the head of a report
_SOFTWARE = b"Software\x00repscope"  # the note in the head of a PNG that says who wrote it


def comparison_file(measure: str, *, alone: bool) -> str:
    """The name of a saved comparison, in a folder that holds one or several."""
    return "comparison.npz" if alone else f"comparison-{measure}.npz"


def check_folder(folder: Path, measures: Sequence[str]) -> None:
    """Refuse a folder that cannot take the results of ``compare``, before anything is computed; errors as below."""
    names = [comparison_file(measure, alone=len(measures) == 1) for measure in measures]
    check_names(folder, [*names, NUMBERS, HEATMAP])


def check_names(folder: Path, names: Sequence[str], command: str = "compare") -> None:
    """Refuse a folder that cannot take files of these names, the picture last, before anything is computed.

    Raises:
        InputError: It is a file, cannot be written to, or holds files of those names that repscope did not write.
        MissingExtraError: Matplotlib, for the picture, is not installed.
    """
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise MissingExtraError(f"Writing {names[-1]} with -o", "matplotlib", "plot")
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir():
        raise InputError(f"{command}: -o must be a folder, got '{folder}': '{existing}' is a file.")
    if not os.access(existing, os.W_OK):
        raise InputError(f"{command}: -o must be a folder that can be written to, got '{folder}'.")
    for name in names:
        if os.path.lexists(folder / name) and not _written_here(folder / name):
            raise InputError(
                f"{command}: -o must not hold files of others under the names of the results, got '{folder / name}', "
                "which repscope did not write. Choose another folder, or move the file."
            )


def write_results(folder: Path, comparisons: Sequence[Comparison]) -> list[Path]:
    """Write the comparisons, their numbers as JSON and their heat map; older results are replaced at once.

    Returns:
        The files, the heat map last.
    """
    from repscope import __version__

    with _staged(folder) as stage:
        names = [comparison_file(c.measure, alone=len(comparisons) == 1) for c in comparisons]
        for name, comparison in zip(names, comparisons, strict=True):
            comparison.save(stage / name)
        (stage / NUMBERS).write_text(as_json(comparisons) + "\n", encoding="utf-8")
        _draw(comparisons).savefig(stage / HEATMAP, dpi=150, metadata={"Software": f"repscope {__version__}"})
    return [folder / name for name in [*names, NUMBERS, HEATMAP]]


def beside_names(name: str) -> list[str]:
    """The files of a command that puts something beside scores: the scores, and that as numbers and as a picture."""
    return [comparison_file("", alone=True), f"{name}.json", f"{name}.png"]


def write_beside(folder: Path, name: str, comparison: Comparison, numbers: str, axes: Axes) -> list[Path]:
    """Write the files that :func:`beside_names` names."""
    from repscope import __version__

    scores, text, picture = beside_names(name)
    with _staged(folder) as stage:
        comparison.save(stage / scores)
        (stage / text).write_text(numbers + "\n", encoding="utf-8")
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.savefig(stage / picture, dpi=150, metadata={"Software": f"repscope {__version__}"})
    return [folder / file for file in (scores, text, picture)]


def remove_unfinished(folder: Path) -> None:
    """Remove the sums of a comparison whose results are written, those of a group of processes too."""
    for file in (folder / UNFINISHED, *folder.glob(f"{UNFINISHED}.*-of-*")):
        file.unlink(missing_ok=True)


def check_page(page: Path) -> None:
    """Refuse a file that cannot become a report, before anything is computed.

    Raises:
        InputError: It is a folder, lies in none, or is a file that repscope did not write.
    """
    if page.is_dir():
        raise InputError(f"--html must be a file, got the folder '{page}'. Add a file name.")
    if not page.absolute().parent.is_dir():
        raise InputError(f"--html must lie in an existing folder, got '{page}'. Create '{page.parent}' first.")
    if page.exists():
        with page.open("rb") as file:
            if _GENERATOR not in file.read(4096):
                raise InputError(
                    f"--html must not be a file of others, got '{page}', which repscope did not write. Choose another "
                    "name, or move the file."
                )


def with_command(comparison: Comparison, command: str) -> Comparison:
    """The comparison with a note of the command that made it."""
    return replace(comparison, details={**comparison.details, "command": command})


def by_step(comparisons: Sequence[Comparison], steps: Sequence[float]) -> dict[float, list[Comparison]]:
    """Comparisons by training step; several measures may share one.

    Raises:
        InputError: There are more or fewer steps than comparisons.
    """
    if len(steps) != len(comparisons):
        raise InputError(
            f"report: --step must be given once a file, got {len(steps)} for {len(comparisons)} files. Repeat a step "
            "where several measures belong to it."
        )
    found: dict[float, list[Comparison]] = {}
    for step, comparison in zip(steps, comparisons, strict=True):
        found.setdefault(step, []).append(comparison)
    return found


def as_json(comparisons: Sequence[Comparison]) -> str:
    """One comparison as an object; several as an array of them."""
    texts = [comparison.to_json() for comparison in comparisons]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _draw(comparisons: Sequence[Comparison]) -> Figure:
    from matplotlib.figure import Figure

    from repscope.plot import grid, heatmap

    if len(comparisons) > 1:
        panels: Mapping[str, Comparison] = {comparison.label: comparison for comparison in comparisons}
        return grid(panels, columns=min(3, len(panels)), share_limits=False)
    figure = heatmap(comparisons[0]).figure
    assert isinstance(figure, Figure)  # a new one, so no part of another
    return figure


def _written_here(path: Path) -> bool:
    try:
        if path.suffix == ".npz":
            load(path)
            return True
        if path.suffix == ".png":
            with path.open("rb") as file:
                return _SOFTWARE in file.read(4096)
        content = json.loads(path.read_text(encoding="utf-8"))
        first = content[0] if isinstance(content, list) and content else content
        known = {"measure", "values", "row_layers", "conventions"}, {"measure", "writer", "conventions"}
        return isinstance(first, dict) and any(keys <= first.keys() for keys in known)
    except (OSError, ValueError, FileFormatError):
        return False


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A hidden place in the folder; what is written there appears in the folder at the end, or never."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    stage = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".repscope-", suffix=".tmp", dir=folder))
        yield stage
        with undisturbed():
            for file in stage.iterdir():
                os.replace(file, folder / file.name)
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
        for place in made:
            with suppress(OSError):  # not empty: the results are there
                place.rmdir()
