"""Arrays on disk that grow at their end and survive being killed at any moment.

A file is written under another name, flushed to the disk and renamed, so that under its own name it is always whole.
Whether its content counts is for the record of the store to say: a column is told how many of its rows are valid, and
what lies behind them is thrown away. Bytes depend on the rows alone, not on when and in which pieces they came.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from repscope._undisturbed import undisturbed
from repscope.errors import FileFormatError, MissingExtraError
from repscope.store import RECORD

if TYPE_CHECKING:
    import zarr
    from zarr.core.buffer import Buffer

CHUNK_BYTES = 64 << 20
"""Chunks are split along the features where they would be larger: readers hold a chunk in memory as a whole."""

_COMPRESSION = 3  # of zstd: its default, as fast on dense activations as any and small on those with many zeros


class WriteError(Exception):
    """A file could not be written; the cause is the OSError."""


class Column:
    """An array (rows, ...) on disk to which rows are appended.

    Args:
        directory: where its zarr array is.
        dtype: type of the numbers.
        chunk: shape of a chunk.
        trailing: shape of a row.
        name: name of the layer, for people who look into the directory.
        rows: how many rows on disk are valid; the next ones come behind them.

    Raises:
        FileFormatError: the valid rows of the last chunk can't be read.
        WriteError: the disk is full, for example.
    """

    def __init__(
        self,
        directory: Path,
        *,
        dtype: np.dtype[Any],
        chunk: tuple[int, ...],
        trailing: tuple[int, ...],
        name: str,
        rows: int = 0,
    ) -> None:
        self.rows, self.dtype = rows, dtype
        self._directory, self._chunk, self._trailing, self._name = directory, chunk, trailing, name
        self._capacity = self._enough(chunk[0], rows)
        # zarr encodes into memory, and from there the files are written. Chunks that more rows go into stay.
        self._encoded: dict[str, Buffer] = {}
        self._array = self._create(self._encoded, self._capacity)
        with _failures(directory):
            directory.mkdir(parents=True, exist_ok=True)
            self._discard_invalid()

    def append(self, values: npt.NDArray[Any]) -> None:
        """Write rows behind the last one."""
        end = self.rows + len(values)
        with undisturbed():
            if end > self._capacity:
                self._capacity = self._enough(self._capacity, end)
                self._array.resize((self._capacity, *self._trailing))
            if len(values):
                self._array[self.rows : end] = values
        self.rows = end
        self._write()

    def close(self) -> None:
        """Make the array as long as its rows."""
        self._write()
        final: dict[str, Buffer] = {}
        self._create(final, self.rows)
        write_file(self._directory / RECORD, final[RECORD].to_bytes())
        self.sync()

    def sync(self) -> None:
        """Make sure that the files' names are on the disk, too."""
        sync_directory(self._directory)

    def _create(self, encoded: dict[str, Buffer], rows: int) -> zarr.Array[Any]:
        try:
            import zarr
            from zarr.codecs import Crc32cCodec, ZstdCodec
            from zarr.storage import MemoryStore
        except ImportError as error:
            raise MissingExtraError("Storing activations", error.name or "zarr", "store") from None
        with undisturbed():
            return zarr.create_array(
                MemoryStore(encoded),
                shape=(rows, *self._trailing),
                chunks=self._chunk,
                dtype=self.dtype,
                compressors=[ZstdCodec(level=_COMPRESSION, checksum=False), Crc32cCodec()],
                fill_value=np.nan if self.dtype.kind == "f" else 0,
                chunk_key_encoding={"name": "default", "separator": "."},
                dimension_names=["examples", "features"][: len(self._chunk)],
                attributes={"layer": self._name} if self._trailing else {},
                # A chunk that is not there is damage, so there is one also for rows that are all NaN.
                config={"write_empty_chunks": True},
            )

    def _write(self) -> None:
        for key in sorted(self._encoded):
            write_file(self._directory / key, self._encoded[key].to_bytes())
        for key in list(self._encoded):
            if key == RECORD or _row_of(key) < self.rows // self._chunk[0] or self.rows % self._chunk[0] == 0:
                del self._encoded[key]

    def _discard_invalid(self) -> None:
        from zarr.core.buffer import default_buffer_prototype

        last, valid = divmod(self.rows, self._chunk[0])
        for file in list(self._directory.iterdir()):
            row = _row_of(file.name)
            if row == last and valid:
                self._encoded[file.name] = default_buffer_prototype().buffer.from_bytes(file.read_bytes())
            elif file.name != RECORD and not 0 <= row < last:
                file.unlink()
        if valid:
            expected = int(
                np.prod([-(-size // part) for size, part in zip(self._trailing, self._chunk[1:], strict=True)])
            )
            try:
                if len(self._encoded) - 1 != expected:
                    raise FileNotFoundError(f"{expected} chunks expected, got {len(self._encoded) - 1}")
                with undisturbed():
                    self._array[self.rows : (last + 1) * self._chunk[0]] = np.nan if self.dtype.kind == "f" else 0
            except Exception as error:  # codecs have their own ways to fail on damaged bytes
                raise FileFormatError(
                    f"write_store: {self._directory} must be as it was written to go on, got damaged data in the chunk "
                    f"of row {self.rows - 1} ({error}). Start anew with resume=False."
                ) from error

    @staticmethod
    def _enough(capacity: int, rows: int) -> int:
        while capacity < rows:
            capacity *= 2
        return capacity


def chunk_shape(rows: int, features: int, dtype: np.dtype[Any]) -> tuple[int, int]:
    """The rows of one batch and all of the width, or an equal part of it where that is too large."""
    parts = -(-rows * features * dtype.itemsize // CHUNK_BYTES)
    return rows, max(1, -(-features // max(1, parts)))


def write_file(path: Path, content: bytes) -> None:
    """Put a file in place as a whole.

    Raises:
        WriteError: the disk is full, for example. What was at ``path`` before is still there.
    """
    temporary = path.with_name(path.name + ".partial")  # the same each time: the next attempt clears it away
    with _failures(path):
        try:
            _write_and_sync(temporary, content)
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def sync_directory(path: Path) -> None:
    """Make sure that the names of new files in a directory are on the disk."""
    if os.name != "posix":
        return
    with _failures(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_and_sync(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError(f"{error.strerror or error} at {path}") from error


def _row_of(key: str) -> int:
    """The row of chunks that a chunk's file belongs to; -1 for other files."""
    parts = key.split(".")
    return int(parts[1]) if parts[0] == "c" and all(part.isdigit() for part in parts[1:]) else -1
