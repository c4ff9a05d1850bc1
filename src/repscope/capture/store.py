"""Writes the activations of a model to disk, batch by batch, so that a run that was killed goes on where it was.

What is on disk after every batch: its chunks, a line in the log of batches, and then a new record that counts it; see
:mod:`repscope.store` for the layout. A store has no dates and no names of machines: the same model on the same data
gives the same bytes, in one run or in many.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib import metadata
from operator import length_hint
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from repscope._progress import track
from repscope.capture.columns import Column, WriteError, chunk_shape, sync_directory, write_file
from repscope.capture.data import Batch as DataBatch
from repscope.capture.data import batch_items, batches, fingerprint
from repscope.capture.fingerprints import described, model_fingerprint
from repscope.capture.layers import Layers, unwrap
from repscope.capture.prepared import check_all_covered
from repscope.capture.reduce import TOKEN_LEVEL, Reduce, name_of
from repscope.capture.text import TextModel
from repscope.capture.torch import Capture, Forward
from repscope.capture.trace import LayerInfo
from repscope.errors import CaptureError, InputError
from repscope.store import (
    LOG,
    RECORD,
    Batch,
    Record,
    SampleId,
    Store,
    StoredLayer,
    is_store,
    open_store,
    read_log,
    read_record,
    with_checksums,
)

ID_KEYS = ("id", "ids", "idx", "index")
"""Keys of a batch (a mapping) under which identifiers of its items are looked for, in this order."""

DTYPES = ("float16", "float32", "float64")

_LOG_CHUNK = 1 << 16

SampleIds = Callable[[DataBatch], Sequence[Any]]


def write_store(
    model: nn.Module,
    data: Any,
    path: str | os.PathLike[str],
    *,
    layers: Layers = None,
    reduce: Reduce = "auto",
    forward: Forward | None = None,
    batch_size: int = 256,
    resume: bool = True,
    sample_ids: SampleIds | None = None,
    dtype: str | None = None,
    progress: bool | None = None,
) -> Store:
    """Run a model on a data set and keep the representations of its layers on disk.

    The run may end at any moment; the next call with the same arguments goes on behind the last complete batch and ends
    with the same bytes. It goes through the data from the start to check that they are the same, but runs the model
    only on what is missing.

    Args:
        model: a torch module.
        data: batches, a Dataset or arrays; see :func:`repscope.capture.batches`. Nothing is shuffled here, and a
            loader that shuffles can't be resumed.
        path: the directory: a new or an empty one, or a store.
        layers: which layers; see :class:`Capture`.
        reduce: how an activation becomes rows; see :class:`Capture`.
        forward: a function of (model, batch) that runs the forward pass.
        batch_size: items per batch where ``data`` doesn't come in batches. A batch is a chunk of the store.
        resume: go on with a store that is there; ``False``: throw it away.
        sample_ids: a function of a batch that returns an identifier (whole number or text) for each of its items;
            ``None``: those under ``"id"``, ``"ids"``, ``"idx"`` or ``"index"`` where batches are mappings.
        dtype: ``"float16"``, ``"float32"`` or ``"float64"``; ``None``: as the model gives them. bfloat16, which neither
            numpy nor zarr has, is kept exactly as float32.
        progress: show a bar on stderr; ``None``: where stderr is a terminal.

    Returns:
        The store, complete.

    Raises:
        InputError: an argument can't be used, or the store at ``path`` was begun with another model, other layers,
            other settings or other data.
        CaptureError: a layer can't be recorded, or the disk is full; the store keeps what is complete.
        FileFormatError: what is at ``path`` is damaged.
        MissingExtraError: zarr isn't installed.

    Example:
        >>> store = write_store(model, loader, "resnet18.store", layers="layer*")
        >>> store.read("layer1.0", slice(0, 100)).shape
        (100, 65536)
    """
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"write_store: dtype must be one of {', '.join(DTYPES)} or None, got {dtype!r}.")
    path = Path(path)
    capture = Capture(model, layers, reduce=reduce, forward=forward)
    settings = {
        "model": type(unwrap(model)).__name__,
        "model_fingerprint": model_fingerprint(model),
        "reduce": described(reduce),
        "forward": described(forward),
        "dtype": dtype,
        "tokenizer": _tokenizer(model, reduce),
    }
    source = batches(data, batch_size=batch_size, fold_smaller_than=0)  # a store's last batch may be small
    with ExitStack() as stack:
        stack.enter_context(_writing(path))
        stack.enter_context(capture)
        writer = _Writer(path, capture, settings, dtype, resume)
        try:
            total = length_hint(source) or None
            for number, batch in enumerate(track(source, "Capturing", total=total, show=progress)):
                mark, ids = fingerprint(batch), _identifiers(batch, sample_ids)
                if number == 0:
                    writer.begin(capture.discover(batch), ids)
                if number < len(writer.done) or writer.record.complete:
                    writer.check(number, mark, ids)
                else:
                    writer.add(number, batch, mark, ids)
            writer.finish(number + 1)
        except WriteError as error:
            record = writer.record
            raise CaptureError(
                f"write_store: {path} must take all activations, got '{error}'. The first {record.batches} batches "
                f"({record.examples} examples) are stored; make room and call again with the same arguments to go on."
            ) from error
    return open_store(path)


def _tokenizer(model: nn.Module, reduce: Reduce) -> str | None:
    """What tells the tokens of two stores of one text apart, where single tokens are their examples."""
    rules = list(reduce.values()) if isinstance(reduce, Mapping) else [reduce]
    of_tokens = any(isinstance(how, str) and name_of(how) in TOKEN_LEVEL for how in rules)
    return model.tokenizer_fingerprint if of_tokens and isinstance(model, TextModel) else None


class _Writer:
    """A store in the making: what is complete, and the columns that grow."""

    def __init__(
        self, path: Path, capture: Capture, settings: Mapping[str, Any], dtype: str | None, resume: bool
    ) -> None:
        self._path, self._capture = path, capture
        self._dtype = None if dtype is None else np.dtype(dtype)
        self._infos: tuple[LayerInfo, ...] = ()
        self._columns: dict[str, Column] = {}
        self._log: Column | None = None
        self.record = Record(metadata.version("repscope"), settings)
        self.done: tuple[Batch, ...] = ()
        self._has_ids = False
        if resume and is_store(path):
            earlier = read_record(path)
            if earlier.batches:
                self._check_settings(earlier.settings)
                self.record, self.done = earlier, read_log(path, earlier)

    def begin(self, infos: tuple[LayerInfo, ...], ids: tuple[SampleId, ...] | None) -> None:
        """Lay out a new store, or open the columns of an earlier one behind its last complete batch."""
        self._infos, self._has_ids = infos, ids is not None
        if not self.done:
            # The empty record comes first: from here on the directory is a store, and what else is in it is nothing.
            self._commit(self.record)
            for child in self._path.iterdir():
                if child.is_dir() and re.fullmatch(rf"\d{{4,}}|{LOG}", child.name):
                    shutil.rmtree(child)
        else:
            self._check_layers(infos)
        if not self.record.complete:
            for layer in self.record.layers:
                self._columns[layer.name] = self._column(layer, self.record.chunk_rows, self.record.examples)
            self._log = Column(
                self._path / LOG,
                dtype=np.dtype(np.uint8),
                chunk=(_LOG_CHUNK,),
                trailing=(),
                name=LOG,
                rows=self.record.log_bytes,
            )

    def check(self, number: int, mark: str, ids: tuple[SampleId, ...] | None) -> None:
        """Compare a batch of the data with the one that the store has."""
        if number >= len(self.done):
            raise InputError(
                f"write_store: data must be those that {self._path} was made from, got more than its "
                f"{len(self.done)} batches. Start anew with resume=False, or choose another path."
            )
        stored = self.done[number]
        if (stored.fingerprint, stored.ids) != (mark, ids):
            what = "sample identifiers" if stored.fingerprint == mark else "content"
            raise InputError(
                f"write_store: data must be those that {self._path} was begun with, got other {what} in batch "
                f"{number}. Turn shuffling and random augmentation off, use the same batch size, or start anew with "
                "resume=False."
            )

    def add(self, number: int, batch: DataBatch, mark: str, ids: tuple[SampleId, ...] | None) -> None:
        """Run the model on a batch and put its layers on disk; after that, count it."""
        if (ids is not None) != self._has_ids:
            raise InputError(
                f"write_store: sample_ids must be there for all batches or for none, got "
                f"{'none' if ids is None else 'some'} in batch {number}, unlike batch 0."
            )
        rows: dict[str, int] = {}

        def consume(name: str, x: Tensor) -> None:
            values = self._numbers(x, name, number)
            if name not in self._columns:
                self._columns[name] = self._column(self._layout(name, values.dtype), max(1, len(values)), 0)
            self._columns[name].append(values)
            rows[name] = len(values)

        prepared = self._capture.prepare(batch)
        check_all_covered(prepared, self._capture.levels)
        self._capture.run(prepared, consume)
        if len(set(rows.values())) > 1:
            (one, n), (other, m) = next((a, b) for a in rows.items() for b in rows.items() if a[1] != b[1])
            raise CaptureError(
                f"write_store: all layers must give the same number of examples, got {n} from {one} and {m} from "
                f"{other} in batch {number}. Choose layers of one kind, or one reduction for all, such as "
                "reduce='mean'."
            )
        assert self._log is not None
        entry = Batch(next(iter(rows.values())), mark, ids)
        self._log.append(np.frombuffer(entry.line(), dtype=np.uint8))
        for column in (*self._columns.values(), self._log):
            column.sync()
        record = self.record
        if not record.layers:
            dtypes = {name: column.dtype for name, column in self._columns.items()}
            layers = tuple(self._layout(info.name, dtypes[info.name]) for info in self._infos)
            record = replace(record, layers=layers, chunk_rows=max(1, entry.rows))
        self._commit(
            replace(
                record,
                batches=record.batches + 1,
                examples=record.examples + entry.rows,
                log_bytes=self._log.rows,
            )
        )

    def finish(self, batches_seen: int) -> None:
        """Give the arrays their final length and mark the store as complete."""
        if batches_seen < self.record.batches:
            raise InputError(
                f"write_store: data must be those that {self._path} was begun with, got {batches_seen} batches where "
                f"it has {self.record.batches}. Start anew with resume=False."
            )
        if not self.record.complete:
            assert self._log is not None
            for column in (*self._columns.values(), self._log):
                column.close()
            self._commit(with_checksums(replace(self.record, complete=True), self._path))

    def _commit(self, record: Record) -> None:
        write_file(self._path / RECORD, record.document())
        sync_directory(self._path)
        self.record = record

    def _layout(self, name: str, dtype: np.dtype[Any]) -> StoredLayer:
        """A layer's place: a number for a name, because names may hold slashes, dots and any other character."""
        number = next(i for i, info in enumerate(self._infos) if info.name == name)
        info = self._infos[number]
        return StoredLayer(name, info.kind, info.features, dtype.name, f"{number:04d}")

    def _column(self, layer: StoredLayer, chunk_rows: int, rows: int) -> Column:
        dtype = np.dtype(layer.dtype)
        return Column(
            self._path / layer.array,
            dtype=dtype,
            chunk=chunk_shape(chunk_rows, layer.features, dtype),
            trailing=(layer.features,),
            name=layer.name,
            rows=rows,
        )

    def _numbers(self, x: Tensor, layer: str, batch: int) -> npt.NDArray[Any]:
        if x.dtype not in (torch.float16, torch.float32, torch.float64):
            x = x.float()
        values: npt.NDArray[Any] = x.cpu().numpy()
        if self._dtype is None or values.dtype == self._dtype:
            return values
        with np.errstate(over="ignore"):
            narrowed = values.astype(self._dtype)
        if np.isinf(narrowed).sum() > np.isinf(values).sum():
            raise InputError(
                f"write_store: dtype must hold the activations, got {np.abs(values).max():.4g} in layer {layer!r} of "
                f"batch {batch}, more than {self._dtype} can. Use a wider one."
            )
        return narrowed

    def _check_settings(self, earlier: Mapping[str, Any]) -> None:
        names = {"model": "model", "model_fingerprint": "model", "reduce": "reduce", "tokenizer": "tokenizer"}
        for key, value in self.record.settings.items():
            if earlier.get(key) == value:
                continue
            if key == "model_fingerprint":
                difference = "other weights or modules (their fingerprints differ)"
            else:
                difference = f"{value!r} instead of {earlier.get(key)!r}"
            raise InputError(
                f"write_store: {names.get(key, key)} must be the one that {self._path} was begun with, got "
                f"{difference}. Call with the same, start anew with resume=False, or choose another path."
            )

    def _check_layers(self, infos: Sequence[LayerInfo]) -> None:
        now = {info.name: (info.kind, info.features) for info in infos}
        before = {layer.name: (layer.kind, layer.features) for layer in self.record.layers}
        if list(now.items()) == list(before.items()):
            return
        added = [name for name in now if name not in before]
        missing = [name for name in before if name not in now]
        changed = [name for name in now if name in before and now[name] != before[name]]
        parts = [
            f"{what} {', '.join(map(repr, names[:5]))}{' …' if len(names) > 5 else ''}"
            for what, names in (("additional", added), ("missing", missing), ("changed", changed))
            if names
        ]
        raise InputError(
            f"write_store: layers must be those that {self._path} was begun with, got "
            f"{'; '.join(parts) or 'another order'}. Call with the same, start anew with resume=False, or choose "
            "another path."
        )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Makes the directory, and keeps other processes from writing to it as long as the block runs."""
    if path.exists() and not is_store(path):
        content = sorted(p.name for p in path.iterdir()) if path.is_dir() else [path.name]
        if not path.is_dir() or (content and content != [f"{RECORD}.partial"]):
            raise InputError(
                f"write_store: path must be a new or empty directory, or a store, got {path}, which holds "
                f"{', '.join(content[:3])}{' …' if len(content) > 3 else ''}. Choose another path."
            )
    path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if sys.platform != "win32":
            import fcntl

            descriptor = os.open(path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"write_store: path must be written by one process at a time, and another one writes to {path} now."
                ) from None
        yield


def _identifiers(batch: DataBatch, given: SampleIds | None) -> tuple[SampleId, ...] | None:
    """The identifiers of a batch's items, None where it has none."""
    try:
        items = batch_items(batch)
    except InputError:
        items = None
    if given is not None:
        ids = _as_ids(given(batch))
        if ids is None or len(ids) != (len(ids) if items is None else items):
            got = "something else" if ids is None else f"{len(ids)} of them"
            raise InputError(
                f"write_store: sample_ids must return a whole number or a text for each of the {items} items of a "
                f"batch, got {got}."
            )
        return ids
    entries = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
    if isinstance(entries, Mapping):
        for key in ID_KEYS:
            ids = _as_ids(entries.get(key))
            if ids is not None and len(ids) == items:
                return ids
    return None


def _as_ids(value: Any) -> tuple[SampleId, ...] | None:
    """The value as whole numbers or texts, None if it's anything else."""
    if isinstance(value, (Tensor, np.ndarray)):
        value = value.tolist() if value.ndim == 1 else None
    if not isinstance(value, (tuple, list)):
        return None
    ids = tuple(int(v) if isinstance(v, np.integer) else v for v in value)
    whole = all(isinstance(v, (int, str)) and not isinstance(v, bool) for v in ids)
    return ids if whole else None
