"""Files of unfinished work: checkpoints of one process, and the shares of jobs that run apart."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from repscope import _container
from repscope.engine import distributed
from repscope.engine.data_log import other_batch
from repscope.engine.partial import Partial, Shard
from repscope.errors import FileFormatError, InputError

_FORMAT = "repscope-partial"
_VERSION = 1

_REMEDIES = {
    "compare": "Name another file as the checkpoint, or remove this one.",
    "merge": "Whole comparisons need no merging: repscope.load reads them.",
}
"""Of each function that reads such files, what to do about another kind of file."""

SECONDS_BETWEEN_CHECKPOINTS = 5.0


class PartialFile:
    """One file that holds what a share of the work has added up so far, and what the work is.

    Attributes:
        path: Where it lies.
        facts: What is computed; two files belong together only where these agree.
    """

    def __init__(self, path: str | os.PathLike[str], facts: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.facts = _container.plain("facts", facts)
        self._last = time.monotonic()

    def save(self, partial: Partial) -> None:
        """Write the state; the file before stays until the new one is whole."""
        state = {
            "route": partial.route,
            "shard": [partial.shard.index, partial.shard.count],
            "done": partial.done,
            "complete": partial.complete,
        }
        facts = {"work": self.facts, "state": state}
        _container.write("checkpoint", self.path, name=_FORMAT, version=_VERSION, facts=facts, arrays=partial.arrays)
        self._last = time.monotonic()

    def checkpoint(self, state: Callable[[], Partial]) -> None:
        """Make and write the state where the last writing is some seconds ago."""
        if time.monotonic() - self._last >= SECONDS_BETWEEN_CHECKPOINTS:
            self.save(state())

    def resume(self, shard: Shard) -> Partial | None:
        """The state in the file, or None where there is no file.

        Raises:
            InputError: The file holds other work.
            FileFormatError: It is damaged or no file of this kind.
        """
        if not self.path.exists():
            return None
        facts, partial = read_partial(self.path, function="compare")
        if different := differences(facts, self.facts):
            raise InputError(
                f"compare: the checkpoint {self.path} must be of this comparison, got one with other {different}. "
                "Remove the file to start anew, or name another."
            )
        if partial.shard != shard:
            raise InputError(
                f"compare: the checkpoint {self.path} must be of share {shard.index + 1} of {shard.count}, got "
                f"{partial.shard.index + 1} of {partial.shard.count}. Name one file for each share."
            )
        return partial


def file_of(path: str | os.PathLike[str], shard: Shard) -> Path:
    """The file of one share of the work: in a group of processes each has its own beside the name that was given."""
    path = Path(path)
    if shard.count == 1 or distributed.current().count == 1:
        return path
    return path.with_name(f"{path.name}.{shard.index + 1}-of-{shard.count}")


def earlier_work(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What an earlier run was about, by its checkpoint or those of its group of processes; None where there is none.

    Raises:
        InputError: No file can be written there, which is said before hours of work.
        FileFormatError: A file is damaged or no file of this kind.
    """
    _container.check_place("checkpoint", path)
    own = distributed.current()
    of_others = [Shard(index, own.count) for index in range(own.count) if index != own.index]
    places = (file_of(path, shard) for shard in (own, *of_others))
    found = next((place for place in places if place.exists()), None)
    return None if found is None else read_partial(found, function="compare")[0]


def read_partial(path: str | os.PathLike[str], *, function: str = "merge") -> tuple[dict[str, Any], Partial]:
    """What the work is, and what has been added up.

    Args:
        path: The file.
        function: ``"compare"`` or ``"merge"``: who asks, for messages.

    Raises:
        InputError: There is no such file.
        FileFormatError: It is damaged or no file of this kind.
    """
    facts, arrays = _container.read(
        function,
        path,
        name=_FORMAT,
        version=_VERSION,
        written_by="compare with checkpoint= or by compare_part",
        remedy=_REMEDIES[function],
    )
    try:
        state = facts["state"]
        shard = Shard(*state["shard"])
        return facts["work"], Partial(state["route"], shard, state["done"], state["complete"], arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{function}: {path} could not be read as a partial result ({error!r}).") from None


def read_all(paths: Sequence[str | os.PathLike[str]]) -> tuple[dict[str, Any], list[Partial]]:
    """The partial results of one comparison.

    Raises:
        InputError: No paths, or files of different comparisons.
    """
    if not paths:
        raise InputError("merge: paths must name at least one partial result, got none.")
    facts, first = read_partial(paths[0])
    partials = [first]
    for path in paths[1:]:
        other, partial = read_partial(path)
        if different := differences(facts, other):
            raise InputError(
                f"merge: all partial results must be of one comparison, got other {different} in {path} than in "
                f"{paths[0]}. Run all jobs with the same models, data and settings (memory= included)."
            )
        if (number := other_batch(first.arrays, partial.arrays)) is not None:
            raise InputError(
                f"merge: all partial results must be of the same data, got another batch {number} in {path} than in "
                f"{paths[0]}. Run all jobs with the same data in the same order."
            )
        partials.append(partial)
    return facts, partials


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """In words, what two pieces of work differ in; an empty text where they are the same."""
    found = []
    if one["names"] != other["names"] or one["rows"] != other["rows"] or one["columns"] != other["columns"]:
        found.append("layers")
    first, second = one["comparison"], other["comparison"]
    if first["measure"] != second["measure"]:
        found.append(f"measure ({first['measure']}, {second['measure']})")
    # Why the plan was chosen is told by other words where the machine was faster; what was chosen is told beside it.
    old, new = ({k: v for k, v in c["conventions"].items() if k != "plan"} for c in (first, second))
    found += [f"{key} ({old.get(key)}, {new.get(key)})" for key in {**old, **new} if old.get(key) != new.get(key)]
    if first["seeds"] != second["seeds"]:
        found.append(f"seed ({first['seeds']}, {second['seeds']})")
    if not found and one["identity"] != other["identity"]:
        found.append("models or data")
    if not found and one["slice_rows"] != other["slice_rows"]:  # set by the memory; such tiles do not fit together
        found.append(f"rows of a tile ({one['slice_rows']}, {other['slice_rows']})")
    return ", ".join(found)
