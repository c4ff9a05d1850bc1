"""Batches: where they come from, how many items they hold, and how they are handed to a model.

A *batch* is what one step of the user's data loader yields: a tensor, a packed sequence, a tuple or list whose first
element is the model's input, or a mapping that is passed by keyword. An *item* is one entry of the batch (an image, a
sentence).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import Parameter, signature
from operator import length_hint
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import DataLoader, Dataset, IterableDataset

from repscope.capture.nested import copied, mapped, rebuilt, tensor_of, with_values
from repscope.errors import CaptureError, InputError

Batch = Any
"""A tensor, array, tuple, list or mapping of them, or any object that a custom ``forward`` understands."""

_SAMPLED_VALUES = 4096  # of each tensor, for a fingerprint: enough to see any reordering
_INTEGER_VIEW = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes per value


class Batches:
    """Batches of a data set, in order, that can be gone through again and again; see :func:`batches`."""

    def __init__(self, source: Iterable[Batch], *, fold_smaller_than: int | None = None) -> None:
        self._source = source
        self._fold_smaller_than = fold_smaller_than
        self._one_pass = isinstance(source, Iterator)
        self._started = False

    @property
    def one_pass(self) -> bool:
        """Whether the data can be gone through only once (a generator)."""
        return self._one_pass

    def __length_hint__(self) -> int:
        return length_hint(self._source)

    def __iter__(self) -> Iterator[Batch]:
        if self._one_pass and self._started:
            raise InputError(
                "batches: data must allow a second pass, got a generator that is used up. "
                "Pass a list of batches, a DataLoader or the arrays themselves."
            )
        self._started = True
        length = length_hint(self._source)
        held = small = None
        number, threshold = -1, 0.0
        for number, batch in enumerate(self._source):
            if number == 0:
                threshold = self._threshold(batch)
            if threshold == 0 or number + 2 < length:
                yield batch
                continue
            # A small batch is held back, because only the next step tells whether it was the last one.
            if small is not None:
                yield held
                held, small = small, None
            if held is not None and _items_or_none(batch, otherwise=threshold) < threshold:
                small = self.hold(batch)
                continue
            if held is not None:
                yield held
            held = self.hold(batch)
        if number < 0:
            raise InputError(
                "batches: data must hold at least one batch, got none. "
                "If data is a generator or a file handle it may have been used up before."
            )
        if small is not None:
            yield from _fold(held, small)
        elif held is not None:
            yield held

    def hold(self, batch: Batch) -> Batch:
        """The batch, to be used after the next one came: a copy, because a loader may fill the same memory again."""
        return batch if isinstance(self._source, (list, tuple, _Slices)) else copied(batch)

    def _threshold(self, first: Batch) -> float:
        if self._fold_smaller_than is not None:
            return self._fold_smaller_than
        usual: int = _items_or_none(first, otherwise=0)
        return usual / 2


def batches(data: Any, *, batch_size: int = 256, fold_smaller_than: int | None = None) -> Batches:
    """Goes through a data set in batches, in order, and never drops an item.

    Args:
        data: one of

            - a ``DataLoader``, or any iterable of batches (a list of tensors is a list of batches);
            - a map-style ``Dataset`` (torch or Hugging Face), batched here without shuffling;
            - one tensor or array of shape (items, ...), or a tuple or dict of them, cut into batches here.
        batch_size: items per batch where the batches are made here.
        fold_smaller_than: a last batch with fewer items than this is joined to the one before it, because an
            estimate from a handful of examples is noise or not defined at all. ``None``: half of the usual batch;
            ``0``: never. Where the two can't be joined (different padded lengths) the last batch stays as it is.

    Returns:
        An iterable of batches. It can be gone through again unless ``data`` is a generator.

    Raises:
        InputError: the data is of an unknown kind, is empty, or its arrays differ in their numbers of items.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batches: batch_size must be a positive integer, got {batch_size!r}.")
    return Batches(_source(data, batch_size), fold_smaller_than=fold_smaller_than)


def batch_items(batch: Batch) -> int:
    """The number of items in a batch: the length of the first tensor, array or list in it."""
    items = _items_or_none(batch)
    if items is None:
        raise InputError(
            f"batch_items: batch must hold a tensor, array or list with one entry per item, got {_kind(batch)}."
        )
    return int(items)


def few_items(batch: Batch, count: int) -> Batch | None:
    """The first items of a batch; None where it holds no more than these, or what can't be cut."""
    items = _items_or_none(batch)
    if items is None or items <= count:
        return None
    try:
        return _cut(batch, items, count)
    except _CannotCutError:
        return None


def move(batch: Batch, device: torch.device | str, dtype: torch.dtype | None = None) -> Batch:
    """A copy of the batch with every tensor and numeric array as a tensor on ``device``.

    A copy also where nothing changes: a model may write to its input, and the next model is to see the same batch.

    Args:
        batch: tensors and arrays, nested in tuples, lists and mappings; anything else in it stays as it is.
        device: where the tensors go.
        dtype: what *floating-point* tensors become, so that half-precision models get half-precision inputs;
            integers (tokens, labels, masks) keep their type. ``None``: no change.
    """

    def moved(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biufc":
                return value  # strings and objects: nothing a tensor could hold
            value = tensor_of(value)
        if isinstance(value, Tensor):
            return value.to(device, dtype if value.is_floating_point() else None, copy=True)
        return value.to(device) if callable(getattr(value, "to", None)) else value

    return mapped(batch, moved)


def model_inputs(batch: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments with which a model is called on a batch.

    A tensor, array or packed sequence is the only argument. Of a tuple or list (x, y, ...) the first element is the
    input and the rest (labels) is left out. A mapping, also as that first element, is passed by keyword.

    Returns:
        Positional and keyword arguments.

    Raises:
        InputError: the batch is none of these.
    """
    if isinstance(batch, (Tensor, np.ndarray, PackedSequence)):
        return (batch,), {}
    if isinstance(batch, Mapping):
        return (), {str(key): value for key, value in batch.items()}
    if isinstance(batch, (tuple, list)) and len(batch) > 0:
        first = batch[0]
        return ((), dict(first)) if isinstance(first, Mapping) else ((first,), {})
    raise InputError(
        f"model_inputs: batch must be a tensor, an array, a tuple (x, y, ...) or a mapping, got {_kind(batch)}. "
        "Pass forward=, a function of (model, batch), to call the model on it."
    )


def accepted_keywords(forward: Callable[..., Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Those keyword arguments that ``forward`` has a parameter for; all of them where it takes ``**kwargs``.

    Raises:
        CaptureError: none is accepted, or a required parameter is missing.
    """
    try:
        call = signature(forward)
    except (TypeError, ValueError):  # compiled code without a Python signature
        return dict(keywords)
    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in call.parameters.values()):
        return dict(keywords)
    by_name = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    known = [name for name, parameter in call.parameters.items() if parameter.kind in by_name]
    accepted = {name: value for name, value in keywords.items() if name in known}
    try:
        call.bind(**accepted)
        missing = None
    except TypeError as error:
        missing = str(error)
    if missing or (keywords and not accepted):
        raise CaptureError(
            f"Capture: the batch must hold the keyword arguments of the model's forward{call}, got the keys "
            f"{sorted(keywords)} ({missing or 'none of them accepted'}). Rename the keys, or pass forward=, a function "
            "of (model, batch)."
        )
    return accepted


def attention_mask(batch: Batch, *, argument: str = "attention_mask") -> Tensor | None:
    """Which tokens of a batch are real: its ``"attention_mask"`` as booleans (items, tokens), or None without one.

    Raises:
        CaptureError: the mask isn't of shape (items, tokens), holds more than 0 and 1, or pads an item completely.
    """
    _, keywords = model_inputs(batch) if isinstance(batch, (Mapping, tuple, list)) and len(batch) else ((), {})
    mask = keywords.get("attention_mask")
    if mask is None:
        return None
    mask = tensor_of(mask) if isinstance(mask, np.ndarray) else torch.as_tensor(mask)
    if mask.ndim != 2:
        raise CaptureError(f"Capture: {argument} must have shape (items, tokens), got {tuple(mask.shape)}.")
    real = mask != 0
    if not bool(((mask == 1) | ~real).all()):
        raise CaptureError(f"Capture: {argument} must be 1 for tokens and 0 for padding, got other values.")
    empty = torch.nonzero(~real.any(dim=1)).flatten().tolist()
    if empty:
        raise CaptureError(
            f"Capture: {argument} must leave every item a token, got only padding in item {empty[0]} of the batch."
        )
    return real


def fingerprint(batch: Batch) -> str:
    """A short hash of a batch's content, to notice that a second pass over the data sees other batches.

    Of every tensor the shape, the type, an exact checksum over all its bits and up to 4096 evenly spaced values
    enter, so shuffling and random augmentation change it and nothing large leaves the device. Stable between
    processes; tensors and arrays of equal content have equal fingerprints.
    """
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest.update, batch)
    return digest.hexdigest()


def _source(data: Any, batch_size: int) -> Iterable[Batch]:
    if isinstance(data, (Tensor, np.ndarray)):
        return _Slices(data, batch_size)
    if isinstance(data, tuple) and data and all(isinstance(value, (Tensor, np.ndarray)) for value in data):
        return _Slices(data, batch_size)
    if isinstance(data, Mapping):
        return _Slices(dict(data), batch_size)
    if isinstance(data, (str, bytes)):
        raise InputError(f"batches: data must be batches, a Dataset or arrays, got the {_kind(data)} {data!r}.")
    # __getitems__ is how torch asks a map-style data set for several items; Hugging Face data sets have it too.
    map_style = hasattr(data, "__getitem__") and (hasattr(data, "__getitems__") or not hasattr(data, "__iter__"))
    if isinstance(data, (Dataset, IterableDataset)) or map_style:
        return DataLoader(data, batch_size=batch_size, shuffle=False)
    if not isinstance(data, Iterable):
        raise InputError(
            f"batches: data must be a DataLoader, an iterable of batches, a Dataset, or arrays, got {_kind(data)}."
        )
    return data


class _Slices:
    """Arrays with a common first axis, cut into batches."""

    def __init__(self, data: Batch, batch_size: int) -> None:
        named = data.items() if isinstance(data, dict) else enumerate(data if isinstance(data, tuple) else (data,))
        lengths = {}
        for name, value in named:
            if not isinstance(value, (Tensor, np.ndarray)) or value.ndim == 0:
                raise InputError(
                    f"batches: data must hold arrays with a first axis of items, got {_kind(value)} at {name!r}."
                )
            lengths[name] = len(value)
        if len(set(lengths.values())) != 1:
            raise InputError(
                f"batches: data must hold arrays with the same number of items, got {lengths}. "
                "To pass ready-made batches, put them in a list."
            )
        self._data, self._batch_size = data, batch_size
        self._items: int = next(iter(lengths.values()))

    def __len__(self) -> int:
        return -(-self._items // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, self._items, self._batch_size):
            stop = start + self._batch_size
            if isinstance(self._data, dict):
                yield {name: value[start:stop] for name, value in self._data.items()}
            elif isinstance(self._data, tuple):
                yield tuple(value[start:stop] for value in self._data)
            else:
                yield self._data[start:stop]


def _items_or_none(batch: Batch, otherwise: Any = None) -> Any:
    """The number of items, or ``otherwise`` for a batch that doesn't say."""
    if isinstance(batch, (Tensor, np.ndarray)):
        return batch.shape[0] if batch.ndim else otherwise
    if isinstance(batch, PackedSequence):
        return int(batch.batch_sizes[0])
    if isinstance(batch, Mapping):
        values = list(batch.values())
    elif isinstance(batch, (tuple, list)):
        if batch and not isinstance(batch[0], (Tensor, np.ndarray, Mapping, tuple, list)):
            return len(batch)  # a list of strings, numbers, images: one entry per item
        values = list(batch)
    else:
        return otherwise
    counts = (_items_or_none(value) for value in values)
    return next((count for count in counts if count is not None), otherwise)


class _CannotCutError(Exception):
    """Something in a batch doesn't tell what belongs to its first items."""


def _cut(value: Any, items: int, count: int) -> Any:
    if isinstance(value, Mapping):
        return with_values(value, {key: _cut(entry, items, count) for key, entry in value.items()})
    if isinstance(value, (tuple, list)) and not isinstance(value, PackedSequence) and _is_nested(value):
        return rebuilt(value, [_cut(entry, items, count) for entry in value])
    if isinstance(value, (str, int, float, type(None))) or getattr(value, "ndim", None) == 0:
        return value
    if isinstance(value, (Tensor, np.ndarray)) or type(value) in (tuple, list):  # of strings or numbers
        if len(value) != items:
            raise _CannotCutError
        return value[:count]
    raise _CannotCutError


class _CannotJoinError(Exception):
    """Two batches don't fit together."""


def _fold(last: Batch, small: Batch) -> Iterator[Batch]:
    try:
        yield _join(last, small)
    except _CannotJoinError:
        yield last
        yield small


def _join(a: Any, b: Any) -> Any:
    if type(a) is not type(b) or isinstance(a, PackedSequence):
        raise _CannotJoinError
    if isinstance(a, (Tensor, np.ndarray)):
        if a.ndim == 0 or a.shape[1:] != b.shape[1:] or a.dtype != b.dtype:
            raise _CannotJoinError
        return torch.cat([a, b]) if isinstance(a, Tensor) else np.concatenate([a, b])
    if isinstance(a, Mapping):
        if a.keys() != b.keys():
            raise _CannotJoinError
        return with_values(a, {key: _join(a[key], b[key]) for key in a})
    if isinstance(a, (tuple, list)):
        if not _is_nested(a):
            return a + b  # strings or numbers, one per item
        if len(a) != len(b):
            raise _CannotJoinError
        return rebuilt(a, [_join(x, y) for x, y in zip(a, b, strict=True)])
    if a != b:
        raise _CannotJoinError
    return a


def _is_nested(values: Iterable[Any]) -> bool:
    """Whether these are parts of a batch and not strings or numbers, one per item."""
    return any(isinstance(value, (Tensor, np.ndarray, Mapping, tuple, list)) for value in values)


def _feed(update: Callable[[bytes], None], value: Any) -> None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        value = move(value, "cpu")
    if isinstance(value, Tensor):
        value = value.dequantize() if value.is_quantized else value
        flat = (torch.view_as_real(value) if value.is_complex() else value).detach().reshape(-1)
        update(f"{value.dtype}{tuple(value.shape)}".encode())
        bits = flat.contiguous().view(_INTEGER_VIEW[flat.element_size()])
        update(str(int(bits.sum(dtype=torch.int64))).encode())
        update(bits[:: max(1, -(-bits.numel() // _SAMPLED_VALUES))].cpu().numpy().tobytes())
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            update(f"{key!r}:".encode())
            _feed(update, entry)
    elif isinstance(value, (tuple, list)):
        update(f"[{len(value)}]".encode())
        for entry in value:
            _feed(update, entry)
    elif isinstance(value, (str, bytes, int, float, complex, np.generic, type(None))):
        update(repr(value).encode())
    else:
        update(type(value).__qualname__.encode())


def _kind(value: Any) -> str:
    return type(value).__name__
