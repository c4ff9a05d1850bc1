"""Stored activations: a directory in zarr format 3 with one array (examples, features) for each layer.

    STORE/zarr.json        a zarr group; its attribute "repscope" is the record of what is complete
    STORE/0000/, 0001/ …   the layers in order of execution, each with its real name in the record
    STORE/batches/         a log as bytes: one line of JSON for each batch

The record is the only authority. It is replaced after a batch is on disk, so that what it counts is always there, and
what it does not count does not exist. It carries a checksum of itself; every chunk carries a crc32c.

Any program that reads zarr can read a layer. This module needs zarr and numpy; :mod:`repscope.capture.store` writes.
"""

from __future__ import annotations

import json
import os
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from repscope._undisturbed import undisturbed
from repscope.errors import CaptureWarning, FileFormatError, InputError, MissingExtraError

if TYPE_CHECKING:
    import zarr

FORMAT = "repscope activations"
FORMAT_VERSION = 1
RECORD = "zarr.json"
LOG = "batches"

SampleId: TypeAlias = int | str
Rows: TypeAlias = slice | Sequence[int] | npt.NDArray[np.integer[Any]]

_NAMED = 5  # damaged places in one message


@dataclass(frozen=True)
class StoredLayer:
    """One layer of a store.

    Attributes:
        name: Its name in the model.
        kind: Class name of the module.
        features: Columns of its representation.
        dtype: Type of the stored numbers.
        array: Name of the zarr array that holds it.
        checksum: Of that array's ``zarr.json``, where the store is complete.
    """

    name: str
    kind: str
    features: int
    dtype: str
    array: str
    checksum: str | None = None


@dataclass(frozen=True)
class Batch:
    """One batch of a store.

    Attributes:
        rows: Examples of it.
        fingerprint: Of the data that the model was run on.
        ids: Identifiers of its items, where the data set has them.
    """

    rows: int
    fingerprint: str
    ids: tuple[SampleId, ...] | None = None

    def line(self) -> bytes:
        """The batch as a line of the log."""
        return json.dumps(asdict(self), separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True)
class Record:
    """What a store holds, and how far it is.

    Attributes:
        version: The repscope that began it.
        settings: Model, reduction and so on: what must not change when the store is continued.
        layers: In order of execution; none before the first batch is complete.
        chunk_rows: Examples in a chunk, those of the first batch.
        batches: Complete batches.
        examples: Examples in them.
        log_bytes: Length of the log up to there.
        complete: Whether these are all batches of the data.
    """

    version: str
    settings: Mapping[str, Any]
    layers: tuple[StoredLayer, ...] = ()
    chunk_rows: int = 0
    batches: int = 0
    examples: int = 0
    log_bytes: int = 0
    complete: bool = False
    format: str = field(default=FORMAT, init=False)
    format_version: int = field(default=FORMAT_VERSION, init=False)

    def document(self) -> bytes:
        """The content of the group's ``zarr.json``."""
        facts = asdict(self)
        attributes = {"repscope": {**facts, "checksum": _checksum(facts)}}
        text = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, indent=1)
        return text.encode()


def is_store(path: str | os.PathLike[str]) -> bool:
    """Whether a directory holds stored activations, readable by this version or not."""
    try:
        return bool(_facts(Path(path))["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_record(path: Path) -> Record:
    """The record of a store.

    Raises:
        InputError: There is no such directory.
        FileFormatError: The directory holds something else, a damaged record, or a format this version cannot read.
    """
    if not path.is_dir():
        got = "a file" if path.exists() else "nothing"
        raise InputError(f"open_store: path must be a directory of stored activations, got {got} at {path}.")
    try:
        facts = dict(_facts(path))
        if facts.pop("format") != FORMAT:
            raise KeyError("format")
        version = int(facts.pop("format_version"))
        checksum = facts.pop("checksum")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise FileFormatError(
            f"open_store: {path} must hold a {RECORD} that repscope wrote, got none that can be read. If it was one, "
            "it is damaged: capture the activations again."
        ) from None
    if version > FORMAT_VERSION:
        raise FileFormatError(
            f"open_store: {path} must be of format version {FORMAT_VERSION} or older, got version {version}, written "
            f"by repscope {facts.get('version')}. Update repscope."
        )
    if checksum != _checksum({**facts, "format": FORMAT, "format_version": version}):
        raise FileFormatError(
            f"open_store: the record of {path} must be as it was written, got damaged data in {RECORD} (its checksum "
            "differs). Capture the activations again."
        )
    layers = tuple(StoredLayer(**layer) for layer in facts.pop("layers"))
    return Record(**facts, layers=layers)


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open stored activations.

    Args:
        path: The directory that :func:`repscope.capture.write_store` or ``repscope capture`` made.

    Raises:
        InputError: There is no such directory.
        FileFormatError: It holds something else, is damaged, or was written by a newer repscope.
        MissingExtraError: zarr is not installed.

    Warns:
        CaptureWarning: Capturing was not finished; the complete batches are there.
    """
    path = Path(path)
    record = read_record(path)
    store = Store(path, record, read_log(path, record))
    if not store.complete:
        warnings.warn(
            f"open_store: {path} is not complete: it holds the first {record.batches} batches ({store.n} examples). "
            "Capture once more with the same arguments to go on.",
            CaptureWarning,
            stacklevel=2,
        )
    return store


def read_log(path: Path, record: Record) -> tuple[Batch, ...]:
    """The complete batches of a store.

    Raises:
        FileFormatError: The log is damaged.
    """
    if record.batches == 0:
        return ()
    try:
        array = _open_array(path / LOG)
        text = bytes(_part(array, slice(record.log_bytes)).astype(np.uint8, copy=False))
        entries = [json.loads(line) for line in text.decode().splitlines()]
        batches = tuple(Batch(e["rows"], e["fingerprint"], e["ids"] and tuple(e["ids"])) for e in entries)
        if len(batches) != record.batches or sum(batch.rows for batch in batches) != record.examples:
            raise ValueError(f"{len(batches)} batches instead of {record.batches}")
    except MissingExtraError:
        raise
    except Exception as error:  # codecs, JSON and zarr each have their own ways to fail on damaged bytes
        raise FileFormatError(
            f"open_store: the log of batches of {path} must be as it was written, got damaged data in {LOG} ({error}). "
            "Capture the activations again."
        ) from error
    return batches


class Store:
    """Activations of one model on one data set, on disk; see :func:`open_store`.

    Attributes:
        path: The directory.
        layers: The layers in order of execution.
        n: Examples; in a store that is not complete those of the complete batches.
        complete: Whether all of the data set is there.
        sample_ids: Identifiers of the data set's items in their order, None where it has none.
        batches: Rows and data fingerprint of each batch.
        chunk_rows: Examples in a chunk, the cheapest number to read at a time.
        settings: How the activations were made: model, reduction and so on.
    """

    def __init__(self, path: Path, record: Record, batches: Sequence[Batch]) -> None:
        self.path = path
        self.layers = record.layers
        self.n = record.examples
        self.complete = record.complete
        self.batches = tuple(batches)
        self.chunk_rows = record.chunk_rows
        self.settings = record.settings
        self._arrays: dict[str, zarr.Array[Any]] = {}

    def __repr__(self) -> str:
        state = "" if self.complete else ", not complete"
        return f"Store({str(self.path)!r}: {len(self.layers)} layers, {self.n} examples{state})"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers in order of execution."""
        return tuple(layer.name for layer in self.layers)

    @cached_property
    def sample_ids(self) -> tuple[SampleId, ...] | None:
        """Identifiers of the data set's items, None where it has none."""
        if not self.batches or self.batches[0].ids is None:
            return None
        return tuple(chain.from_iterable(batch.ids or () for batch in self.batches))

    def read(self, layer: str, rows: Rows | None = None) -> npt.NDArray[Any]:
        """The representation of a layer, or some rows of it.

        Args:
            layer: Its name.
            rows: A slice or whole numbers; None for all.

        Returns:
            An array (rows, features) in the stored precision.

        Raises:
            InputError: There is no such layer or row.
            FileFormatError: A chunk is damaged or missing; the message names layer, batch and file.
        """
        info = self._layer(layer)
        index = self._index(slice(None) if rows is None else rows)
        array = self._array(info)
        touched = np.unique(index // self.chunk_rows).tolist() if index.size else []
        try:
            self._check_present(info, array, touched)
            return _take(array, index, self.chunk_rows)
        except Exception as error:  # each codec has its own way to fail on damaged bytes
            self._raise_damaged("read", self._damaged(info, touched), error)
            raise

    def verify(self) -> None:
        """Read everything and check it against its checksums.

        Raises:
            FileFormatError: Something differs from what was written; the message names layers, batches and files.
        """
        damaged: list[str] = []
        for info in self.layers:
            document = self._directory(info) / RECORD
            if info.checksum is not None and info.checksum != file_checksum(document):
                damaged.append(f"layer {info.name!r}, file {document}: its checksum differs")
            else:
                damaged += self._damaged(info, range(-(-self.n // self.chunk_rows)))
        self._raise_damaged("verify", damaged, None)

    def _raise_damaged(self, function: str, damaged: Iterable[str], cause: Exception | None) -> None:
        places = list(damaged)
        if places:
            more = f"; and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
            raise FileFormatError(
                f"{function}: stored activations must be as they were written, got damage in "
                f"{'; '.join(places[:_NAMED])}{more}. Restore these files from a copy, or capture again with "
                "resume=False."
            ) from cause

    def _damaged(self, info: StoredLayer, chunks: Iterable[int]) -> Iterator[str]:
        """Where a layer's chunks cannot be read, in words."""
        try:
            array = self._array(info)
        except FileFormatError as error:
            yield str(error)
            return
        ends = list(accumulate(batch.rows for batch in self.batches))
        height, width = array.chunks
        for i in chunks:
            first, last = i * height, min((i + 1) * height, self.n) - 1
            batches = [bisect_right(ends, row) for row in (first, last)]
            batch = f"batch {batches[0]}" if batches[0] == batches[1] else f"batches {batches[0]} to {batches[1]}"
            for j, file in enumerate(self._chunk_files(array, i)):
                path = self._directory(info) / file
                where = f"layer {info.name!r}, {batch} (rows {first} to {last}), file {path}"
                if not path.is_file():
                    yield f"{where}: it is missing"
                    continue
                try:
                    _part(array, slice(first, first + height), slice(j * width, (j + 1) * width))
                except Exception as error:
                    yield f"{where}: {str(error).rstrip('.')}"

    def _check_present(self, info: StoredLayer, array: zarr.Array[Any], chunks: Iterable[int]) -> None:
        """Look for the files: zarr takes a missing chunk for one that is all fill value."""
        for i in chunks:
            for file in self._chunk_files(array, i):
                (self._directory(info) / file).stat()

    def _layer(self, name: str) -> StoredLayer:
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(repr(layer.name) for layer in self.layers[:8]) + (" …" if len(self.layers) > 8 else "")
        raise InputError(f"read: layer must be one of {self.path}, got {name!r}. It has {known or 'no layers yet'}.")

    def _index(self, rows: Rows) -> npt.NDArray[np.int64]:
        if isinstance(rows, slice):
            return np.arange(self.n)[rows]
        index = np.asarray(rows)
        if index.size == 0:
            return np.zeros(0, dtype=np.int64)
        if index.ndim != 1 or index.dtype.kind not in "iu":
            raise InputError(f"read: rows must be a slice or a list of whole numbers, got {rows!r}.")
        if index.min() < 0 or index.max() >= self.n:
            wrong = index[(index < 0) | (index >= self.n)][0]
            raise InputError(f"read: rows must be from 0 to {self.n - 1}, got {wrong}.")
        return index.astype(np.int64)

    def _directory(self, info: StoredLayer) -> Path:
        return self.path / info.array

    def _array(self, info: StoredLayer) -> zarr.Array[Any]:
        if info.array not in self._arrays:
            try:
                array = _open_array(self._directory(info))
            except MissingExtraError:
                raise
            except Exception as error:
                raise FileFormatError(
                    f"read: layer {info.name!r} must have a readable {self._directory(info) / RECORD}, got {error}."
                ) from error
            fits = array.ndim == 2 and array.shape[0] >= self.n and array.chunks[0] == self.chunk_rows
            if not fits or array.shape[1] != info.features or array.dtype != np.dtype(info.dtype):
                raise FileFormatError(
                    f"read: layer {info.name!r} must have {self.n} × {info.features} numbers of type {info.dtype}, got "
                    f"shape {array.shape} of type {array.dtype} in {self._directory(info)}."
                )
            self._arrays[info.array] = array
        return self._arrays[info.array]

    @staticmethod
    def _chunk_files(array: zarr.Array[Any], row: int) -> list[str]:
        """The files that hold a row of chunks, one for each part of the width."""
        return [f"c.{row}.{column}" for column in range(-(-array.shape[1] // array.chunks[1]))]


def _take(array: zarr.Array[Any], index: npt.NDArray[np.int64], chunk_rows: int) -> npt.NDArray[Any]:
    """Rows of an array, chunk by chunk: zarr decodes many at once, and a chunk may be large."""
    chunks = index // chunk_rows
    order = np.argsort(chunks, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(chunks[order])) + 1)
    taken = np.empty((len(index), array.shape[1]), dtype=array.dtype) if len(groups) != 1 or not index.size else None
    for places in groups:
        wanted = index[places]
        if wanted.size == 0:
            continue
        first = int(wanted.min())
        block = _part(array, slice(first, int(wanted.max()) + 1))
        if not np.array_equal(wanted - first, np.arange(len(block))):
            block = block[wanted - first]
        if taken is None:
            return block
        taken[places] = block
    assert taken is not None
    return taken


def with_checksums(record: Record, path: Path) -> Record:
    """The record with the checksum of each layer's metadata, for a store that is complete."""
    layers = [replace(layer, checksum=file_checksum(path / layer.array / RECORD)) for layer in record.layers]
    return replace(record, layers=tuple(layers))


def file_checksum(path: Path) -> str | None:
    """Hash of a small file's content; None where there is no such file."""
    try:
        return blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return None


def _facts(path: Path) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = json.loads((path / RECORD).read_bytes())["attributes"]["repscope"]
    return facts


def _checksum(facts: Mapping[str, Any]) -> str:
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return blake2b(canonical.encode(), digest_size=16).hexdigest()


def _open_array(directory: Path) -> zarr.Array[Any]:
    try:
        import zarr
    except ImportError as error:
        raise MissingExtraError("Reading stored activations", error.name or "zarr", "store") from None
    with undisturbed():
        return zarr.open_array(str(directory), mode="r", zarr_format=3)


def _part(array: zarr.Array[Any], *places: slice) -> npt.NDArray[Any]:
    with undisturbed():
        return np.asarray(array[places])
