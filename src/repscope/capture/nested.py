"""Nested batches: one change to every tensor, whatever tuples, lists and mappings hold it."""

from __future__ import annotations

import copy
from collections import UserDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


def mapped(batch: Any, change: Callable[[Any], Any]) -> Any:
    """A batch of the same form with ``change`` made to everything in it that is no tuple, list or mapping."""
    if isinstance(batch, PackedSequence):  # torch keeps its batch_sizes on the CPU
        parts = ("data", "sorted_indices", "unsorted_indices")
        return batch._replace(**{part: change(getattr(batch, part)) for part in parts})
    if isinstance(batch, Mapping):
        return with_values(batch, {key: mapped(value, change) for key, value in batch.items()})
    if isinstance(batch, (tuple, list)):
        return rebuilt(batch, [mapped(value, change) for value in batch])
    return change(batch)


def copied(batch: Any) -> Any:
    """A batch with its own memory for every tensor and array."""
    return mapped(batch, _copy)


def rebuilt(like: Any, values: list[Any]) -> Any:
    """A tuple, named tuple or list of ``values``, of the type of ``like``."""
    return type(like)(*values) if hasattr(like, "_fields") else type(like)(values)


def with_values(like: Mapping[Any, Any], values: dict[Any, Any]) -> Mapping[Any, Any]:
    """A mapping of ``values`` of the type of ``like``; a plain dict where that can't be copied or written to."""
    if type(like) is dict or not isinstance(like, (dict, UserDict)):
        return values
    with suppress(Exception):  # of a class of the user's, which may do anything
        result = copy.copy(like)
        attributes = getattr(result, "__dict__", {})
        for key, value in values.items():
            if key in attributes and attributes[key] is like[key]:  # an entry that is an attribute as well
                attributes[key] = value
            result[key] = value
        return result
    return values


def tensor_of(array: np.ndarray[Any, Any]) -> Tensor:
    """A numeric array as a tensor; of foreign byte order, read-only or with negative strides a copy."""
    native = np.asarray(array, dtype=array.dtype.newbyteorder("="))
    shareable = native.flags.writeable and all(stride >= 0 for stride in native.strides)
    return torch.from_numpy(native if shareable else native.copy())


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return value.copy() if isinstance(value, np.ndarray) else value
